"""What a network costs: multiply-adds, weights, parameters, or a cost of one's own, per block and in total."""

from fpnas.cost.base import Cost
from fpnas.cost.counts import (
    MACS,
    PARAMS,
    WEIGHTS,
    BlockCost,
    NetworkCost,
    block_cost,
    head_cost,
    network_cost,
    stem_cost,
)

__all__ = [
    "COSTS",
    "MACS",
    "PARAMS",
    "WEIGHTS",
    "BlockCost",
    "Cost",
    "NetworkCost",
    "block_cost",
    "head_cost",
    "network_cost",
    "stem_cost",
]

COSTS: dict[str, Cost] = {cost.name: cost for cost in (MACS, WEIGHTS, PARAMS)}
"""The costs that come with the package, by name."""
