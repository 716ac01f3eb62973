"""Searches for an objective of one's own: the optimum by enumeration, the budget, and what the objective is asked."""

import functools
import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from enumeration import all_indices

import fpnas
from fpnas.cost import COSTS, Cost
from fpnas.cost.table import build_cost_table
from fpnas.network_spec import NetworkSpec
from fpnas.objective_search import Optimum
from fpnas.space import VARIABLES
from fpnas.strategies import STRATEGIES

SPACE = fpnas.load_space("tiny")
EVERYTHING = all_indices(SPACE.cardinalities)
TARGET = 300_000


@functools.cache
def objective(network: NetworkSpec) -> float:
    """Falls with the relative position of every choice, read off the blocks of the network."""
    total, first = 0.0, 0
    for group in SPACE.groups:
        for variable in VARIABLES:
            values = group.values(variable)
            total += values.index(getattr(network.blocks[first], variable)) / max(1, len(values) - 1)
        first += group.repeat
    return 2 - total / (len(SPACE.groups) * len(VARIABLES))


def values_of(indices_NGV: torch.Tensor) -> torch.Tensor:
    """The same, of indices alone."""
    sizes = torch.tensor(SPACE.cardinalities)
    return 2 - (indices_NGV.double() / (sizes - 1).clamp(min=1)).mean((1, 2))


def least(target: int, cost: str = "macs") -> float:
    """The exact optimum within a budget."""
    return values_of(EVERYTHING)[build_cost_table(SPACE, cost=COSTS[cost]).cost(EVERYTHING) <= target].min().item()


def search(**changed: Any) -> Optimum:
    return fpnas.optimize(SPACE, changed.pop("objective", objective), **({"steps": 200, "target": TARGET} | changed))


@pytest.fixture(scope="module")
def found() -> Optimum:
    return search()


def test_the_exact_optimum_within_a_budget(found: Optimum) -> None:
    assert found.value == pytest.approx(least(TARGET), abs=1e-12) == found.derived_value
    assert found.cost == COSTS["macs"](found.network) <= TARGET
    assert (
        found.value == objective(found.network) == pytest.approx(values_of(torch.tensor([found.architecture.indices])))
    )


@pytest.mark.parametrize(("cost", "target"), [("params", "12k"), ("weights", 18_000)])
def test_the_exact_optimum_within_a_budget_of_another_kind(cost: str, target: str | int) -> None:
    best = search(cost=cost, target=target)
    limit = 12_000 if cost == "params" else 18_000
    assert best.value == pytest.approx(least(limit, cost), abs=1e-12)
    assert best.cost == COSTS[cost](best.network) <= limit
    if cost == "params":
        assert best.cost == sum(parameter.numel() for parameter in fpnas.build(best.network).parameters())


def test_the_exact_optimum_without_a_budget() -> None:
    best = search(target=None)
    assert best.value == values_of(EVERYTHING).min().item() == 1.0 + best_of_single_values()
    assert best.cost is None


def best_of_single_values() -> float:
    """Choices without a choice stay at their first place."""
    sizes = torch.tensor(SPACE.cardinalities)
    return (sizes == 1).double().mean().item()


def test_the_optimum_is_found_whatever_the_scale_of_the_objective(found: Optimum) -> None:
    # A power of two, so that no rounding differs.
    other = search(objective=lambda network: 2.0**20 * objective(network))
    assert other.architecture == found.architecture and other.value == 2.0**20 * found.value
    assert torch.equal(other.distribution.logits, found.distribution.logits)


def test_the_same_twice_and_another_with_another_seed(found: Optimum) -> None:
    again, other = search(), search(seed=1)
    assert torch.equal(again.distribution.logits, found.distribution.logits)
    assert (again.evaluations, again.architecture) == (found.evaluations, found.architecture)
    assert not torch.equal(other.distribution.logits, found.distribution.logits)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "fbnetv2"])
def test_every_strategy_that_judges_single_networks(strategy: str) -> None:
    asked: list[float] = []
    networks: list[NetworkSpec] = []

    def counted(network: NetworkSpec) -> float:
        networks.append(network)
        asked.append(objective(network))
        return asked[-1]

    best = search(strategy=strategy, objective=counted)
    assert best.cost is not None and best.cost <= TARGET
    assert best.evaluations == len(asked) and best.derived_value == asked[-1]
    # The paper's own form takes thousands of steps: tests/strategies/test_conformance.py has them.
    if strategy not in ("fp-nas-paper", "parsec"):
        within = values_of(EVERYTHING[build_cost_table(SPACE).cost(EVERYTHING) <= TARGET])
        assert (within < best.derived_value - 1e-9).double().mean() < 0.05
    # Of what was met the best, but only within the budget, which some strategies leave on their way.
    met = [value for value, network in zip(asked, networks, strict=True) if COSTS["macs"](network) <= TARGET]
    assert best.value == min(met) <= best.derived_value and COSTS["macs"](best.derived_network) <= TARGET


