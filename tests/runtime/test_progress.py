"""Progress on standard error: nothing on standard output, nothing when quiet, few lines in a log file."""

import re
import subprocess
import sys

import pytest
from terminals import COLOUR, at_terminal, seen, undecided_environment

from fpnas.runtime import progress as module
from fpnas.runtime.progress import Progress

Captured = pytest.CaptureFixture[str]


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_log_file_gets_a_line_at_most_every_ten_seconds(capfd: Captured, clock: Clock) -> None:
    with Progress(100) as progress:
        for step in range(1, 100):
            clock.now += 1
            progress.update(step)
    output, errors = capfd.readouterr()
    assert output == ""
    assert [line.split()[1] for line in errors.splitlines()] == [f"{step}/100" for step in range(10, 100, 10)]


def test_time_left_and_figures(capfd: Captured, clock: Clock) -> None:
    with Progress(4, first_step=1) as progress:
        clock.now += 30
        progress.update(2, loss=1.23456789, epoch=3)
    assert capfd.readouterr().err == "step 2/4  0:01:00 left  loss 1.235  epoch 3\n"


def test_figures_come_at_once_but_not_every_instant(capfd: Captured, clock: Clock) -> None:
    with Progress(10) as progress:
        for step in range(1, 11):
            clock.now += 0.4
            progress.update(step, epoch=step)
    steps = [line.split()[1] for line in capfd.readouterr().err.splitlines()]
    assert steps == ["3/10", "6/10", "9/10", "10/10"]


def test_quiet(capfd: Captured) -> None:
    with Progress(2, quiet=True) as progress:
        progress.update(1)
        progress.update(2, loss=1.0)
    assert capfd.readouterr() == ("", "")


SCRIPT = """
from fpnas.runtime.progress import Progress
with Progress(20000) as progress:
    for step in (1, 2, 19999, 20000):
        progress.update(step, nats=38.123, K=9, macs_of_target=0.95123, top1=45.678)
"""


def test_a_terminal_gets_a_bar_with_time_left_and_figures_within_its_width() -> None:
    code, written = at_terminal([sys.executable, "-c", SCRIPT], columns=80)
    lines = [line for line in seen(written) if line.strip()]
    assert code == 0 and all(len(line) <= 80 for line in lines), lines
    assert re.fullmatch(
        r"━+ 20000/20000 \d:\d\d:\d\d left nats 38.12  K 9  macs_of_target 0.9512  top1 45.6\S+ *", lines[-1]
    )
    assert COLOUR.search(written)
    assert not COLOUR.search(at_terminal([sys.executable, "-c", SCRIPT], NO_COLOR="1")[1])


def test_a_terminal_that_knows_no_codes_gets_lines() -> None:
    _, written = at_terminal([sys.executable, "-c", SCRIPT], TERM="dumb")
    assert "\x1b" not in written and "━" not in written
    assert "step 20000/20000  0:00:00 left  nats 38.12  K 9" in written


def test_a_pipe_gets_lines_even_where_colours_are_asked_for() -> None:
    environment = undecided_environment() | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == "step 20000/20000  0:00:00 left  nats 38.12  K 9  macs_of_target 0.9512  top1 45.68\n"
