"""`fpnas evaluate`."""

from dataclasses import asdict
from typing import Any

from fpnas.checks import check_choices, check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command, add_model, add_workers
from fpnas.run_options import RUN_CHOICES, RUN_RANGES

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    add_model(parser, ", or an ONNX file")
    parser.add("--data", required=True, help="a data set whose test images are taken; names as in `fpnas train`")
    parser.add("--device", default="auto", help="auto, cpu or cuda")
    add_workers(parser)
    parser.add("--on-bad-image", default="error", help="error stops at an unreadable image, skip leaves it out")


def _run(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, workers=RUN_RANGES["workers"])
    check_choices(arguments, device=RUN_CHOICES["device"], on_bad_image=RUN_CHOICES["on_bad_image"])
    from fpnas.predict import evaluate_model

    return asdict(
        evaluate_model(
            arguments.run,
            arguments.data,
            device=arguments.device,
            workers=arguments.workers,
            on_bad_image=arguments.on_bad_image,
        )
    )


COMMAND = Command("accuracy of a trained network", _add_arguments, _run, show_figures)