def test_what_computes_all_choices_is_refused() -> None:
    def never(network: NetworkSpec) -> float:
        pytest.fail("the objective was asked")

    with pytest.raises(fpnas.UserError, match="strategy 'fbnetv2': it computes all choices at once"):
        search(strategy="fbnetv2", objective=never)


def test_a_step_asks_once_for_every_network() -> None:
    asked: list[NetworkSpec] = []
    steps: list[list[NetworkSpec]] = []

    def note(network: NetworkSpec) -> float:
        asked.append(network)
        return objective(network)

    def cut(moment: fpnas.Moment) -> None:
        steps.append(asked.copy())
        asked.clear()

    best = search(objective=note, callbacks=[cut], scale=1.0, steps=60)
    assert len(steps) == 61 and all(len(set(step)) == len(step) for step in steps)
    assert sum(map(len, steps)) == best.evaluations
    table = build_cost_table(SPACE)
    assert all(COSTS["macs"](network) <= TARGET for step in steps for network in step)
    assert any(COSTS["macs"](network) < 0.5 * TARGET for network in steps[0]) or table.minimum() > 0.5 * TARGET


def test_looking_on_changes_nothing_and_true_ends_it(found: Optimum) -> None:
    seen: list[fpnas.Moment] = []
    watched = search(callbacks=[seen.append])
    assert torch.equal(watched.distribution.logits, found.distribution.logits)
    assert [moment.kind for moment in seen] == ["step"] * 200 + ["end"]
    assert dict(seen[-1].figures) == {"value": found.value, "cost": found.cost, "evaluations": found.evaluations}
    seen.clear()
    ended = search(callbacks=[lambda moment: moment.step == 90, seen.append])
    assert ended.steps == 90 == len(seen) - 1
    assert seen[-1].distribution is not None
    assert torch.equal(ended.distribution.logits, seen[-1].distribution.logits)
    assert COSTS["macs"](ended.network) <= TARGET


def test_weights_of_one_s_own_are_trained_in_every_step() -> None:
    calls: list[tuple[str, int]] = []

    def judge(network: NetworkSpec) -> float:
        calls.append(("judge", 1))
        return objective(network)

    def train(networks: Sequence[NetworkSpec], weights: Sequence[float]) -> float:
        assert len(networks) == len(weights) and sum(weights) == pytest.approx(1)
        assert all(COSTS["macs"](network) <= TARGET for network in networks)
        calls.append(("train", len(networks)))
        return 2.5

    losses: list[float] = []

    def watch(moment: fpnas.Moment) -> None:
        if moment.kind == "step":
            losses.append(moment.figures["loss"])

    best = search(objective=judge, train=train, warm_up_steps=20, steps=60, scale=1.0, callbacks=[watch])
    assert calls[:20] == [("train", 1)] * 20 and calls[20] == ("judge", 1)
    assert [name for name, _ in calls].count("train") == 60 and losses == [2.5] * 60
    assert best.evaluations == len(calls) - 60


def test_evolution_breeds_where_no_network_costs_the_floor() -> None:
    asked: set[NetworkSpec] = set()

    def noted(network: NetworkSpec) -> float:
        asked.add(network)
        return objective(network)

    best = search(objective=noted, strategy="evolution", steps=200, target="100M", budget_floor=0.95, scale=1.0)
    # The founders are 25; what follows is their offspring, not they again.
    assert len(asked) > 2 * 25 and best.evaluations == 201


def test_what_has_no_number_has_no_say() -> None:
    def partly(network: NetworkSpec) -> float:
        return (
            math.nan
            if network.blocks[1].kernel == 5
            else math.inf
            if network.blocks[2].kernel == 5
            else objective(network)
        )

    best = search(objective=partly)
    kernels = EVERYTHING[:, :, 0]
    sound = EVERYTHING[(kernels[:, 1] < 2) & (kernels[:, 2] < 2) & (build_cost_table(SPACE).cost(EVERYTHING) <= TARGET)]
    assert best.value == pytest.approx(values_of(sound).min().item())


@pytest.mark.parametrize("strategy", ["fp-nas", "random", "evolution"])
@pytest.mark.parametrize("answer", [math.nan, math.inf, -math.inf])
def test_what_has_no_number_is_not_found(strategy: str, answer: float) -> None:
    def partly(network: NetworkSpec) -> float:
        return answer if network.blocks[1].kernel == 3 else objective(network)

    best = search(objective=partly, strategy=strategy, steps=60, scale=1.0)
    assert best.value == partly(best.network) and math.isfinite(best.value)
    assert math.isfinite(best.derived_value) or strategy == "fp-nas"


