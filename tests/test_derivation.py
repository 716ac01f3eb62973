"""Derivation against brute force on small spaces and against a table over all costs on large ones."""

import math
import random
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from enumeration import Cardinalities, all_indices, enumerated_probabilities, random_distribution, random_tied

from fpnas import constrained_paths
from fpnas.cost.table import build_cost_table
from fpnas.derivation import Derived, most_probable_or_untied, most_probable_within
from fpnas.distribution import Distribution, Factorized, Joint, Tied
from fpnas.errors import UserError
from fpnas.space_file import load_space

LARGE = {
    "10 groups": (
        (3, 2, 2, 1, 2),
        *(((3, 2, 2, 6, 3),) * 4),
        *(((3, 2, 2, 6, 5),) * 3),
        *(((3, 2, 2, 6, 10),) * 2),
    ),
    "17 groups": ((3, 2, 4, 6, 5),) * 17,
}


@dataclass
class Table:
    """The least that derivation asks of a cost table."""

    prefix_cost: int
    table: list[np.ndarray]
    head: np.ndarray


def random_table(cardinalities: Cardinalities, seed: int, largest: int) -> Table:
    """Costs that grow with kernel, splits, expansion and channels of both sides, with noise."""
    rng = np.random.default_rng(seed)
    tables, before = [], 1
    for row in cardinalities:
        index = np.stack(np.unravel_index(np.arange(math.prod(row)), row))
        own = (index[0] * (1 + index[2]) * (1 + index[3]) + 1) * (2 + index[4])
        cost = own * (2 + np.arange(before)[:, None]) * rng.uniform(0.5, 1.5, (before, math.prod(row)))
        tables.append((cost / cost.max() * largest).astype(np.int64))
        before = row[-1]
    return Table(int(rng.integers(10)), tables, rng.integers(0, largest, before))


def enumerated_costs(cardinalities: Cardinalities, table: Table) -> np.ndarray:
    """Costs in the order of `all_indices`, one architecture at a time."""
    costs = []
    for architecture in all_indices(cardinalities).tolist():
        total, before = table.prefix_cost, 0
        for g, row in enumerate(cardinalities):
            position = int(np.ravel_multi_index(architecture[g], row))
            total += int(table.table[g][before, position])
            before = architecture[g][-1]
        costs.append(total + int(table.head[before]))
    return np.array(costs)


