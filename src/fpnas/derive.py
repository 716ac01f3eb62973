"""Deriving a network from a search that has ended, for its budget or another one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.cost.table import build_cost_table
from fpnas.derivation import most_probable_within
from fpnas.distribution import from_state_dict
from fpnas.errors import UserError
from fpnas.files import check_output_file, write_json_atomic
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import resolve
from fpnas.quantities import parse_quantity
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import load_weights
from fpnas.space_file import load_space

__all__ = ["DerivedNetwork", "derive_run"]


@dataclass(frozen=True)
class DerivedNetwork:
    """The files written, the network's multiply-adds and the log-probability of its architecture, nats."""

    architecture: Path
    network: Path
    macs: int
    log_probability: float


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
    run = RunDirectory.open(path, "search")
    # Two files are written: what would stop the second must be known before the first.
    if output is not None:
        check_output_file(output)
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
        distribution = from_state_dict(state)
    except ValueError as error:
        raise UserError(f"{run.search_state_path}: {error}") from None
    searched = load_network(run.network_path)
    data: dict[str, Any] = {
        "input_size": searched.input_size,
        "in_channels": searched.in_channels,
        "num_classes": searched.num_classes,
    }
    given = str(run.config.get("target_macs")) if target_macs is None else target_macs
    target = parse_quantity(given, "--target-macs")
    costs = build_cost_table(space, **data)
    if target < costs.minimum():
        raise UserError(
            f"--target-macs {given}: the smallest network of space {space.name} at {searched.input_size} pixels "
            f"has {costs.minimum()} MACs; that or more is accepted"
        )
    (best,) = most_probable_within(distribution, costs, target)
    architecture = Architecture.of(best.indices)
    network_path = output or run.network_path
    architecture_path = output.with_suffix(".architecture.json") if output else run.architecture_path
    write_json_atomic(architecture_path, architecture_to_json(space, architecture))
    write_json_atomic(network_path, network_to_json(resolve(space, architecture, **data)))
    return DerivedNetwork(architecture_path, network_path, best.cost, best.log_prob)