@pytest.mark.parametrize("strategy", ["fp-nas", "fp-nas-paper", "parsec", "tunas"])
def test_steps_without_a_number_teach_nothing_and_end_nothing(strategy: str) -> None:
    before: list[torch.Tensor] = []

    def seldom(network: NetworkSpec) -> float:
        return objective(network) if network.blocks[1].kernel == 5 else math.inf

    def moved(moment: fpnas.Moment) -> None:
        assert moment.distribution is not None
        if moment.kind == "step":
            before.append(moment.distribution.logits.detach().clone())

    # Two samples a step: many steps have none with a number.
    best = search(objective=seldom, strategy=strategy, steps=60, samples_per_nat=0.01, scale=1.0, callbacks=[moved])
    assert best.value == objective(best.network) and best.network.blocks[1].kernel == 5
    moves = [not torch.equal(one, other) for one, other in itertools.pairwise(before) if one.shape == other.shape]
    assert any(moves)
    if strategy in ("fp-nas", "tunas"):  # those of the paper's form draw so many that one has a number
        assert not all(moves)


def test_a_search_that_learns_from_nothing_stays_where_it_is() -> None:
    logits: list[torch.Tensor] = []

    def never(network: NetworkSpec) -> float:
        return math.inf

    def note(moment: fpnas.Moment) -> None:
        assert moment.distribution is not None
        logits.append(moment.distribution.logits.detach().clone())

    with pytest.raises(fpnas.UserError, match="no number for any of them"):
        search(objective=never, strategy="fp-nas", steps=60, samples_per_nat=0.1, scale=1.0, callbacks=[note])
    assert len(logits) > 3 and all(torch.equal(each, torch.zeros_like(each)) for each in logits)


@pytest.mark.parametrize("strategy", ["fp-nas", "random", "evolution"])
@pytest.mark.parametrize("answer", [math.nan, math.inf, -math.inf])
def test_no_number_at_all_is_one_line(answer: float, strategy: str) -> None:
    with pytest.raises(fpnas.UserError, match="a finite number is needed") as error:
        search(objective=lambda network: answer, strategy=strategy, steps=60)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 0}, "steps = 0: a whole number from 1"),
        ({"steps": 2.5}, "steps = 2.5"),
        ({"steps": None}, "steps = None"),
        ({"warm_up_steps": None}, "warm_up_steps = None"),
        ({"train": lambda networks, weights: None}, "train: None: a number as the loss"),
        ({"train": lambda networks, weights: math.nan}, "train: nan: a finite number as the loss"),
        ({"objective": lambda network: 10**400}, "a number for every network is expected"),
        ({"seed": -1}, "seed = -1"),
        ({"target": "much"}, "target much: a positive number"),
        ({"target": 10}, "target 10: the smallest network of space tiny"),
        ({"target": None, "cost": "params"}, "a target in its unit is needed"),
        ({"cost": "seconds"}, "one of macs, weights, params or a Cost"),
        (
            {"cost": Cost("odd", "u", lambda s: 0, lambda b: 0.5, lambda s: 0)},
            "cost odd: it gives values of type float64",
        ),  # type: ignore[arg-type, return-value]
        ({"strategy": "magic"}, "strategy 'magic': one of fp-nas"),
        ({"scale": 0}, "scale = 0"),
        ({"budget_floor": 1.5}, "budget_floor = 1.5"),
        ({"likelihood_scale": "big"}, "likelihood_scale = 'big': a value of type float"),
        ({"learning_steps": 5}, "setting 'learning_steps': unknown; accepted are budget_floor"),
        ({"epochs": 5}, "setting 'epochs': unknown"),
        ({"warm_up_steps": 10}, "0 without train"),
        ({"input_size": 3}, "image size 3"),
        ({"input_size": "8"}, "input_size = '8'"),
        ({"callbacks": print}, "callbacks = <built-in function print>: a list"),
        ({"objective": 7}, "objective 7: a function"),
        ({"train": 7}, "train 7: a function"),
        ({"objective": lambda network: "good"}, "objective: 'good': a number"),
        ({"objective": lambda network: None}, "objective: None: a number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(fpnas.UserError) as error:
        search(**changed)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("space", "said"),
    [("nowhere", "nowhere"), ("nowhere.toml", "nowhere"), (7, "space 7: a space"), (None, "space None")],
)
def test_an_unknown_space_is_refused(space: Any, said: str) -> None:
    with pytest.raises(fpnas.UserError, match=said):
        fpnas.optimize(space, objective, steps=5)


@pytest.mark.parametrize("penalty", [1e3, 1e6, 1e9, sys.float_info.max, math.inf])
def test_a_penalty_does_not_hide_how_the_others_differ(penalty: float) -> None:
    kernel = SPACE.groups[-1].values("kernel").index(0)
    allowed = (build_cost_table(SPACE).cost(EVERYTHING) <= TARGET) & (EVERYTHING[:, -1, 0] != kernel)

    def penalised(network: NetworkSpec) -> float:
        return objective(network) if network.blocks[-1].kernel else penalty

    assert search(objective=penalised).derived_value == pytest.approx(values_of(EVERYTHING[allowed]).min().item())


@pytest.mark.parametrize("strategy", ["random", "evolution"])
@pytest.mark.parametrize("scale", [1.0, None])
def test_what_judges_at_the_end_judges_as_often_as_there_are_steps(strategy: str, scale: float | None) -> None:
    best = search(strategy=strategy, steps=70, scale=scale)
    assert 60 <= best.evaluations <= 71
