"""`fpnas export`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fpnas.checks import check_choices, check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command, add_model, add_workers
from fpnas.run_options import EXPORT_FORMATS, RUN_RANGES

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    add_model(parser)
    parser.add("--format", required=True, help=", ".join(EXPORT_FORMATS))
    parser.add("--output", Path, required=True, help="the file to write; for --format folder, a new folder")
    parser.add(
        "--data",
        str | None,
        default=None,
        help="images to compare and quantise by; the training's when left out, for --format folder random ones",
    )
    add_workers(parser)


def _run(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, workers=RUN_RANGES["workers"])
    check_choices(arguments, format=EXPORT_FORMATS)
    from fpnas.export import export_model

    exported = export_model(
        arguments.run, arguments.output, arguments.format, data=arguments.data, workers=arguments.workers
    )
    return asdict(exported) | {"path": str(exported.path)}


COMMAND = Command("write a trained network for other programs", _add_arguments, _run, show_figures)
