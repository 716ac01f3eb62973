"""What a search found: in memory, and as the files of its run."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from fpnas.architecture import Architecture, architecture_from_json, architecture_to_json
from fpnas.errors import UserError
from fpnas.files import read_json, write_json_atomic
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import save_weights
from fpnas.space import SearchSpace
from fpnas.strategies import Strategy

__all__ = [
    "CONVERGED_NATS",
    "MAY_BE_UNKNOWN",
    "SearchResult",
    "read_result",
    "result_figures",
    "settled_below",
    "write_result",
]

CONVERGED_NATS = 8.0
"""A distribution over this entropy at the end has not settled: its mode is one of thousands like it."""

MAY_BE_UNKNOWN = ("budget_share", "supernet_top1")
"""Figures that a network has not which was derived after the search."""


def settled_below(space: SearchSpace) -> float:
    """Entropy, nats, under which a distribution has settled: `CONVERGED_NATS`, in small spaces half of the start."""
    return min(CONVERGED_NATS, space.entropy_nats / 2)


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and what it took.

    Attributes:
        architecture: what the strategy found: as a rule the most probable architecture within the budget.
        network: the same, as a network for the data.
        macs: its multiply-adds; `budget_share` is their share of the search's target, or that of the cost which the
            search had in their place.
        log_probability: of the architecture, nats.
        entropy_nats: of the distribution at the end; `converged` when it is under `settled_below`, or does not learn.
        supernet_top1: accuracy with the supernet's weights on the architecture half, percent. Not a number, as
            `budget_share` may be, where `fpnas derive` has put another network into the run since.
        steps: that were done; fewer than planned where a callback ended the search.
        samples: architectures drawn in all.
        forward_passes, backward_passes: architectures evaluated and trained, a batch each.
        seconds: wall time of the search.
        skipped_images: that could not be read and were left out or replaced, as the first process met them.
    """

    architecture: Architecture
    network: NetworkSpec
    macs: int
    budget_share: float
    log_probability: float
    entropy_nats: float
    converged: bool
    supernet_top1: float
    steps: int
    samples: int
    forward_passes: int
    backward_passes: int
    seconds: float
    skipped_images: int = 0


def result_figures(result: SearchResult) -> dict[str, Any]:
    """The figures of a result, as `result.json` has them; what is unknown is None."""
    plain = asdict(result)
    del plain["architecture"], plain["network"]
    return plain | {name: None for name in MAY_BE_UNKNOWN if math.isnan(plain[name])}


def write_result(
    run: RunDirectory, space: SearchSpace, strategy: Strategy, supernet: SuperNet, result: SearchResult
) -> None:
    """Write what a search found, and what a later derivation needs."""
    weights = {f"supernet.{name}": tensor for name, tensor in supernet.state_dict().items()}
    distribution = strategy.distribution
    save_weights(
        run.search_state_path,
        weights | {"distribution.logits": distribution.logits},
        {"distribution": distribution.kind, "space": space.digest, "learned": str(strategy.learns)},
    )
    write_json_atomic(run.architecture_path, architecture_to_json(space, result.architecture))
    write_json_atomic(run.network_path, network_to_json(result.network))
    write_json_atomic(run.result_path, result_figures(result))


def read_result(run: RunDirectory, space: SearchSpace) -> SearchResult:
    """What `write_result` wrote. Raises UserError when a file is missing or broken."""
    where = f"run {run.path}"
    figures = read_json(run.result_path, "search result")
    figures |= {name: math.nan for name in MAY_BE_UNKNOWN if figures.get(name, 0) is None}
    architecture = architecture_from_json(space, read_json(run.architecture_path, "architecture file"), where)
    try:
        return SearchResult(architecture=architecture, network=load_network(run.network_path), **figures)
    except TypeError:
        names = [field.name for field in fields(SearchResult) if field.name not in ("architecture", "network")]
        raise UserError(f"{run.result_path}: of another version; fields {', '.join(names)} are expected") from None
