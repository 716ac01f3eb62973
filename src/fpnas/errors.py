"""What a user can be told, and the telling."""

import sys

__all__ = ["ProcessLost", "UserError", "first_line", "tell"]


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
