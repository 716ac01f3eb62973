"""A search without any network: every strategy on a landscape whose best architecture is known."""

from typing import Any

import torch
from torch import Tensor

from fpnas.cost.table import build_cost_table
from fpnas.objective_evaluator import ObjectiveEvaluator
from fpnas.search_loop import SearchLoop, SearchPlan
from fpnas.space import VARIABLES
from fpnas.space_file import load_space
from fpnas.strategies import STRATEGIES, Judgement, Strategy, StrategySettings

SPACE = load_space("tiny")
COSTS = build_cost_table(SPACE)
TARGET = 300_000
FLOOR = 0.9


def landscape(indices_KGV: Tensor) -> Tensor:
    """Cross-entropy that falls with the relative position of every choice: the last values are the best."""
    sizes = torch.tensor(SPACE.cardinalities)
    return 2 - (indices_KGV / (sizes - 1).clamp(min=1)).double().mean((1, 2))


def landscape_of_gates(gates: Any) -> Tensor:
    """The same for a mixture of all choices: exact, since the landscape is a sum over choices."""
    total = torch.zeros((), dtype=torch.float64)
    for row in gates:
        for variable in VARIABLES:
            places = torch.linspace(0, 1, len(row[variable]), dtype=torch.float64)
            total = total + (row[variable] * places).sum()
    return 2 - total / (len(gates) * len(VARIABLES))


class Landscape(ObjectiveEvaluator):
    """The landscape as an objective, `steepness` times as steep: keeps what was judged and what was trained."""

    def __init__(self, steepness: float = 1.0) -> None:
        super().__init__(landscape, scale=steepness, train=self._keep, mixture=landscape_of_gates)
        self.judged: list[Tensor] = []
        self.trained: list[tuple[Tensor, Tensor]] = []
        self.mixtures = 0

    def judge(self, indices_KGV: Tensor) -> Judgement:
        self.judged.append(indices_KGV)
        return super().judge(indices_KGV)

    def _keep(self, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        self.trained.append((indices_nGV, weight_n))
        return landscape(indices_nGV)

    def train_mixture(self, gates: Any) -> Tensor:
        self.mixtures += 1
        return super().train_mixture(gates)


def loop_of(learner: Strategy, surface: Landscape, steps: int = 200, warm_up: int = 40, seed: int = 0) -> SearchLoop:
    """The search of a strategy on a landscape."""
    return SearchLoop(SearchPlan(SPACE, COSTS, TARGET, steps, warm_up, seed), learner, surface)


def derive(learner: Strategy) -> Tensor:
    """What a strategy finds at the end, indices (G, V)."""
    return loop_of(learner, Landscape()).derive()


def run(
    strategy: str = "fp-nas",
    *,
    steps: int = 200,
    warm_up: int = 40,
    seed: int = 0,
    begin: int = 0,
    steepness: float = 1.0,
    **options: Any,
) -> tuple[Any, Landscape, list[dict[str, float]]]:
    """A strategy after its steps (or, from `begin` on, built and not yet stepped), the landscape, the record."""
    settings = {"samples_per_nat": 0.5, "budget_floor": FLOOR, "learning_rate": None} | options
    learner = STRATEGIES[strategy](SPACE, StrategySettings(learning_steps=max(1, steps - warm_up), **settings))
    surface = Landscape(steepness)
    loop = loop_of(learner, surface, steps, warm_up, seed)
    record = [loop.step(step) for step in range(steps if begin == 0 else 0)]
    return learner, surface, record