def brute_force(distribution: Distribution, costs: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions within the target, the most probable first, then cheapest, then lowest index; and all rounded."""
    with np.errstate(divide="ignore"):
        log_probs = np.round(np.log(enumerated_probabilities(distribution)), 9)
    fits = np.flatnonzero((costs <= target) & np.isfinite(log_probs))
    return fits[np.lexsort((fits, costs[fits], -log_probs[fits]))], log_probs


def position(derived: Derived, cardinalities: Cardinalities) -> int:
    shape = [c for row in cardinalities for c in row]
    return int(np.ravel_multi_index(derived.indices.flatten().tolist(), shape))


def made_up_case(seed: int) -> tuple[Distribution, Table]:
    rng = random.Random(seed)
    groups = rng.choice([1, 2, 3])
    cardinalities = [
        (*(rng.choice([1, 2, 2, 3 if groups < 3 else 2]) for _ in range(4)), rng.choice([1, 2, 3]))
        for _ in range(groups)
    ]
    kind = rng.choice([Factorized, Joint])
    distribution: Distribution = random_distribution(kind, cardinalities, seed)
    manner = rng.choice(["uniform", "random", "with ties", "near certainty", "with impossible ones"])
    logits = distribution.logits.detach()
    if manner == "uniform":
        logits = torch.zeros_like(logits)
    elif manner == "with ties":
        logits = logits.round()
    elif manner == "near certainty":
        logits = logits * 20
    elif manner == "with impossible ones":
        logits = logits.clone()
        logits[..., 1::2] = -math.inf
    distribution = kind(cardinalities, logits)
    if manner != "with impossible ones" and groups > 1 and rng.random() < 0.5:  # the last groups are of one row
        cardinalities = [cardinalities[0], *[cardinalities[1]] * (groups - 1)]
        first_of = [0, *[1] * (groups - 1)] if rng.random() < 0.5 else [0] * groups
        if not any(first_of):
            cardinalities = [cardinalities[0]] * groups
        distribution = random_tied(cardinalities, first_of, seed)
    # Few distinct costs, so that they tie, or many.
    return distribution, random_table(cardinalities, seed, rng.choice([3, 40, 10**8]))


@pytest.mark.parametrize("first_width", [1, constrained_paths._FIRST_WIDTH])
def test_equals_brute_force(first_width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A beam of one label makes the proof do the work, not the luck of a wide beam.
    monkeypatch.setattr(constrained_paths, "_FIRST_WIDTH", first_width)
    tied = 0
    for seed in range(60):
        distribution, table = made_up_case(seed)
        cardinalities = distribution.cardinalities
        costs = enumerated_costs(cardinalities, table)
        log_probs = distribution.log_prob(all_indices(cardinalities)).detach().numpy()
        rng = random.Random(seed)
        at_random = [rng.randint(int(costs.min()), int(costs.max()) + 1) for _ in range(4)]
        for target in [*map(int, rng.choices(costs, k=4)), *at_random]:
            expected, rounded = brute_force(distribution, costs, target)
            if len(expected) == 0:
                with pytest.raises(UserError):
                    most_probable_within(distribution, table, target)
                continue
            derived = most_probable_within(distribution, table, target)
            actual = position(derived, cardinalities)
            assert actual == expected[0] and derived.cost == costs[actual] <= target
            assert derived.log_prob == pytest.approx(log_probs[actual], rel=1e-12)
            tied += int((rounded[expected] == rounded[actual]).sum() > 1)
    assert tied > 25


def test_a_wider_beam_may_lose_the_path_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    cardinalities = ((3, 2, 2, 1, 2), *(((3, 2, 2, 6, 3),) * 4))
    distribution, table = random_distribution(Factorized, cardinalities, 426), random_table(cardinalities, 426, 1000)
    targets = (600, 1200, 2000, 3000)
    expected = [most_probable_within(distribution, table, target) for target in targets]
    found: list[bool] = []
    run = constrained_paths._Search.run

    def recorded(search: constrained_paths._Search, *arguments: Any) -> Any:
        path, complete = run(search, *arguments)
        found.append(path is not None)
        return path, complete

    monkeypatch.setattr(constrained_paths._Search, "run", recorded)
    monkeypatch.setattr(constrained_paths, "_FIRST_WIDTH", 1)
    monkeypatch.setattr(constrained_paths, "_WIDENING", 2)
    for target, wide in zip(targets, expected, strict=True):
        narrow = most_probable_within(distribution, table, target)
        assert (narrow.indices.tolist(), narrow.cost) == (wide.indices.tolist(), wide.cost)
    assert not all(found)


@pytest.mark.parametrize("kind", [Factorized, Joint])
def test_equals_brute_force_on_tiny(kind: type[Factorized] | type[Joint]) -> None:
    space = load_space("tiny")
    table = build_cost_table(space)
    costs = table.cost(all_indices(space.cardinalities)).numpy()
    distribution = random_distribution(kind, space.cardinalities)
    for target in (table.minimum(), 300_000, 500_000, table.maximum()):
        derived = most_probable_within(distribution, table, target)
        assert position(derived, space.cardinalities) == brute_force(distribution, costs, target)[0][0]


def best_log_prob_by_total_cost(distribution: Distribution, table: Table) -> np.ndarray:
    """Highest log-probability at every exact total cost, by dynamic programming over all costs."""
    largest = table.prefix_cost + sum(int(t.max()) for t in table.table) + int(table.head.max())
    best = np.full((1, largest + 1), -np.inf)
    best[0, table.prefix_cost] = 0.0
    for g, row in enumerate(distribution.cardinalities):
        log_probs = distribution.group_log_probs()[g].detach().numpy()
        after = np.full((row[-1], largest + 1), -np.inf)
        for before, costs in enumerate(table.table[g].tolist()):
            for element, cost in enumerate(costs):
                reached = after[element % row[-1], cost:]
                np.maximum(reached, best[before, : largest + 1 - cost] + log_probs[element], out=reached)
        best = after
    total = np.full(largest + 1, -np.inf)
    for channel, cost in enumerate(table.head.tolist()):
        np.maximum(total[cost:], best[channel, : largest + 1 - cost], out=total[cost:])
    return total


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0])
def test_equals_a_table_over_all_costs_on_a_large_space(scale: float) -> None:
    cardinalities = LARGE["10 groups"]
    logits = scale * torch.randn(Joint(cardinalities).logits.shape, generator=torch.Generator().manual_seed(1))
    distribution = Joint(cardinalities, logits)
    table = random_table(cardinalities, 1, largest=60)
    best = best_log_prob_by_total_cost(distribution, table)
    reachable = np.flatnonzero(np.isfinite(best))
    for fraction in (0.0, 0.03, 0.1, 0.3, 1.0):
        target = int(reachable[0] + fraction * (reachable[-1] - reachable[0]))
        derived = most_probable_within(distribution, table, target)
        assert derived.log_prob == pytest.approx(best[: target + 1].max(), abs=1e-9)


@pytest.mark.parametrize("space", LARGE)
def test_takes_seconds_in_large_spaces(space: str) -> None:
    cardinalities = LARGE[space]
    table = random_table(cardinalities, 0, largest=10**8)
    for distribution in (
        Factorized(cardinalities),
        random_distribution(Factorized, cardinalities),
        random_distribution(Joint, cardinalities),
    ):
        for target in (10**8, 2 * 10**8, 4 * 10**8, 8 * 10**8):
            begin = time.perf_counter()
            derived = most_probable_within(distribution, table, target)
            # Well under 1 s on an idle core; what this guards against is an explosion of labels.
            assert time.perf_counter() - begin < 10
            assert derived.cost <= target


def test_the_same_twice() -> None:
    cardinalities = LARGE["10 groups"]
    table = random_table(cardinalities, 0, largest=10**8)
    distribution = Joint(cardinalities)
    first, second = (most_probable_within(distribution, table, 3 * 10**8) for _ in range(2))
    assert torch.equal(first.indices, second.indices)


def test_a_generous_target_gives_the_mode() -> None:
    cardinalities = LARGE["17 groups"]
    distribution = random_distribution(Joint, cardinalities)
    derived = most_probable_within(distribution, random_table(cardinalities, 0, 10**8), 10**12)
    assert torch.equal(derived.indices, distribution.mode())
    assert derived.indices.dtype == torch.int64 and derived.indices.shape == (17, 5)


def test_errors_name_what_is_reachable() -> None:
    distribution, table = made_up_case(3)
    smallest = int(enumerated_costs(distribution.cardinalities, table).min())
    distribution = type(distribution)(distribution.cardinalities)  # type: ignore[arg-type]
    assert most_probable_within(distribution, table, smallest).cost == smallest
    with pytest.raises(UserError, match=rf"^target {smallest - 1}: the smallest reachable cost is {smallest}$"):
        most_probable_within(distribution, table, smallest - 1)


def test_blocks_that_choose_alike_choose_each_for_itself_where_nothing_else_is_within_the_budget() -> None:
    # The cheapest is (0, 1), at 2; alike they cost 6 and 8.
    table = Table(0, [np.array([[1, 3]]), np.array([[5, 1], [5, 5]])], np.zeros(2, np.int64))
    tied = Tied(((2,), (2,)), (0, 0), torch.tensor([[[0.3, 0.0]], [[0.0, 0.0]]], dtype=torch.float64))
    same, derived = most_probable_or_untied(tied, table, 7)
    assert same is tied and derived.indices.flatten().tolist() == [0, 0] and derived.cost == 6
    untied, derived = most_probable_or_untied(tied, table, 5)
    assert derived.indices.flatten().tolist() == [0, 1] and derived.cost == 2
    assert untied.log_prob(derived.indices[None]).item() == pytest.approx(derived.log_prob)
    with pytest.raises(UserError, match="the smallest reachable cost is 2"):
        most_probable_or_untied(tied, table, 1)
