"""A command run at a terminal: a pseudo-terminal of a given width."""

import errno
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

__all__ = ["COLOUR", "at_terminal", "seen", "undecided_environment"]

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10[0-7])(?:;\d+)*m")
"""What sets the colour of letters or of their ground."""

_DECIDING = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM", "TERM")


def undecided_environment() -> dict[str, str]:
    """The environment without what decides about colours and width: that has to come from a test alone."""
    return {name: value for name, value in os.environ.items() if name not in _DECIDING}


def at_terminal(command: Sequence[str | Path], *, columns: int = 80, **environment: str) -> tuple[int, str]:
    """Exit code of a command, and all that it wrote to a terminal, standard output and standard error together."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = undecided_environment() | {"TERM": "xterm-256color"} | environment
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    written = bytearray()
    try:
        while piece := _read(ours):
            written += piece
        return process.wait(60), written.decode()
    finally:
        os.close(ours)
        process.kill()


def seen(written: str) -> list[str]:
    """The lines that a reader saw, those that were written over included."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written))


def _read(terminal: int) -> bytes:
    """What comes next; nothing when all processes have closed the other end, which Linux calls an error."""
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
