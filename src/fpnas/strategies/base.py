"""What a search strategy is given and what it owes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.distribution import Distribution
from fpnas.gates import Gates

__all__ = ["DeriveTools", "Judgement", "StepTools", "Strategy", "StrategySettings"]


class Judgement(NamedTuple):
    """Of K architectures on one batch, shapes (K,): mean cross-entropies, nats, and scores, of which more is better.

    A score is an accuracy, a share in [0, 1]; in searches for an objective the cross-entropy, which is the objective's
    value scaled, with its sign changed.
    """

    cross_entropy_K: Tensor
    score_K: Tensor


@dataclass(frozen=True)
class StepTools:
    """What one step of the search offers to its strategy.

    Attributes:
        progress: share of all steps that is done, in [0, 1).
        warm_up: whether only the weights learn in this step.
        generator: the step's own, on the CPU, seeded by run and step.
        costs: costs of architectures.
        target: the budget, in the unit of `costs`.
        judge: architectures (K, G, V) on this step's batch of the architecture half, without gradient. Each is
            evaluated once, however often it is listed.
        train_weights: gradient step of the shared weights on this step's batch of the weight half, for the sum
            of the cross-entropies of architectures (n, G, V) times their weights (n,); gives the
            cross-entropies, shape (n,).
        mixture_cross_entropy: mean cross-entropy, shape (), on a batch of the architecture half with every choice
            computed and weighted by gates; differentiable in the gates.
        train_mixture: gradient step of the shared weights with every choice computed and weighted by fixed gates, on a
            batch of the weight half; gives the cross-entropy.
    """

    progress: float
    warm_up: bool
    generator: torch.Generator
    costs: CostTable
    target: int
    judge: Callable[[Tensor], Judgement]
    train_weights: Callable[[Tensor, Tensor], Tensor]
    mixture_cross_entropy: Callable[[Gates], Tensor]
    train_mixture: Callable[[Gates], Tensor]


@dataclass(frozen=True)
class DeriveTools:
    """What the end of the search offers to its strategy.

    Attributes:
        generator: on the CPU, seeded by the run.
        costs: costs of architectures.
        target: the budget, in the unit of `costs`.
        score: of one architecture (G, V), more is better: the accuracy with the shared weights, batch norm
            recalibrated, on the architecture half, percent; in searches for an objective, its value with the sign
            changed.
    """

    generator: torch.Generator
    costs: CostTable
    target: int
    score: Callable[[Tensor], float]


@dataclass(frozen=True)
class StrategySettings:
    """What a search is set to; a strategy in its paper's form looks at `learning_steps` and `learning_rate` alone.

    Attributes:
        learning_steps: steps after the warm-up.
        budget_floor: least cost of an architecture that is drawn, as a share of the target; None draws any, but for
            `random` and `evolution`, which keep to the target.
        learning_rate: Adam's rate for the distribution; fitted to the number of steps when left out.
        samples_per_nat: lambda of the adaptive number of samples.
        likelihood_scale: factor on the mean cross-entropy.
        resample: whether one architecture drawn by weight is trained, or every sampled one.
        joint_from: share of the search at which a factorized distribution becomes the joint one.
    """

    learning_steps: int
    budget_floor: float | None = 0.95
    learning_rate: float | None = None
    samples_per_nat: float = 0.125
    likelihood_scale: float = 32.0
    resample: bool = True
    joint_from: float = 0.8


class Strategy(Protocol):
    """A way to find an architecture. It sees tensors, never devices, files or configuration."""

    @property
    def distribution(self) -> Distribution:
        """Over architectures, as it is now."""
        ...

    @property
    def learns(self) -> bool:
        """Whether the distribution changes; where it stays uniform, the network is found at the end."""
        ...

    def step(self, tools: StepTools) -> dict[str, float]:
        """One step of the search.

        Returns:
            Figures for the record: `samples` drawn, `loss` of the weight step, and what else the strategy knows.
        """
        ...

    def derive(self, tools: DeriveTools) -> Tensor:
        """The architecture found, of at most the target's cost: indices (G, V)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step, in tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state: what follows is as if there had been no interruption."""
        ...
