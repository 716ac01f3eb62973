"""Searches of a space for any function of a network: no images, no supernet, the same loop and strategies."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.checks import check_integer, check_keywords, check_number, shown
from fpnas.cost import MACS, Cost
from fpnas.cost.budget import budget_table, find_cost
from fpnas.distribution import Distribution
from fpnas.errors import UserError
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.objective_evaluator import ObjectiveEvaluator, fitted_scale
from fpnas.quantities import parse_quantity
from fpnas.run_options import SEED_RANGE
from fpnas.runtime.callbacks import Callback, check_callbacks
from fpnas.runtime.carry_out import carry_out
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.processes import Processes
from fpnas.runtime.setup import generator_for
from fpnas.search_loop import SearchLoop, SearchPlan
from fpnas.space import INPUT_RANGES, SearchSpace
from fpnas.space_file import load_space
from fpnas.strategies import STRATEGIES, StrategySettings, check_searchable
from fpnas.strategies.random import RandomSearch

__all__ = ["Optimum", "optimize"]

SAMPLES_PER_NAT = 2.0
"""More than in a search by a supernet, where a sample costs more and a step has weights to train. The search of
`examples/own_objective.py` found the optimum with each of 8 seeds with it, with 5 of them with half of it."""

FREE = Cost("none", "", stem=lambda spec: 1, block=lambda block: 0, head=lambda spec: 0, takes_arrays=True)
"""Every network costs the same: a search without a budget."""

_MEASURED = 64

_WHOLE = {
    "steps": (1, 10**9),
    "warm_up_steps": (0, 10**9),
    "seed": SEED_RANGE,
    **INPUT_RANGES,
}
_NUMBERS = {
    "scale": (1e-12, 1e12),
    "budget_floor": (0, 1),
    "learning_rate": (1e-9, 1e3),
    "samples_per_nat": (1e-3, 100),
    "likelihood_scale": (1e-6, 1e9),
    "joint_from": (0, 1),
}


@dataclass(frozen=True)
class Optimum:
    """What a search for an objective found, and what it took.

    Attributes:
        network: of the least value within the budget, of all that were asked for.
        architecture: the same, as choices of the space.
        value: of the objective, for it.
        cost: in the unit of the budget; None where there is none.
        derived_network, derived_value: what the strategy finds at the end, as a rule the most probable network within
            the budget. Where an objective has noise, its least value is luck, and this the better answer.
        distribution: over architectures, at the end.
        evaluations: calls of the objective.
        steps: that were done.
    """

    network: NetworkSpec
    architecture: Architecture
    value: float
    cost: int | None
    derived_network: NetworkSpec
    derived_value: float
    distribution: Distribution
    evaluations: int
    steps: int


def _number(answer: Any, who: str, what: str) -> float:
    """What a function of the user's gives, as a number. Raises UserError."""
    try:
        return float(answer)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{who}: {shown(answer)}: a number {what} is expected") from None


class _Counted:
    """An objective of networks as one of indices, with a count of its calls and the best within the budget."""

    def __init__(
        self,
        objective: Callable[[NetworkSpec], float],
        network: Callable[[Tensor], NetworkSpec],
        fits: Callable[[Tensor], bool],
    ) -> None:
        self._objective = objective
        self._network = network
        self._fits = fits
        self.calls = 0
        self.best_value = math.inf
        self.best_indices: Tensor | None = None

    def __call__(self, indices_NGV: Tensor) -> Tensor:
        return torch.tensor([self._value(indices_GV) for indices_GV in indices_NGV], dtype=torch.float64)

    def _value(self, indices_GV: Tensor) -> float:
        value = _number(self._objective(self._network(indices_GV)), "objective", "for every network")
        self.calls += 1
        if math.isfinite(value) and value < self.best_value and self._fits(indices_GV):
            self.best_value, self.best_indices = value, indices_GV
        return value


