"""Files of rows that several processes write, each row whole and none twice."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["append_line", "claim", "read_documents"]


def append_line(path: Path, line: str, *, header: str = "") -> None:
    """Add a line to a file, whole or not at all, whichever processes write at the same time; `header` to a new file."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{header}{line}" if file.tell() == 0 else line)
        file.flush()
        os.fsync(file.fileno())


def read_documents(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def claim(path: Path, work: object) -> Iterator[bool]:
    """Whether this process may do a piece of work on a file's rows: no other process of this machine is at it.

    The claim ends with the process, however it ends.
    """
    folder = Path(tempfile.gettempdir()) / "fpnas-benchmarks"
    folder.mkdir(exist_ok=True)
    name = hashlib.sha256(repr((str(path.resolve()), work)).encode()).hexdigest()
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
