"""Architectures drawn from a distribution given that their cost is within a range."""

import math

import torch
from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.distribution import Distribution

__all__ = ["sample_within_budget"]

CANDIDATES = 1024
MOST_ROUNDS = 8
"""Of candidates for each hundred architectures that are asked for."""


def sample_within_budget(
    distribution: Distribution,
    costs: CostTable,
    number: int,
    *,
    low: float,
    high: float,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Architectures from a distribution, given that their cost lies in [low, high].

    By rejection: look-ups in a cost table are thousands of times cheaper than a forward pass. Where the distribution
    has almost nothing in the range, the candidates nearest to it are taken, and learning from those leads there.

    Args:
        distribution: what to draw from.
        costs: table of the cost.
        number: how many, K.
        low, high: the range, in the unit of the costs.
        generator: a CPU generator.

    Returns:
        Indices of choices, int64, shape (K, G, V), and the share of candidates that were within the range.
    """
    groups, variables = len(distribution.cardinalities), len(distribution.cardinalities[0])
    nearest, distances = torch.empty(0, groups, variables, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    rounds = within = 0
    while rounds < MOST_ROUNDS * math.ceil(number / 100) and within < number:
        candidates = distribution.sample(CANDIDATES, generator)
        cost = costs.cost(candidates).double()
        distance = torch.maximum(low - cost, cost - high).clamp(min=0)
        rounds += 1
        within += int((distance == 0).sum())
        nearest, distances = torch.cat([nearest, candidates]), torch.cat([distances, distance])
        # Stable: those within the range come first, in the order in which they were drawn.
        order = distances.argsort(stable=True)[:number]
        nearest, distances = nearest[order], distances[order]
    return nearest, within / (CANDIDATES * rounds)
