"""`fpnas predict`."""

from pathlib import Path
from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_predictions
from fpnas.commands.base import Command, add_model

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    add_model(parser, ", or an ONNX file")
    parser.add("images", str, metavar="IMAGE", nargs="+", help="image files")


def _run(arguments: Any) -> list[dict[str, Any]]:
    from fpnas.predict import predict_images, prediction_to_json

    predictions = predict_images(arguments.run, [Path(image) for image in arguments.images])
    return [prediction_to_json(prediction) for prediction in predictions]


COMMAND = Command("classes of images", _add_arguments, _run, show_predictions)
