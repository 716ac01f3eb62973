"""The `fpnas` command: options in, one answer out, and every mistake in one line with exit code 2."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType

from fpnas.cli_completion import completion_script
from fpnas.cli_tables import show_network
from fpnas.commands import COMMANDS, parser_of
from fpnas.errors import BAD_USAGE, TERMINATED, ProcessLost, UserError, tell
from fpnas.launcher import rank
from fpnas.version import __version__

__all__ = ["main"]

_DONE, _FAILED, _INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; those of the process when left out.

    Returns:
        The exit code: 0 done, 2 bad usage, configuration, file or data, 1 any other failure, 130 interrupted,
        143 terminated.
    """
    if arguments is None:
        _prepare_output()
    try:
        with _termination_as_exit():
            return _run(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        _complain(error)
        return BAD_USAGE
    except (FloatingPointError, ProcessLost) as error:
        _complain(error)
        return _FAILED
    except KeyboardInterrupt:
        tell("fpnas: interrupted")
        return _INTERRUPTED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _DONE
    except BrokenPipeError:  # whoever read standard output has left, as `head` does
        _drop_output()
        return _FAILED
    except _OutputLostError as error:
        _drop_output()
        _complain(error)
        return _FAILED
    except Exception:
        traceback.print_exc()
        return _FAILED


class _OutputLostError(Exception):
    """Standard output takes no more, as that of a full disk."""


def _prepare_output() -> None:
    """Have standard output take every name, whatever its encoding, and be there if it was closed."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Have the interpreter not try to write again, at its end, what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Around what is written to standard output, to the end of it."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputLostError(f"standard output: cannot be written: {error.strerror}") from None


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    with _answering():
        if name in ("-h", "--help"):
            print(_overview())
            return _DONE
        if name == "--version":
            print(f"fpnas {__version__}")
            return _DONE
        if name in ("--print_completion", "--print-completion"):
            print(completion_script(arguments[1:]))
            return _DONE
    if name not in COMMANDS:
        given = f"command {name}: unknown" if name else "a command is missing"
        raise UserError(f"{given}; accepted are {', '.join(COMMANDS)}; `fpnas --help` says what they do")
    command = COMMANDS[name]
    parser = parser_of(name)
    with _answering():  # of --help
        values = parser.parse(arguments[1:])
    # Standard output is for the answer alone, whatever a library prints on its way to it.
    with contextlib.redirect_stdout(sys.stderr):
        document = command.run(values)
    if rank():
        return _DONE
    with _answering():
        if values.json:
            print(_json_of(document))
        elif not getattr(values, "quiet", False):
            command.show(document)
            if command.network is not None:
                show_network(*command.network(document, values))
    return _DONE


def _json_of(document: object) -> str:
    """JSON that standard output can take: names of files may be any bytes, and a terminal of few characters."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(document, indent=2, allow_nan=False)
    return text


def _complain(error: Exception) -> None:
    """One line about a mistake, that says which process has it where there are several."""
    who = f"process {rank()}: " if rank() else ""
    # Messages of libraries may span lines; a user is told one.
    tell(f"fpnas: error: {who}{' '.join(str(error).split())}")


def _overview() -> str:
    commands = "\n".join(f"  {name:<10}{command.help}" for name, command in COMMANDS.items())
    return (
        "usage: fpnas COMMAND [options]\n\n"
        "Images and a budget in, a trained and exported network out.\n\n"
        f"commands:\n{commands}\n\n"
        "`fpnas COMMAND --help` lists the options of a command; `fpnas --version` prints the version;\n"
        "`fpnas --print_completion bash` (or zsh) prints what completes commands and options in a shell."
    )


@contextlib.contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind the stack as SIGINT does, so that files are closed and temporary ones removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
