"""`fpnas space`."""

from typing import Any

from fpnas.checks import check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_space
from fpnas.commands.base import Command, add_input_size
from fpnas.quantities import parse_quantity
from fpnas.search_config import SearchConfig
from fpnas.space import INPUT_RANGES

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add("space", metavar="SPACE", help="a built-in search space or a TOML file")
    add_input_size(parser)
    parser.add("--in-channels", int | None, default=None, help="of the images; the space's own when left out")
    parser.add("--num-classes", int | None, default=None, help="of the data; the space's own when left out")
    parser.add("--target-macs", str | None, default=None, help="a budget: what share of the space meets it")


def _run(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, **INPUT_RANGES)
    target = None if arguments.target_macs is None else parse_quantity(arguments.target_macs, "--target-macs")
    from fpnas.space_file import load_space
    from fpnas.space_summary import describe_space

    return describe_space(
        load_space(arguments.space),
        input_size=arguments.input_size,
        in_channels=arguments.in_channels,
        num_classes=arguments.num_classes,
        target=target,
        budget_floor=SearchConfig.budget_floor,
    )


COMMAND = Command("show one search space in full", _add_arguments, _run, show_space)
