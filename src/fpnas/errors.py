"""What a user can be told, and the telling."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

__all__ = ["BAD_USAGE", "TERMINATED", "ProcessLost", "UserError", "first_line", "quietly", "tell"]

BAD_USAGE, TERMINATED = 2, 143
"""Exit codes of a process that has a UserError, and of one that SIGTERM ends: a run leaves by them, too."""


class UserError(Exception):
    """Bad usage, configuration, file or data.

    The message is one line that names the file or option, the value and what is accepted. The command line
    prints it on standard error and exits with code 2, without a traceback.
    """


class ProcessLost(Exception):
    """The exchange with the other processes of a run failed, as a rule because one has ended."""


def first_line(error: BaseException) -> str:
    """What an error says first, or else its kind: a user is told one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def tell(text: str) -> None:
    """A line on standard error in one write, so that lines of processes that share it do not mix."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Around libraries that report their progress by every way there is; only failures are of interest."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
