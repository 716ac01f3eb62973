"""The report that is served: to this machine alone, two pages and nothing else, new when there is something new."""

import http.client
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from finished_runs import copied

from fpnas.errors import UserError
from fpnas.report import live
from fpnas.report.live import _Server, serve, server_for, state_of
from fpnas.report.runs import ReportedRun, read_runs


@pytest.fixture
def run(search_run: Path, tmp_path: Path) -> Path:
    return copied(search_run, tmp_path)


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    with server_for([run]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def answer(port: int, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_the_page_and_its_state(port: int, run: Path) -> None:
    status, page = answer(port, "/")
    assert status == 200 and f'data-live="{state_of([run])}"' in page
    assert answer(port, "/state", f"localhost:{port}") == (200, state_of([run]))


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "127.0.0.1:1", "localhost.example.org", "[::1]", ""])
def test_other_hosts_are_refused(port: int, host: str) -> None:
    for path in ("/", "/state"):
        assert answer(port, path, host)[0] == 403


def test_the_port_that_a_browser_leaves_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpnas.report.live.HTTP_PORT", port)
    assert answer(port, "/state", "localhost")[0] == answer(port, "/state", "127.0.0.1")[0] == 200
    assert answer(port, "/state", "example.org")[0] == 403


@pytest.mark.parametrize(
    "path", ["/config.yaml", "/../config.yaml", "/%2e%2e/config.yaml", "//etc/passwd", "/state/..", "/?x", "state"]
)
def test_no_file_is_served(port: int, path: str) -> None:
    assert answer(port, path)[0] == 404


def test_nothing_can_be_sent(port: int) -> None:
    assert answer(port, "/", method="POST")[0] == 501


def test_an_epoch_changes_the_state_and_a_step_does_not(run: Path) -> None:
    path = run / "metrics.jsonl"
    begun = state_of([run])
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("ab") as file:
        file.write(lines[0])
        file.flush()
        assert state_of([run]) == begun
        # Half an epoch's line is not one: the page would not show it, and nothing would say that it came.
        file.write(lines[-1][:-1])
        file.flush()
        assert state_of([run]) == begun
        file.write(lines[-1][-1:])
    assert state_of([run]) != begun


def test_an_epoch_that_comes_while_the_page_is_made_is_not_missed(
    run: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(paths: Sequence[Path]) -> list[ReportedRun]:
        runs = read_runs(paths)
        with (run / "metrics.jsonl").open("ab") as file:
            file.write((run / "metrics.jsonl").read_bytes().splitlines(keepends=True)[-1])
        return runs

    monkeypatch.setattr("fpnas.report.live.read_runs", reading)
    page = answer(port, "/")[1]
    # Without the new epoch, and with a state that says so.
    assert f'data-live="{state_of([run])}"' not in page and 'data-live="' in page


def test_a_run_that_cannot_be_read_for_a_moment(port: int, run: Path) -> None:
    moved = (run / "config.yaml").rename(run / "aside")
    assert answer(port, "/")[0] == 503
    moved.rename(run / "config.yaml")
    assert answer(port, "/")[0] == 200


def test_a_browser_that_leaves_is_no_error(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        # Closed with bytes unread: what is sent after that is refused.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.recv(1)
    assert answer(port, "/state")[0] == 200
    time.sleep(0.5)
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_that_is_taken_is_one_line(port: int, run: Path) -> None:
    with pytest.raises(UserError, match=f"--port {port}: cannot be served on"):
        server_for([run], port)


def test_an_interrupt_amid_a_request_leaves_it_its_answer(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing but an interrupt ends the server; it comes when the request's thread has just been started."""
    answers: list[int] = []
    port: list[int] = []
    process, process_in_thread = _Server.process_request, _Server.process_request_thread

    def interrupted(server: _Server, *request: Any) -> None:
        process(server, *request)
        os.kill(os.getpid(), signal.SIGINT)

    def late(server: _Server, *request: Any) -> None:
        time.sleep(0.3)
        process_in_thread(server, *request)

    def ask() -> None:
        while not port:
            time.sleep(0.01)
        answers.append(answer(port[0], "/state")[0])

    monkeypatch.setattr(_Server, "process_request", interrupted)
    monkeypatch.setattr(_Server, "process_request_thread", late)
    monkeypatch.setattr(live, "tell", lambda line: port.append(int(line.split(":")[3].partition("/")[0])))
    client = threading.Thread(target=ask)
    client.start()
    with pytest.raises(KeyboardInterrupt):
        serve([run])
    client.join(30)
    assert answers == [200]
    assert capfd.readouterr().err == ""
