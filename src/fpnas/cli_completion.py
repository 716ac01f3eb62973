"""Completion of commands, options and files in a shell, as a script that the shell reads."""

import argparse
from collections.abc import Sequence

from fpnas.cli_parser import CommandParser
from fpnas.commands import COMMANDS, parser_of
from fpnas.errors import UserError
from fpnas.run_options import RUN_CHOICES
from fpnas.space import builtin_space_names

__all__ = ["completion_script"]

_SHELLS = ("bash", "zsh")


def completion_script(arguments: Sequence[str]) -> str:
    """The script for the shell that the arguments of `--print_completion` name.

    Raises:
        UserError: another shell, or shtab, which writes the scripts, is not installed.
    """
    if len(arguments) != 1 or arguments[0] not in _SHELLS:
        raise UserError(
            f"--print_completion {' '.join(arguments) or 'without a shell'}: one of {', '.join(_SHELLS)} is accepted"
        )
    try:
        import shtab
    except ImportError:
        raise UserError("--print_completion: needs the package shtab, which the extra `completion` brings") from None
    overview = argparse.ArgumentParser("fpnas")
    overview.add_argument("--version", action="store_true", help="print the version")

    def build(prog: str, **unused: object) -> CommandParser:
        parser = parser_of(prog.split()[-1])
        for action in parser._actions:
            if action.dest in names:
                action.choices = names[action.dest]
            # A text without an option before it names a file, too.
            elif action.dest in parser.paths or not action.option_strings:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        return parser

    names = RUN_CHOICES | {"space": builtin_space_names()}
    # Typed as a class, called as a function.
    subcommands = overview.add_subparsers(parser_class=build)  # type: ignore[call-overload]
    for name, command in COMMANDS.items():
        subcommands.add_parser(name, help=command.help)
    return shtab.complete(overview, arguments[0])
