"""`fpnas import`."""

from pathlib import Path
from typing import Any

from fpnas.checks import check_choices, check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command
from fpnas.files import check_output_file

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add(
        "strings",
        str,
        metavar="STRING",
        nargs="+",
        help="a stage as timm writes it, e.g. ir_r3_k5_s2_e3_c40_se0.25; se0.25 is of the block's hidden width as in "
        "MobileNetV3, not of its input as in EfficientNet",
    )
    parser.add("--output", Path, required=True, help="network file to write")
    parser.add("--name", str | None, default=None, help="the network's name; that of the file when left out")
    parser.add("--input-size", int, default=224, help="side of the images, pixels")
    parser.add("--num-classes", int, default=1000, help="classes")
    parser.add("--stem-channels", int, default=32, help="channels of the first convolution, a multiple of 8")
    parser.add("--head-channels", int, default=1280, help="channels before the classifier")
    parser.add("--activation", default="relu", help="relu, swish or hswish, where a string names none")


def _run(arguments: Any) -> dict[str, Any]:
    from fpnas.cost.counts import network_cost
    from fpnas.files import write_json_atomic
    from fpnas.network_file import MOST_CHANNELS, network_to_json
    from fpnas.space import ACTIVATIONS, INPUT_RANGES
    from fpnas.timm_strings import network_from_timm_strings

    check_ranges(arguments, **{name: INPUT_RANGES[name] for name in ("input_size", "num_classes")})
    check_ranges(arguments, stem_channels=(8, MOST_CHANNELS), head_channels=(1, MOST_CHANNELS))
    check_choices(arguments, activation=ACTIVATIONS)
    output = arguments.output
    check_output_file(output)
    spec = network_from_timm_strings(
        arguments.strings,
        name=output.stem if arguments.name is None else arguments.name,
        input_size=arguments.input_size,
        num_classes=arguments.num_classes,
        stem_channels=arguments.stem_channels,
        head_channels=arguments.head_channels,
        activation=arguments.activation,
    )
    write_json_atomic(output, network_to_json(spec))
    cost = network_cost(spec)
    figures = {"macs": cost.macs, "params": cost.params, "weights": cost.weights, "input_size": spec.input_size}
    return {"network": str(output)} | figures


COMMAND = Command("write a network file from timm's strings", _add_arguments, _run, show_figures)
