"""A search space in figures: how large it is, where a search of it starts, what its networks cost."""

from dataclasses import asdict
from typing import Any

import torch

from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized, Joint
from fpnas.sampling import AdaptiveSamples
from fpnas.space import SearchSpace

__all__ = ["describe_space", "summarise_space"]

_MEDIAN_SAMPLES = 20001


def summarise_space(space: SearchSpace, input_size: int | None = None) -> dict[str, Any]:
    """The figures of a space.

    Args:
        space: the space.
        input_size: side of the images, pixels; the space's own when left out.

    Returns:
        Plain values by name. `architectures` is exact, as digits; `macs` has the exact extremes, and the median of
        20001 architectures drawn uniformly with a fixed seed.

    Raises:
        UserError: the input is too small for the space's strides.
    """
    costs = build_cost_table(space, input_size=input_size)
    uniform = Factorized(space.cardinalities)
    entropy_nats = float(uniform.entropy().detach())
    drawn = costs.cost(uniform.sample(_MEDIAN_SAMPLES, torch.Generator().manual_seed(0)))
    return {
        "name": space.name,
        "groups": len(space.groups),
        "blocks": space.number_of_blocks,
        "architectures": str(space.number_of_architectures),
        "entropy_nats": entropy_nats,
        "initial_samples": AdaptiveSamples()(entropy_nats),
        "joint_parameters": Joint(space.cardinalities).number_of_parameters,
        "factorized_parameters": uniform.number_of_parameters,
        "input_size": input_size or space.input_size,
        "macs": {"min": costs.minimum(), "median": int(drawn.median()), "max": costs.maximum()},
    }


def describe_space(space: SearchSpace, input_size: int | None = None) -> dict[str, Any]:
    """The figures of a space and everything in it: source, stem, rows with their choices, head. Raises UserError."""
    return summarise_space(space, input_size) | {
        "source": space.source,
        "share": space.share,
        "in_channels": space.in_channels,
        "num_classes": space.num_classes,
        "digest": space.digest,
        "stem": asdict(space.stem),
        "rows": [
            {"name": group.name, "repeat": group.repeat, "stride": group.stride}
            | {choice.name: list(choice.values) for choice in group.choices}
            for group in space.groups
        ],
        "head": asdict(space.head),
    }
