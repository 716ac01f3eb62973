"""`fpnas search`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures, show_selection
from fpnas.commands.base import Command, configuration_of
from fpnas.commands.report import keep_page, write_page
from fpnas.errors import UserError, tell
from fpnas.launcher import rank
from fpnas.restarts_config import RestartsConfig
from fpnas.select_config import SelectConfig

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add_configuration(RestartsConfig)


def _run(arguments: Any) -> dict[str, Any]:
    config = configuration_of(RestartsConfig, arguments)
    config.target_macs = str(config.target_macs)
    config.validate()
    from fpnas.restarts import search_with_restarts
    from fpnas.runtime.run_directory import RunDirectory
    from fpnas.search_result import result_figures, settled_below
    from fpnas.space_file import load_space
    from fpnas.supernet_search import run_search

    chosen: dict[str, Any] = {}
    if config.restarts > 1:
        result, candidates = search_with_restarts(config, _short_training(config), callbacks=[keep_page])
        chosen = {"candidates": [asdict(candidate) for candidate in candidates]}
        for candidate in candidates:
            write_page(Path(candidate.network).parent)
            write_page(Path(candidate.run))
    else:
        if config.select_config is not None:
            raise UserError(f"--select-config {config.select_config}: is for --restarts of two or more")
        result = run_search(config.one(), callbacks=[keep_page])
    # Of a run that had ended before, too: it may have been killed before its page was there.
    write_page(config.output)
    run = RunDirectory(config.output, "search", {})
    if not result.converged and not rank():
        tell(
            f"fpnas: the search did not converge: {result.entropy_nats:.1f} nats are left where fewer than "
            f"{settled_below(load_space(run.space_path)):.2g} are expected; more --epochs may help"
        )
    found = {"architecture": str(run.architecture_path), "network": str(run.network_path)}
    return found | result_figures(result) | {"output": str(run.path)} | chosen


def _short_training(config: RestartsConfig) -> SelectConfig:
    """What the short trainings of restarts are given, as `fpnas select` reads it."""
    parser = CommandParser("select")
    parser.add_configuration(SelectConfig)
    given = [] if config.select_config is None else [f"--config={config.select_config}"]
    try:
        values = parser.parse([*given, f"--data={config.data}", f"--output={config.output}"])
        short: SelectConfig = configuration_of(SelectConfig, values)
        short.validate()
    except UserError as error:
        raise UserError(f"--select-config {config.select_config}: {error}") from None
    return short


def _show(document: dict[str, Any]) -> None:
    show_figures({name: value for name, value in document.items() if name != "candidates"})
    if "candidates" in document:
        show_selection(document | {"output": str(Path(document["candidates"][0]["run"]).parent)})


def _network(document: dict[str, Any], arguments: Any) -> tuple[str, str]:
    return document["network"], document["output"]


COMMAND = Command("search a network for data and a budget", _add_arguments, _run, _show, _network)
