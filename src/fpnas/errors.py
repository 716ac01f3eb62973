"""What a user can be told."""

__all__ = ["ProcessLost", "UserError"]


class UserError(Exception):
    """Bad usage, configuration, file or data.

    The message is one line that names the file or option, the value and what is accepted. The command line
    prints it on standard error and exits with code 2, without a traceback.
    """


class ProcessLost(Exception):
    """Another process of the run has ended or cannot be reached; this one cannot go on alone."""
