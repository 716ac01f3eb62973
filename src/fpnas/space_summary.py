"""A search space in figures: how large it is, where a search of it starts, what its networks cost."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpnas.cost.table import CostTable, build_cost_table, uniform_indices
from fpnas.sampling import AdaptiveSamples
from fpnas.space import SearchSpace

__all__ = ["describe_space", "summarise_space", "uniform_costs"]

_SAMPLES = 20001


def uniform_costs(space: SearchSpace, costs: CostTable) -> NDArray[np.int64]:
    """Costs of 20001 architectures drawn uniformly with a fixed seed."""
    return costs.look_up(uniform_indices(space, _SAMPLES))


def summarise_space(space: SearchSpace) -> dict[str, Any]:
    """The figures of a space at its own input: plain values by name, as `describe_space` has them."""
    costs = build_cost_table(space)
    return _figures(space, space.input_size, costs, uniform_costs(space, costs))


def describe_space(
    space: SearchSpace,
    *,
    input_size: int | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    target: int | None = None,
    budget_floor: float = 1.0,
) -> dict[str, Any]:
    """The figures of a space and everything in it: source, stem, rows with their choices, head.

    Args:
        space: the space.
        input_size, in_channels, num_classes: of the data; the space's defaults when left out.
        target: a budget in multiply-adds, to be told what share of the space meets it.
        budget_floor: share of the target from which on its search draws architectures.

    Returns:
        Plain values by name. `architectures` is exact, as digits; `macs` has the exact extremes, and the median of
        20001 architectures drawn uniformly with a fixed seed; `target` has shares of the same architectures.

    Raises:
        UserError: the input is too small for the space's strides.
    """
    input_size = input_size or space.input_size
    in_channels = in_channels or space.in_channels
    num_classes = num_classes or space.num_classes
    costs = build_cost_table(space, input_size=input_size, in_channels=in_channels, num_classes=num_classes)
    drawn_K = uniform_costs(space, costs)
    document = _figures(space, input_size, costs, drawn_K)
    if target is not None:
        document["target"] = _judge_target(target, budget_floor, costs, drawn_K)
    return document | {
        "source": space.source,
        "share": space.share,
        "in_channels": in_channels,
        "num_classes": num_classes,
        "digest": space.digest,
        "stem": asdict(space.stem),
        "rows": [
            {"name": group.name, "repeat": group.repeat, "stride": group.stride}
            | {choice.name: list(choice.values) for choice in group.choices}
            for group in space.groups
        ],
        "head": asdict(space.head),
    }


def _figures(space: SearchSpace, input_size: int, costs: CostTable, drawn_K: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "name": space.name,
        "groups": len(space.groups),
        "blocks": space.number_of_blocks,
        "architectures": str(space.number_of_architectures),
        "entropy_nats": space.entropy_nats,
        "initial_samples": AdaptiveSamples()(space.entropy_nats),
        "joint_parameters": space.joint_parameters,
        "factorized_parameters": space.factorized_parameters,
        "input_size": input_size,
        "macs": {"min": costs.minimum(), "median": int(np.median(drawn_K)), "max": costs.maximum()},
    }


def _judge_target(target: int, budget_floor: float, costs: CostTable, drawn_K: NDArray[np.int64]) -> dict[str, Any]:
    """What share of a space meets a target, and whether a search for it can mean anything."""
    at_most = float((drawn_K <= target).mean())
    near = float(((drawn_K <= target) & (drawn_K >= budget_floor * target)).mean())
    band = f"{100 * budget_floor:g} to 100% of the target"
    if target < costs.minimum():
        verdict = f"unreachable: the smallest network has {costs.minimum():,} MACs"
    elif target >= costs.maximum():
        verdict = f"no limit: the largest network has {costs.maximum():,} MACs, so all of the space meets it"
    elif near == 0:
        verdict = f"rare: of {len(drawn_K):,} networks drawn none costs {band}; a search has to find its way there"
    else:
        verdict = f"reachable: 1 network in {1 / near:.0f} costs {band}"
    return {"macs": target, "share_at_most": at_most, "share_near": near, "samples": len(drawn_K), "verdict": verdict}
