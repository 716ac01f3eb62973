"""What a search strategy is given and what it owes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.distribution import Distribution

__all__ = ["StepTools", "Strategy"]


@dataclass(frozen=True)
class StepTools:
    """What one step of the search offers to its strategy.

    Attributes:
        progress: share of all steps that is done, in [0, 1).
        warm_up: whether only the weights learn in this step.
        generator: the step's own, on the CPU, seeded by run and step.
        costs: costs of architectures.
        target: the budget, in the unit of `costs`.
        cross_entropy: mean cross-entropy of architectures (K, G, V) on this step's batch of the architecture
            half, nats, shape (K,); no gradient. Each is evaluated once, however often it is listed.
        train_weights: gradient step of the shared weights on this step's batch of the weight half, for the sum
            of the cross-entropies of architectures (n, G, V) times their weights (n,); gives the
            cross-entropies, shape (n,).
    """

    progress: float
    warm_up: bool
    generator: torch.Generator
    costs: CostTable
    target: int
    cross_entropy: Callable[[Tensor], Tensor]
    train_weights: Callable[[Tensor, Tensor], Tensor]


class Strategy(Protocol):
    """A way to learn a distribution over architectures. It sees tensors, never devices, files or configuration."""

    distribution: Distribution

    def step(self, tools: StepTools) -> dict[str, float]:
        """One step of the search.

        Returns:
            Figures for the record: `samples` drawn, `loss` of the weight step, and what else the strategy knows.
        """
        ...
