"""Random search over a supernet: weights trained on uniform architectures, the best of many drawn at the end.

Source: Li and Talwalkar, "Random search and reproducibility for NAS" (UAI 2019), with weight sharing.
"""

from typing import Any

import torch
from torch import Tensor

from fpnas.budget_sampling import sample_within_budget
from fpnas.derivation import most_probable_within
from fpnas.distribution import Factorized
from fpnas.space import SearchSpace
from fpnas.strategies.base import DeriveTools, StepTools, StrategySettings

__all__ = ["EVALUATIONS", "RandomSearch", "build"]

EVALUATIONS = 100
"""Architectures whose score is measured at the end."""


class RandomSearch:
    """One-shot training on uniform architectures of the budget, then the best of a number of them.

    Args:
        space: what is searched.
        budget_floor: least cost of an architecture that is drawn, as a share of the target.
        evaluations: architectures compared at the end.
    """

    learns = False

    def __init__(self, space: SearchSpace, *, budget_floor: float, evaluations: int = EVALUATIONS) -> None:
        self.budget_floor = budget_floor
        self.evaluations = evaluations
        self.distribution = Factorized(space.cardinalities)

    def step(self, tools: StepTools) -> dict[str, float]:
        """Train the weights of one architecture of the budget."""
        indices_1GV = self._draw(tools, 1)
        loss = float(tools.train_weights(indices_1GV, torch.ones(1)))
        return {"samples": 1, "loss": loss, "sampled_cost": float(tools.costs.cost(indices_1GV)[0])}

    def derive(self, tools: DeriveTools) -> Tensor:
        """The best of the architectures drawn now, indices (G, V)."""
        return max(self._candidates(tools, self.evaluations), key=tools.score)

    def _candidates(self, tools: DeriveTools, number: int) -> Tensor:
        """Architectures that cost at most the target, (K, G, V); the cheapest where none was drawn."""
        indices_KGV = self._draw(tools, number)
        within_KGV = indices_KGV[tools.costs.cost(indices_KGV) <= tools.target]
        if len(within_KGV):
            return within_KGV
        return most_probable_within(self.distribution, tools.costs, tools.target).indices[None]

    def _draw(self, tools: StepTools | DeriveTools, number: int) -> Tensor:
        low, high = self.budget_floor * tools.target, tools.target
        return sample_within_budget(
            self.distribution, tools.costs, number, low=low, high=high, generator=tools.generator
        )[0]

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes from step to step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def build(space: SearchSpace, settings: StrategySettings) -> RandomSearch:
    """Random search in the budget's range."""
    return RandomSearch(space, budget_floor=settings.budget_floor or 0.0)
