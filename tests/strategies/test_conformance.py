"""What every strategy owes: the budget, the same result twice, going on after an interruption, getting better."""

import io
from typing import Any

import pytest
import torch
from enumeration import all_indices
from landscape import COSTS, SPACE, TARGET, Landscape, derive, landscape, loop_of, run

from fpnas.distribution import Factorized
from fpnas.search_loop import SearchLoop, SearchPlan
from fpnas.strategies import STRATEGIES, StrategySettings

every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def _equal(first: Any, second: Any) -> bool:
    """Whether two states are equal, tensors bitwise."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)


# The paper's likelihood is per image, 32 times as flat as the default's, and its searches take thousands of steps; with
# a hinge they end anywhere within the budget.
PER_IMAGE = {"steps": 2000, "steepness": 32.0}
OPTIONS = {"fp-nas-paper": PER_IMAGE, "parsec": PER_IMAGE}


@every_strategy
def test_it_finds_one_of_the_best_within_the_budget(name: str) -> None:
    learner, _, _ = run(name, **OPTIONS.get(name, {}))
    found = derive(learner)
    assert COSTS.cost(found[None]).item() <= TARGET
    uniform = Factorized(SPACE.cardinalities).sample(20_000, torch.Generator().manual_seed(1))
    within = uniform[COSTS.cost(uniform) <= TARGET]
    better = (landscape(within) < landscape(found[None])).double().mean()
    assert better < 0.05


@every_strategy
def test_a_budget_that_all_but_nothing_meets_is_held(name: str) -> None:
    target = int(COSTS.cost(all_indices(SPACE.cardinalities)).min())
    learner, surface, _ = run(name, begin=1)
    loop = SearchLoop(SearchPlan(SPACE, COSTS, target, 10, 2, 0), learner, surface)
    # Fewer than are compared are drawn within it; of all others most are better, and too dear.
    assert COSTS.cost(loop.derive()[None]).item() <= target


@every_strategy
def test_a_distribution_that_learns_settles(name: str) -> None:
    learner, _, _ = run(name)
    entropy = learner.distribution.entropy().item()
    assert entropy < 5 if learner.learns else entropy == pytest.approx(SPACE.entropy_nats)


@every_strategy
def test_the_same_twice_and_another_with_another_seed(name: str) -> None:
    (first, _, record), (second, _, again), (_, _, other) = (run(name, steps=60, warm_up=10, seed=s) for s in (0, 0, 1))
    assert record == again != other
    assert _equal(first.state_dict(), second.state_dict())
    assert torch.equal(derive(first), derive(second))


@every_strategy
@pytest.mark.parametrize("interrupted_after", [5, 31, 50])
def test_it_goes_on_after_an_interruption_as_if_there_had_been_none(name: str, interrupted_after: int) -> None:
    whole, _, record = run(name, steps=60, warm_up=10)
    first, surface, _ = run(name, steps=60, warm_up=10, begin=1)
    loop = loop_of(first, surface, 60, 10)
    for step in range(interrupted_after):
        loop.step(step)
    stored = io.BytesIO()
    torch.save(first.state_dict(), stored)
    stored.seek(0)
    second, surface, _ = run(name, steps=60, warm_up=10, begin=1)
    second.load_state_dict(torch.load(stored, weights_only=True))
    loop = loop_of(second, surface, 60, 10)
    rest = [loop.step(step) for step in range(interrupted_after, 60)]
    assert rest == record[interrupted_after:]
    assert _equal(second.state_dict(), whole.state_dict())
    assert torch.equal(derive(second), derive(whole))


@every_strategy
def test_the_warm_up_leaves_the_distribution_alone_and_trains(name: str) -> None:
    learner, surface, record = run(name, steps=20, warm_up=20)
    assert learner.distribution.entropy().item() == pytest.approx(SPACE.entropy_nats)
    assert not surface.judged and len(surface.trained) + surface.mixtures == 20
    assert all(figures["samples"] >= 1 and figures["loss"] > 0 for figures in record)


@every_strategy
def test_every_step_trains_the_weights_once(name: str) -> None:
    _, surface, record = run(name, steps=50, warm_up=10)
    assert len(surface.trained) + surface.mixtures == 50
    assert all({"samples", "loss"} <= figures.keys() for figures in record)


def test_what_is_listed_is_what_there_is() -> None:
    assert next(iter(STRATEGIES)) == "fp-nas"
    for build in STRATEGIES.values():
        learner = build(SPACE, StrategySettings(learning_steps=10))
        assert learner.distribution.cardinalities == SPACE.cardinalities
        assert loop_of(learner, Landscape(), 10, 2).step(0)["samples"] >= 1