def optimize(
    space: SearchSpace | str | os.PathLike[str],
    objective: Callable[[NetworkSpec], float],
    *,
    steps: int,
    target: str | int | float | None = None,
    cost: Cost | str = MACS,
    strategy: str = "fp-nas",
    seed: int = 0,
    scale: float | None = None,
    train: Callable[[Sequence[NetworkSpec], Sequence[float]], float] | None = None,
    warm_up_steps: int = 0,
    callbacks: Sequence[Callback] = (),
    input_size: int | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    **settings: Any,
) -> Optimum:
    """Search a space for the network of least objective within a budget.

    Nothing is written. A step draws architectures, asks for the objective of each that differs, and moves the
    distribution towards the better ones; `random` and `evolution` ask for as many networks as there are steps at the
    end, where nothing is trained. An objective that takes long and always gives the same is worth a
    `functools.cache`: specs of networks are hashable.

    Args:
        space: a space, its name, or its TOML file.
        objective: a number for a network, less is better; what is not finite has no say.
        steps: of the search.
        target: most that a network may cost, e.g. "2.5M"; anything when left out.
        cost: what the target counts: multiply-adds, `"params"`, `"weights"` or a `Cost` of one's own.
        strategy: by its name in `fpnas.strategies.STRATEGIES`; `fbnetv2` cannot judge single networks.
        seed: of everything random.
        scale: factor that makes nats of the objective, by which networks are weighed; fitted to the objective's spread
            over 64 networks when left out.
        train: where networks share weights that learn: is called once a step with networks to train and their
            weights, which sum to 1, and gives their loss.
        warm_up_steps: at the start, in which `train` alone is called.
        callbacks: are shown the search after every step and at the end, and may end it.
        input_size, in_channels, num_classes: of the networks; the space's defaults when left out.
        settings: those of `fpnas.strategies.StrategySettings`, with defaults of their own: `budget_floor` 0, so that
            networks of any cost up to the target are drawn, `samples_per_nat` 2 and `joint_from` 0.5.

    Raises:
        UserError: an unknown name, a value out of range, a budget that no network meets, an objective that gives no
            finite number for any network, or a loss that is none.
    """
    if not isinstance(space, SearchSpace | str | os.PathLike):
        raise UserError(f"space {shown(space)}: a space, its name or its TOML file is accepted")
    space = space if isinstance(space, SearchSpace) else load_space(space)
    data = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}
    if not callable(objective):
        raise UserError(f"objective {shown(objective)}: a function of a NetworkSpec is accepted")
    if train is not None and not callable(train):
        raise UserError(f"train {shown(train)}: a function of networks and their weights is accepted")
    check_callbacks(callbacks)
    check_keywords(StrategySettings, settings, {field.name for field in fields(StrategySettings)} - {"learning_steps"})
    optional = {name: value for name, value in ({"scale": scale} | data | settings).items() if value is not None}
    given = {"steps": steps, "warm_up_steps": warm_up_steps, "seed": seed} | optional
    for name in given.keys() & _WHOLE.keys():
        check_integer(given, name, *_WHOLE[name], "optimize")
    for name in given.keys() & _NUMBERS.keys():
        check_number(given, name, *_NUMBERS[name], "optimize")
    if warm_up_steps > (steps - 1 if train else 0):
        raise UserError(
            f"optimize: warm_up_steps = {warm_up_steps}: fewer than steps, and 0 without train, are accepted"
        )
    if target is None and cost is not MACS:
        raise UserError(f"cost = {shown(cost)}: a target in its unit is needed with it")
    cost = FREE if target is None else find_cost(cost)
    budget = 1 if target is None else parse_quantity(target, "target")
    costs = budget_table(space, budget, given=f"target {target}", cost=cost, **data)
    check_searchable(space, strategy, f"strategy {shown(strategy)}")
    if strategy == "fbnetv2":
        raise UserError("strategy 'fbnetv2': it computes all choices at once, which an objective of networks does not")
    usual = {"budget_floor": None if target is None else 0.0, "samples_per_nat": SAMPLES_PER_NAT, "joint_from": 0.5}
    learner = STRATEGIES[strategy](space, StrategySettings(steps - warm_up_steps, **(usual | settings)))
    if isinstance(learner, RandomSearch) and not train:
        # These judge at the end, and without weights their steps do nothing.
        learner.evaluations = steps

    def network(indices_GV: Tensor) -> NetworkSpec:
        return resolve(space, Architecture.of(indices_GV), **data)

    def train_weights(indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        assert train is not None
        loss = _number(train([*map(network, indices_nGV)], weight_n.tolist()), "train", "as the loss")
        if not math.isfinite(loss):
            raise UserError(f"train: {loss}: a finite number as the loss is expected")
        return torch.full((len(weight_n),), loss)

    values = _Counted(objective, network, lambda indices_GV: int(costs.cost(indices_GV[None])[0]) <= budget)
    if scale is None and not learner.learns:
        scale = 1.0  # what is best is best by any
    if scale is None:
        generator = generator_for(seed, "scale")
        drawn = sample_within_budget(learner.distribution, costs, _MEASURED, low=0, high=budget, generator=generator)[0]
        scale = fitted_scale(values(drawn))
    evaluator = ObjectiveEvaluator(values, scale=scale, train=train_weights if train else None)
    loop = SearchLoop(SearchPlan(space, costs, budget, steps, warm_up_steps, seed=seed, quiet=True), learner, evaluator)

    def conclude(derived: Tensor, keeper: RunKeeper) -> Optimum:
        derived_value = float(values(derived[None])[0])
        best = values.best_indices
        if best is None:
            raise UserError(
                f"objective: {derived_value} for the network found, and no number for any of {values.calls}: a finite "
                "number is needed"
            )
        return Optimum(
            network=network(best),
            architecture=Architecture.of(best),
            value=values.best_value,
            cost=None if target is None else int(costs.cost(best[None])[0]),
            derived_network=network(derived),
            derived_value=derived_value,
            distribution=learner.distribution.copy(),
            evaluations=values.calls,
            steps=keeper.steps_done,
        )

    return carry_out(
        lambda keeper: loop.run(keeper, lambda found: conclude(found, keeper)),
        None,
        processes=Processes(),
        identity={},
        total_steps=steps,
        checkpoint_minutes=math.inf,
        callbacks=callbacks,
        distribution=lambda: learner.distribution,
        figures=lambda optimum: {"value": optimum.value, "cost": optimum.cost, "evaluations": optimum.evaluations},
    )
