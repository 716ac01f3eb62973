"""What a command of the command line is, and what several of them take."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.errors import UserError

__all__ = ["Command", "add_input_size", "add_model", "add_workers", "configuration_of"]


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        help: one line on what it does.
        add_arguments: adds what it takes to its parser.
        run: does it, and gives the document that `--json` prints.
        show: prints that document for people.
        network: names the file of the network that came of it, and the run directory of the search that has its groups
            or None, by that document and the arguments; its choices are shown, too.
    """

    help: str
    add_arguments: Callable[[CommandParser], None]
    run: Callable[[Any], Any]
    show: Callable[[Any], None]
    network: Callable[[Any, Any], tuple[str | Path, str | Path | None]] | None = None


def add_input_size(parser: CommandParser) -> None:
    """Add the size of the images to count for."""
    parser.add("--input-size", int | None, default=None, help="side of the images, pixels; its own when left out")


def add_model(parser: CommandParser, files: str = "") -> None:
    """Add the model to work with; `files` is what it may be beside a folder."""
    parser.add("run", Path, metavar="MODEL", help=f"a model folder, the --output of a training{files}")


def add_workers(parser: CommandParser) -> None:
    """Add the number of loading threads."""
    parser.add("--workers", int, default=2, help="threads that load images")


def configuration_of(kind: type, arguments: Any) -> Any:
    """The configuration in the values of `CommandParser.add_configuration`. Raises UserError for a null."""
    values = {field.name: getattr(arguments, field.name) for field in fields(kind)}
    for field in fields(kind):
        # YAML's null passes as a value of any type.
        if values[field.name] is None and field.default is not None:
            raise UserError(f"--{field.name.replace('_', '-')} null: a value is expected")
    return kind(**values)
