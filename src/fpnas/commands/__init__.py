"""The commands of the command line, a file each.

PyTorch is imported by the functions that need it, so that `--help` and mistakes in options answer at once.
"""

from fpnas.cli_parser import CommandParser
from fpnas.commands import (
    cost,
    derive,
    evaluate,
    export,
    import_network,
    predict,
    report,
    search,
    select,
    space,
    spaces,
    train,
)
from fpnas.commands.base import Command

__all__ = ["COMMANDS", "Command", "parser_of"]

COMMANDS: dict[str, Command] = {
    "spaces": spaces.COMMAND,
    "space": space.COMMAND,
    "cost": cost.COMMAND,
    "search": search.COMMAND,
    "derive": derive.COMMAND,
    "select": select.COMMAND,
    "train": train.COMMAND,
    "evaluate": evaluate.COMMAND,
    "predict": predict.COMMAND,
    "export": export.COMMAND,
    "report": report.COMMAND,
    "import": import_network.COMMAND,
}


def parser_of(name: str) -> CommandParser:
    """The parser of a command, with what all commands take."""
    parser = CommandParser(name, COMMANDS[name].help)
    COMMANDS[name].add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return parser
