"""Regularized evolution at the end of one-shot training.

Source: Real et al., "Regularized evolution for image classifier architecture search" (AAAI 2019), on a supernet as in
Guo et al., "Single path one-shot" (ECCV 2020).
"""

from collections import deque

import torch
from torch import Tensor

from fpnas.space import SearchSpace
from fpnas.strategies.base import DeriveTools, StrategySettings
from fpnas.strategies.random import EVALUATIONS, RandomSearch

__all__ = ["Evolution", "build"]

POPULATION = 25
TOURNAMENT = 8
MOST_TRIES = 1000


class Evolution(RandomSearch):
    """Weights as in random search; then the best of a population mutates, and the oldest dies.

    Args:
        space: what is searched.
        budget_floor: least cost of an architecture, as a share of the target.
        evaluations: architectures whose score is measured at the end.
    """

    def __init__(self, space: SearchSpace, *, budget_floor: float, evaluations: int = EVALUATIONS) -> None:
        super().__init__(space, budget_floor=budget_floor, evaluations=evaluations)
        self._cardinalities_GV = torch.tensor(space.cardinalities)

    def derive(self, tools: DeriveTools) -> Tensor:
        """The best architecture of all generations, indices (G, V)."""
        founders = self._candidates(tools, min(POPULATION, self.evaluations))
        # Where no architecture costs the floor, those are bred that were nearest to it.
        low = min(self.budget_floor * tools.target, int(tools.costs.cost(founders).min()))
        seen = [(tools.score(indices_GV), indices_GV) for indices_GV in founders]
        population = deque(seen)
        while len(seen) < self.evaluations:
            rivals = torch.randint(len(population), (TOURNAMENT,), generator=tools.generator).tolist()
            _, parent_GV = max((population[rival] for rival in rivals), key=lambda member: member[0])
            child_GV = self._mutate(parent_GV, tools, low)
            seen.append((tools.score(child_GV), child_GV))
            population.append(seen[-1])
            population.popleft()
        return max(seen, key=lambda member: member[0])[1]

    def _mutate(self, parent_GV: Tensor, tools: DeriveTools, low: float) -> Tensor:
        """The parent with one choice changed, or more: changes that do not fit may add up to one that does.

        The parent itself where all tries gave nothing.
        """
        open_choices = torch.nonzero(self._cardinalities_GV > 1)
        child_GV = parent_GV.clone()
        for _ in range(MOST_TRIES):
            group, variable = open_choices[int(torch.randint(len(open_choices), (1,), generator=tools.generator))]
            size = int(self._cardinalities_GV[group, variable])
            step = int(torch.randint(1, size, (1,), generator=tools.generator))
            child_GV[group, variable] = (child_GV[group, variable] + step) % size
            fits = low <= int(tools.costs.cost(child_GV[None])[0]) <= tools.target
            if fits and not torch.equal(child_GV, parent_GV):
                return child_GV
            # Every other try goes on from what does not fit: two changes can balance each other.
            if torch.rand(1, generator=tools.generator) < 0.5:
                child_GV = parent_GV.clone()
        return parent_GV


def build(space: SearchSpace, settings: StrategySettings) -> Evolution:
    """Evolution in the budget's range."""
    return Evolution(space, budget_floor=settings.budget_floor or 0.0)
