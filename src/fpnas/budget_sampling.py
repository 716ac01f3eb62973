"""Architectures drawn from a distribution given that their cost is within a range."""

import torch
from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.distribution import Distribution

__all__ = ["sample_within_budget"]

CANDIDATES = 1024
MOST_ROUNDS = 8


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
    drawn: list[Tensor] = []
    distances: list[Tensor] = []
    within = 0
    while len(drawn) < MOST_ROUNDS and within < number:
        candidates = distribution.sample(CANDIDATES, generator)
        cost = costs.cost(candidates).double()
        drawn.append(candidates)
        distances.append(torch.maximum(low - cost, cost - high).clamp(min=0))
        within += int((distances[-1] == 0).sum())
    # Stable: those within the range come first, in the order in which they were drawn.
    order = torch.cat(distances).argsort(stable=True)[:number]
    return torch.cat(drawn)[order], within / (CANDIDATES * len(drawn))
