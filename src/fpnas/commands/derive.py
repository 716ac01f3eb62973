"""`fpnas derive`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command
from fpnas.commands.report import PAGE_NAME, write_page

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add("run", Path, metavar="RUN", help="the --output of a search")
    parser.add("--target-macs", str | None, default=None, help="another budget; the search's own when left out")
    parser.add("--output", Path | None, default=None, help="network file to write; the run's own when left out")
    parser.add("--quiet", bool, default=False, help="no table of the result")


def _run(arguments: Any) -> dict[str, Any]:
    from fpnas.derive import derive_run

    derived = derive_run(arguments.run, target_macs=arguments.target_macs, output=arguments.output)
    page = arguments.run / PAGE_NAME
    if derived.network.parent == arguments.run and page.exists():
        write_page(arguments.run)
    return asdict(derived) | {"architecture": str(derived.architecture), "network": str(derived.network)}


def _network(document: dict[str, Any], arguments: Any) -> tuple[str, Path]:
    return document["network"], arguments.run


COMMAND = Command("take a network for another budget from a search", _add_arguments, _run, show_figures, _network)
