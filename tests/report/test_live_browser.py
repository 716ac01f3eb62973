"""The live report for real: a search, a server and a browser, and what happens when one of them is killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from command_line import heeding_interrupts
from finished_runs import copied
from real_browser import FOREIGN, Browser

from fpnas.runtime.metrics import read_metrics

SEARCH = ("search", "--data", "digits", "--space", "tiny", "--target-macs", "0.3M", "--threads", "1", "--quiet")
LAST = 30  # not over before it is killed, on a fast machine either
LONG = ("--epochs", str(LAST), "--warmup-epochs", "3", "--checkpoint-every", "0")
WITHIN_SECONDS = 5.0


Process: TypeAlias = "subprocess.Popen[str]"
Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands of fpnas; those that are still at work when the test ends are killed."""
    processes: list[Process] = []

    def started(*arguments: str | Path) -> Process:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "fpnas", *map(str, arguments)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                preexec_fn=heeding_interrupts,
            )
        )
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


class Server:
    """`fpnas report RUN --live`, and the port it has."""

    def __init__(self, start: Start, run: Path, port: int = 0) -> None:
        self.process = start("report", run, "--live", "--port", str(port))
        assert self.process.stderr
        said = self.process.stderr.readline()
        found = re.fullmatch(r"fpnas: http://127\.0\.0\.1:(\d+)/ shows the report; Ctrl-C ends it\n", said)
        assert found, said
        self.port = int(found[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def end(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr
        assert (self.process.stderr.read(), self.process.wait()) == ("fpnas: interrupted\n", 130)


def epochs_recorded(run: Path) -> int:
    """The newest epoch whose line is whole."""
    path = run / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return max((json.loads(line).get("epoch", 0) for line in lines), default=0)


def epoch_shown(browser: Browser) -> int:
    """What the open page says itself, and its charts show."""
    text, drawn = browser.run(
        """const charts = [...document.querySelectorAll('.chart')];
        const chart = charts.find(place => place.data && place.data[0].name === 'top-1, %');
        return [document.querySelector('main').innerText, chart ? Math.max(...chart.data[0].x) : 0]"""
    )
    said = re.search(rf"(\d+) of {LAST} epochs done", text)
    epoch = int(said[1]) if said else 0 if "no epoch done yet" in text else LAST
    assert drawn in (epoch, 0)
    return epoch


def follow(browser: Browser, run: Path, search: Process, until: int) -> list[float]:
    """Watch a run and its page up to an epoch; seconds from the record to the page, by epoch."""
    written: dict[int, float] = {}
    shown: dict[int, float] = {}
    while until not in shown:
        now = time.monotonic()
        newest = epochs_recorded(run)
        written.setdefault(newest, now)
        seen = epoch_shown(browser)
        for epoch in range(seen + 1):
            shown.setdefault(epoch, time.monotonic())
        waiting = min((at for epoch, at in written.items() if epoch not in shown), default=now)
        assert now - waiting < WITHIN_SECONDS, f"epoch {newest} is recorded, {seen} is shown"
        assert search.poll() in (None, 0)
        time.sleep(0.05)
    return [shown[epoch] - written[epoch] for epoch in written if epoch in shown]


def test_the_page_follows_a_search_through_its_death(browser: Browser, start: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    search = start(*SEARCH, *LONG, "--output", run)
    browser.wait(lambda: (run / "config.yaml").exists() or search.poll() is not None, 300, "a run")
    server = Server(start, run)
    browser.open(server.address)
    browser.run("window.opened = 'once'")
    delays = follow(browser, run, search, until=3)
    search.kill()
    search.wait()
    time.sleep(2)
    assert 3 <= epoch_shown(browser) < LAST
    search = start(*SEARCH, *LONG, "--output", run, "--resume")
    delays += follow(browser, run, search, until=LAST)
    assert search.wait() == 0
    browser.wait(lambda: "The network found" in browser.run("return document.body.innerText"), 10, "the result")
    # The same document all the time, and nothing but what it asks its own server for.
    assert browser.run("return window.opened") == "once"
    assert set(browser.requests()) == {server.address, f"{server.address}state"}
    assert browser.console() == []
    print(f"from the record to the page: at most {max(delays):.1f} s")
    server.end()


def test_it_listens_on_the_loopback_address_alone(start: Start, search_run: Path) -> None:
    server = Server(start, search_run)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        pass
    # Every 127.x.y.z is this machine; a server on all of its addresses would answer there.
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)
    server.end()


def test_a_page_under_another_name_is_refused(browser: Browser, start: Start, search_run: Path) -> None:
    server = Server(start, search_run)
    # As a page of elsewhere would try whose name was made to lead here.
    browser.open(f"http://{FOREIGN}:{server.port}/")
    assert browser.run("return document.body.innerText") == "only this machine is answered"
    browser.open(f"http://localhost:{server.port}/")
    assert "The network found" in browser.run("return document.body.innerText")


def test_what_was_set_by_hand_stays_and_a_server_may_come_back(
    browser: Browser, start: Start, search_run: Path, tmp_path: Path
) -> None:
    run = copied(search_run, tmp_path)
    last = read_metrics(run / "metrics.jsonl")[-1]

    def add_epoch(epoch: int) -> None:
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(last | {"step": 11 * epoch - 1, "epoch": epoch}) + "\n")

    server = Server(start, run)
    browser.open(server.address)
    browser.run(
        """const slider = document.querySelector('input[type=range]');
        slider.value = 0;
        slider.dispatchEvent(new Event('input'));
        document.querySelectorAll('details')[1].open = true;
        scrollTo(0, 500)"""
    )
    label = "return document.getElementById('frame-label').textContent"
    assert browser.run(label) == "After epoch 1 of 3"
    add_epoch(4)
    browser.wait(lambda: browser.run(label) == "After epoch 1 of 4", 30, "the new epoch, with the slider where it was")
    assert browser.run("return [document.querySelectorAll('details')[1].open, scrollY]") == [True, 500]
    server.end()
    status = "return document.getElementById('live').textContent"
    browser.wait(lambda: "does not answer" in browser.run(status), 30, "that the server is gone")
    assert "The network found" in browser.run("return document.body.innerText")
    add_epoch(5)
    Server(start, run, server.port)
    browser.wait(lambda: browser.run(label) == "After epoch 1 of 5", 60, "the epoch of meanwhile")
    assert "does not answer" not in browser.run(status)
