"""Progress on standard error: nothing on standard output, nothing when quiet, few lines in a log file."""

import pytest

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


def test_a_terminal_gets_a_bar_on_standard_error(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress(2) as progress:
        progress.update(1, loss=0.5)
        progress.update(2)
    output, errors = capfd.readouterr()
    assert output == ""
    assert "2/2" in errors and "loss 0.5" in errors
