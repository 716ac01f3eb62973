"""`fpnas select`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_selection
from fpnas.commands.base import Command, configuration_of
from fpnas.commands.report import keep_page, write_page
from fpnas.select_config import SelectConfig

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add(
        "candidates",
        str,
        metavar="CANDIDATE",
        nargs="+",
        help="--output of searches, network files, or built-in networks' names; two or more",
    )
    parser.add_configuration(SelectConfig)


def _run(arguments: Any) -> dict[str, Any]:
    config = configuration_of(SelectConfig, arguments)
    config.validate()
    from fpnas.select import candidate_file, run_select

    sources = [candidate_file(name) for name in arguments.candidates]
    candidates = run_select(sources, config, callbacks=[keep_page])
    for candidate in candidates:
        write_page(Path(candidate.run))
    return {
        "network": candidates[0].network,
        "output": str(config.output),
        "candidates": [asdict(candidate) for candidate in candidates],
    }


def _network(document: dict[str, Any], arguments: Any) -> tuple[str, None]:
    return document["network"], None


COMMAND = Command("take the best of several found networks", _add_arguments, _run, show_selection, _network)
