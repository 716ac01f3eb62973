"""Deriving a network from a search that has ended, for its budget or another one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.cost.budget import budget_table
from fpnas.derivation import most_probable_within
from fpnas.distribution import Distribution, from_state_dict
from fpnas.errors import UserError
from fpnas.files import write_json_atomic
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import resolve
from fpnas.quantities import parse_quantity
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import load_weights
from fpnas.space_file import load_space

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
    run = RunDirectory.open(path, "search")
    if not run.search_state_path.is_file():
        raise UserError(f"run {path}: {run.search_state_path.name} is missing: the search has not ended")
    space = load_space(run.space_path)
    tensors, metadata = load_weights(run.search_state_path, "search state")
    if metadata.get("space") != space.digest:
        raise UserError(f"run {path}: {run.space_path.name} has changed since this search")
    if metadata.get("learned") == "False":
        raise UserError(
            f"run {path}: strategy {run.config.get('strategy')} learns no distribution to derive from; "
            "a search with the wanted --target-macs is needed"
        )
    if "distribution.logits" not in tensors:
        raise UserError(f"{run.search_state_path}: tensor distribution.logits is missing")
    state = {
        "kind": metadata.get("distribution"),
        "cardinalities": space.cardinalities,
        "logits": tensors["distribution.logits"],
    }
    try:
        return from_state_dict(state)
    except ValueError as error:
        raise UserError(f"{run.search_state_path}: {error}") from None


def derive_run(path: Path, *, target_macs: str | None = None, output: Path | None = None) -> DerivedNetwork:
    """Write the most probable architecture of a search whose cost is at most the target.

    Args:
        path: the search's run directory.
        target_macs: another budget; the search's own when left out.
        output: the network file to write, the architecture file beside it as NAME.architecture.json; the run's own
            `network.json` and `architecture.json` when left out.

    Raises:
        UserError: no finished search, a space file that has changed since, a budget nothing fits, or a place that
            cannot be written.
    """
    # Two files are written: what would stop the second must be known before the first.
    if output is not None and output.is_dir():
        raise UserError(f"--output {output}: is a folder; the name of a file is accepted")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"--output {output}: {output.parent} is not a folder")
    distribution = distribution_of(path)
    run = RunDirectory.open(path, "search")
    space = load_space(run.space_path)
    searched = load_network(run.network_path)
    data: dict[str, Any] = {
        "input_size": searched.input_size,
        "in_channels": searched.in_channels,
        "num_classes": searched.num_classes,
    }
    given = run.config.get("target_macs") if target_macs is None else target_macs
    if given is None:
        budget = f"{run.config.get('target')} of cost {run.config.get('cost')}"
        raise UserError(f"run {path}: its budget is {budget}; --target-macs, in multiply-adds, is needed")
    target = parse_quantity(given, "--target-macs")
    costs = budget_table(space, target, given=f"--target-macs {given}", **data)
    (best,) = most_probable_within(distribution, costs, target)
    architecture = Architecture.of(best.indices)
    network_path = output or run.network_path
    architecture_path = output.with_suffix(".architecture.json") if output else run.architecture_path
    write_json_atomic(architecture_path, architecture_to_json(space, architecture))
    write_json_atomic(network_path, network_to_json(resolve(space, architecture, **data)))
    return DerivedNetwork(architecture_path, network_path, best.cost, best.log_prob)
