"""The report of runs under way, served to this machine alone."""

import hashlib
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fpnas.errors import UserError, tell
from fpnas.files import printable
from fpnas.report.page import render
from fpnas.report.runs import read_runs
from fpnas.runtime.run_directory import CONFIG_FILE, METRICS_FILE, MISTAKES_FILE, RESULT_FILE

__all__ = ["serve", "server_for", "state_of"]

_ADDRESS = "127.0.0.1"
HTTP_PORT = 80
_FILES = (CONFIG_FILE, METRICS_FILE, RESULT_FILE, MISTAKES_FILE)


def state_of(paths: Sequence[Path]) -> str:
    """Changes when a page of these runs would: with whole epochs, results and mistakes."""
    digest = hashlib.sha256()
    for path in paths:
        for name in _FILES:
            file = path / name
            try:
                status = file.stat()
            except OSError:  # not there, or just replaced
                continue
            changed = str(status.st_mtime_ns)
            if name == METRICS_FILE:
                # Steps come many a second; an epoch is what is worth drawing again.
                changed = str(_epochs(file, status.st_size, status.st_mtime_ns))
            digest.update(f"{path!r} {name} {changed};".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


@lru_cache(maxsize=256)
def _epochs(path: Path, size: int, changed_ns: int) -> int:
    """Epochs in a record that is so long and was changed then: those of runs that stand still are counted once.

    A line without its end is no record yet; the page that is drawn now will not show it.
    """
    content = path.read_bytes()
    return content.count(b'"epoch"', 0, content.rfind(b"\n") + 1)


class _Server(ThreadingHTTPServer):
    """Of browsers that leave before they have their page, nothing is said."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server_for(paths: Sequence[Path], port: int = 0) -> ThreadingHTTPServer:
    """A server on the loopback address; any free port for 0.

    It answers two paths, the page and its state, to requests that name the loopback address: a page of elsewhere that
    has its name lead here is refused.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.server, ThreadingHTTPServer)
            hosts = {f"{name}:{self.server.server_port}" for name in (_ADDRESS, "localhost")}
            if self.server.server_port == HTTP_PORT:  # which a browser leaves out
                hosts |= {_ADDRESS, "localhost"}
            if self.headers.get("Host") not in hosts:
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "only this machine is answered")
            elif self.path == "/state":
                self._answer(HTTPStatus.OK, "text/plain", state_of(paths))
            elif self.path == "/":
                try:
                    # First the state: what is written meanwhile makes another one, and the page asks again.
                    state = state_of(paths)
                    self._answer(HTTPStatus.OK, "text/html", render(read_runs(paths), live=state))
                except UserError as error:
                    # A run that is just being made, or goes on; the page asks again.
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", str(error), {"Refresh": "2"})
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "no such page")

        def _answer(self, status: HTTPStatus, kind: str, text: str, headers: dict[str, str] | None = None) -> None:
            body = printable(text).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Requests are nobody's business."""

    try:
        return _Server((_ADDRESS, port), Handler)
    except OSError as error:
        raise UserError(f"--port {port}: cannot be served on: {error.strerror}") from None


def serve(paths: Sequence[Path], port: int = 0) -> None:
    """Serve the report until interrupted.

    Raises:
        UserError: not a run, or a port that is taken.
    """
    read_runs(paths)
    with server_for(paths, port) as server:
        # In a thread of its own: an interrupt that came upon the server while it takes a request would close that
        # request under the hands of the thread that is to answer it.
        loop = threading.Thread(target=server.serve_forever, daemon=True)
        loop.start()
        try:
            tell(f"fpnas: http://{_ADDRESS}:{server.server_port}/ shows the report; Ctrl-C ends it")
            # An interrupt that comes just before a wait without an end is not seen until the next one.
            while loop.is_alive():
                loop.join(1.0)
        finally:
            server.shutdown()
