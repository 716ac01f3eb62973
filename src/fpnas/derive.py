"""Deriving a network from a search that has ended, for its budget or another one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fpnas.architecture import Architecture, architecture_from_json, architecture_to_json
from fpnas.cost.budget import budget_table
from fpnas.derivation import Derived, most_probable_or_untied
from fpnas.distribution import Distribution, from_state_dict
from fpnas.errors import UserError
from fpnas.files import check_output_file, read_json, write_json_atomic
from fpnas.finished_search import FinishedSearch, open_finished_search
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import resolve
from fpnas.quantities import parse_quantity
from fpnas.runtime.run_directory import RunDirectory

__all__ = ["DerivedNetwork", "derive_run", "distribution_of"]


@dataclass(frozen=True)
class DerivedNetwork:
    """The files written, the network's multiply-adds and the log-probability of its architecture, nats."""

    architecture: Path
    network: Path
    macs: int
    log_probability: float


def distribution_of(path: Path) -> Distribution:
    """The distribution over architectures that a search has learned.

    Args:
        path: the search's run directory.

    Raises:
        UserError: no finished search, a space file that has changed since, or a strategy that learns none.
    """
    return _distribution_of(open_finished_search(path, "run"))


def _learns(search: FinishedSearch) -> bool:
    return search.metadata.get("learned") != "False"


def _distribution_of(search: FinishedSearch) -> Distribution:
    run = search.run
    if not _learns(search):
        raise UserError(
            f"run {run.path}: strategy {run.config.get('strategy')} learns no distribution to derive from; "
            "a search with the wanted --target-macs is needed"
        )
    if "distribution.logits" not in search.tensors:
        raise UserError(f"{run.search_state_path}: tensor distribution.logits is missing")
    state = {
        "kind": search.metadata.get("distribution"),
        "cardinalities": search.space.cardinalities,
        "logits": search.tensors["distribution.logits"],
        "first_of": search.space.first_of_row,
    }
    try:
        return from_state_dict(state)
    except ValueError as error:
        raise UserError(f"{run.search_state_path}: {error}") from None


def derive_run(path: Path, *, target_macs: str | None = None, output: Path | None = None) -> DerivedNetwork:
    """Write the most probable architecture of a search whose cost is at most the target.

    Args:
        path: the search's run directory.
        target_macs: another budget; the search's own when left out. What a strategy that learns no distribution has
            for its own is what it found.
        output: the network file to write, NAME or NAME.json, the architecture file beside it as
            NAME.architecture.json; the run's own `network.json` and `architecture.json` when left out, and the figures
            in its `result.json` are then those of that network.

    Raises:
        UserError: no finished search, a space file that has changed since, a budget nothing fits, or a place that
            cannot be written.
    """
    # Two files are written: what would stop the second must be known before the first.
    if output is not None:
        check_output_file(output)
    search = open_finished_search(path, "run")
    run, space = search.run, search.space
    found = None if _learns(search) else _found_for(search, target_macs)
    if output is not None and output.resolve() == run.network_path.resolve():
        output = None
    searched = load_network(run.network_path)
    data: dict[str, Any] = {
        "input_size": searched.input_size,
        "in_channels": searched.in_channels,
        "num_classes": searched.num_classes,
    }
    if found is None:
        given = run.config.get("target_macs") if target_macs is None else target_macs
        if given is None:
            budget = f"{run.config.get('target')} of cost {run.config.get('cost')}"
            raise UserError(f"run {path}: its budget is {budget}; --target-macs, in multiply-adds, is needed")
        target = parse_quantity(given, "--target-macs")
        costs = budget_table(space, target, given=f"--target-macs {given}", **data)
        _, found = most_probable_or_untied(_distribution_of(search), costs, target)
    architecture = Architecture.of(found.indices)
    network_path = output or run.network_path
    architecture_path = run.architecture_path
    if output:
        architecture_path = output.with_name(output.name.removesuffix(".json") + ".architecture.json")
    spec = resolve(space, architecture, **data)
    replaced = output is None and spec != searched
    figures = _figures_of_derived(run, found.cost, found.log_prob) if replaced else None
    write_json_atomic(architecture_path, architecture_to_json(space, architecture))
    if figures is not None:
        # Before the network: killed in between, the next derivation still finds another network there and does both.
        write_json_atomic(run.result_path, figures)
    write_json_atomic(network_path, network_to_json(spec))
    return DerivedNetwork(architecture_path, network_path, found.cost, found.log_prob)


def _found_for(search: FinishedSearch, target_macs: str | None) -> Derived:
    """What a search that learned no distribution found, for its own budget. UserError for another one."""
    run, own = search.run, search.run.config.get("target_macs")
    if target_macs is not None and (
        own is None or parse_quantity(target_macs, "--target-macs") != parse_quantity(own, "target_macs")
    ):
        _distribution_of(search)  # says why not
    content = read_json(run.architecture_path, "architecture file")
    architecture = architecture_from_json(search.space, content, f"architecture file {run.architecture_path}")
    figures = read_json(run.result_path, "search result")
    return Derived(torch.tensor(architecture.indices), figures["macs"], figures["log_probability"])


def _figures_of_derived(run: RunDirectory, macs: int, log_probability: float) -> dict[str, Any]:
    """The figures of a run whose network another one replaces; what nobody measured of that one is unknown."""
    searched_for = run.config.get("target_macs")
    return read_json(run.result_path, "search result") | {
        "macs": macs,
        "budget_share": None if searched_for is None else macs / parse_quantity(searched_for, "target_macs"),
        "log_probability": log_probability,
        "supernet_top1": None,
    }
