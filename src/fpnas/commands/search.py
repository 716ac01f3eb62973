"""`fpnas search`."""

from dataclasses import asdict
from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command, configuration_of
from fpnas.commands.report import keep_page, write_page
from fpnas.errors import tell
from fpnas.launcher import rank
from fpnas.search_config import SearchConfig

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add_configuration(SearchConfig)


def _run(arguments: Any) -> dict[str, Any]:
    config = configuration_of(SearchConfig, arguments)
    config.target_macs = str(config.target_macs)
    config.validate()
    from fpnas.runtime.run_directory import RunDirectory
    from fpnas.search_result import result_figures, settled_below
    from fpnas.space_file import load_space
    from fpnas.supernet_search import run_search

    result = run_search(config, callbacks=[keep_page])
    # Of a run that had ended before, too: it may have been killed before its page was there.
    write_page(config.output)
    run = RunDirectory(config.output, "search", asdict(config))
    if not result.converged and not rank():
        tell(
            f"fpnas: the search did not converge: {result.entropy_nats:.1f} nats are left where fewer than "
            f"{settled_below(load_space(run.space_path)):.2g} are expected; more --epochs may help"
        )
    found = {"architecture": str(run.architecture_path), "network": str(run.network_path)}
    return found | result_figures(result) | {"output": str(run.path)}


def _network(document: dict[str, Any], arguments: Any) -> tuple[str, str]:
    return document["network"], document["output"]


COMMAND = Command("search a network for data and a budget", _add_arguments, _run, show_figures, _network)
