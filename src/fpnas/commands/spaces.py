"""`fpnas spaces`."""

from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_spaces
from fpnas.commands.base import Command

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    """It takes none."""


def _run(arguments: Any) -> list[dict[str, Any]]:
    from fpnas.space import builtin_space_names
    from fpnas.space_file import load_space
    from fpnas.space_summary import summarise_space

    return [summarise_space(load_space(name)) for name in builtin_space_names()]


COMMAND = Command("list the built-in search spaces", _add_arguments, _run, show_spaces)
