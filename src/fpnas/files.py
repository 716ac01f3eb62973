"""Reading and writing of small files, so that a failure never leaves half a file under its final name."""

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from fpnas.errors import UserError, first_line

__all__ = [
    "check_output_file",
    "check_output_place",
    "read_json",
    "read_text",
    "what_is_at",
    "write_bytes_atomic",
    "write_json_atomic",
    "write_text_atomic",
]


def what_is_at(path: str | os.PathLike[str], kind: str) -> str:
    """`folder`, `file` for whatever else, or an empty text where there is nothing at a path a user named.

    Args:
        path: as it was named.
        kind: what should be there, for the message.

    Raises:
        UserError: a name too long, a folder on the way that may not be entered, or no path at all.
    """
    try:
        return "folder" if stat.S_ISDIR(os.stat(path).st_mode) else "file"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UserError(f"{kind} {path}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{kind} {os.fspath(path)!r}: not a path") from None


def check_output_file(path: Path) -> None:
    """Raises UserError where `--output` names no place for a file; before slow work."""
    if what_is_at(path, "--output") == "folder":
        raise UserError(f"--output {path}: is a folder; the name of a file is accepted")
    # The file would take the place of a device or a pipe, even of /dev/null where the user is root.
    if path.exists() and not path.is_file():
        raise UserError(f"--output {path}: is no ordinary file; a new name is accepted")
    check_output_place(path)


def check_output_place(path: Path) -> None:
    """Raises UserError where what `--output` names would be in no folder, or in one that cannot be written."""
    if what_is_at(path.parent, "--output") != "folder":
        raise UserError(f"--output {path}: {path.parent} is not a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"--output {path}: {path.parent} is not writable")


def read_text(path: str | os.PathLike[str], kind: str) -> str:
    """Text of a file a user named.

    Args:
        path: the file.
        kind: what the file should be, for the message, e.g. "network file".

    Raises:
        UserError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # some editors of Windows mark their files
    except FileNotFoundError:
        raise UserError(f"{kind} {path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{kind} {path}: not a UTF-8 text file") from None
    except OSError as error:
        raise UserError(f"{kind} {path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{kind} {os.fspath(path)!r}: not a path") from None


def read_json(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """The JSON object in a file a user named.

    Args:
        path: the file.
        kind: what the file should be, for the message.

    Raises:
        UserError: unreadable, truncated, not JSON or not an object.
    """
    text = read_text(path, kind)
    try:
        value = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{kind} {path}: not whole JSON: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise UserError(f"{kind} {path}: a JSON object is expected, found {type(value).__name__}")
    return value


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write a file whole or not at all: temporary file beside it, fsync, rename.

    Raises:
        UserError: the place cannot be written.
    """
    target = Path(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    try:
        # mkstemp gives 0600; results are meant to be read by others, within the user's umask.
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def printable(text: str) -> str:
    """Text with a mark for what is not UTF-8 in it: names of files may be any bytes."""
    return os.fsencode(text).decode(errors="replace")


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text whole or not at all. Raises UserError when the place cannot be written."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, whole or not at all. Raises UserError when it cannot be written."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
