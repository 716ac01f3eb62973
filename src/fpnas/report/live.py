"""The report of runs under way, served to this machine alone."""

import hashlib
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fpnas.errors import UserError, tell
from fpnas.report.page import render
from fpnas.report.runs import read_runs

__all__ = ["serve"]

_ADDRESS = "127.0.0.1"
_FILES = ("config.yaml", "metrics.jsonl", "result.json", "mistakes.json")


def state_of(paths: Sequence[Path]) -> str:
    """Changes when a page of these runs would: with whole epochs, results and mistakes."""
    digest = hashlib.sha256()
    for path in paths:
        for name in _FILES:
            file = path / name
            if name == "metrics.jsonl" and file.is_file():
                # Steps come many a second; an epoch is what is worth drawing again.
                epochs = sum(b'"epoch"' in line for line in file.read_bytes().splitlines(keepends=True))
                digest.update(f"{path} {epochs};".encode())
            elif file.is_file():
                digest.update(f"{path} {name} {file.stat().st_mtime_ns};".encode())
    return digest.hexdigest()[:16]


def server_for(paths: Sequence[Path], port: int = 0) -> ThreadingHTTPServer:
    """A server on the loopback address; any free port for 0.

    It answers two paths, the page and its state, to requests that name the loopback address: a page of elsewhere that
    has its name lead here is refused.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.server, ThreadingHTTPServer)
            hosts = {f"{name}:{self.server.server_port}" for name in (_ADDRESS, "localhost")}
            if self.headers.get("Host") not in hosts:
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "only this machine is answered")
            elif self.path == "/state":
                self._answer(HTTPStatus.OK, "text/plain", state_of(paths))
            elif self.path == "/":
                try:
                    self._answer(HTTPStatus.OK, "text/html", render(read_runs(paths), live=state_of(paths)))
                except UserError as error:
                    # A run that is just being made, or goes on; the page asks again.
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", str(error), {"Refresh": "2"})
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "no such page")

        def _answer(self, status: HTTPStatus, kind: str, text: str, headers: dict[str, str] | None = None) -> None:
            body = text.encode()
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
        return ThreadingHTTPServer((_ADDRESS, port), Handler)
    except OSError as error:
        raise UserError(f"--port {port}: cannot be served on: {error.strerror}") from None


def serve(paths: Sequence[Path], port: int = 0) -> None:
    """Serve the report until interrupted.

    Raises:
        UserError: not a run, or a port that is taken.
    """
    read_runs(paths)
    with server_for(paths, port) as server:
        tell(f"fpnas: http://{_ADDRESS}:{server.server_port}/ shows the report; Ctrl-C ends it")
        server.serve_forever()
