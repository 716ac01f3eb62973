"""Files of rows that several processes write, each row whole and none twice."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["append_line", "claim"]


def append_line(path: Path, line: str, *, header: str = "") -> None:
    """Add a line to a file, whole or not at all, whichever processes write at the same time; `header` to a new file."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{header}{line}" if file.tell() == 0 else line)
        file.flush()
        os.fsync(file.fileno())


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
