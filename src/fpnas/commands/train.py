"""`fpnas train`."""

from pathlib import Path
from typing import Any

from fpnas.builtin_files import builtin_network_names, find_network
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command, configuration_of
from fpnas.commands.report import keep_page, write_page
from fpnas.files import what_is_at
from fpnas.network_file import NETWORK_NAME
from fpnas.train_config import TrainConfig

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add(
        "network_file",
        metavar="FILE",
        help="a network file, a built-in network's name, or a model folder, whose weights are the start",
    )
    parser.add_configuration(TrainConfig)


def _run(arguments: Any) -> dict[str, Any]:
    config = configuration_of(TrainConfig, arguments)
    config.validate()
    name = arguments.network_file
    # A run may have the name of the network that it trains; its folder is ./NAME.
    folder = name not in builtin_network_names() and what_is_at(name, "network") == "folder"
    source = Path(name) if folder else find_network(name)
    from fpnas.train import run_train

    result = run_train(source, config, callbacks=[keep_page])
    # Of a run that had ended before, too: it may have been killed before its page was there.
    write_page(config.output)
    figures = {name: getattr(result, name) for name in ("top1", "top5", "macs", "params", "seconds", "skipped_images")}
    return figures | {"output": str(config.output)}


def _network(document: dict[str, Any], arguments: Any) -> tuple[Path, None]:
    return Path(document["output"]) / NETWORK_NAME, None


COMMAND = Command("train a network, from scratch or from other weights", _add_arguments, _run, show_figures, _network)
