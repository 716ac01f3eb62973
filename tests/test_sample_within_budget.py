"""Sampling given the budget, against the conditional distribution by enumeration."""

import numpy as np
import pytest
import torch
from enumeration import all_indices, enumerated_probabilities, random_distribution

from fpnas.budget_sampling import CANDIDATES, MOST_ROUNDS, sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized, Joint
from fpnas.space_file import load_space

SPACE = load_space("tiny")
COSTS = build_cost_table(SPACE)
ALL = all_indices(SPACE.cardinalities)
ALL_COSTS = COSTS.cost(ALL).numpy()
KINDS = [Factorized, Joint]


def positions(indices_KGV: torch.Tensor) -> np.ndarray:
    """Where architectures stand in `ALL`."""
    sizes = [size for row in SPACE.cardinalities for size in row]
    return np.ravel_multi_index(tuple(indices_KGV.flatten(1).T.numpy()), sizes)


def draw(distribution: Factorized | Joint, number: int, low: float, high: float, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return sample_within_budget(distribution, COSTS, number, low=low, high=high, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bounds", [(0.0, 0.5), (0.45, 0.55), (0.7, 0.75)])
def test_the_conditional_distribution(kind: type[Factorized] | type[Joint], bounds: tuple[float, float]) -> None:
    distribution = random_distribution(kind, SPACE.cardinalities, seed=1)
    probabilities = enumerated_probabilities(distribution)
    # Bounds as quantiles of the cost under the distribution.
    order = ALL_COSTS.argsort()
    cumulated = probabilities[order].cumsum()
    low, high = (float(ALL_COSTS[order][np.searchsorted(cumulated, share)]) for share in bounds)
    inside = np.logical_and(low <= ALL_COSTS, high >= ALL_COSTS)
    mass = probabilities[inside].sum()
    conditional = np.where(inside, probabilities, 0) / mass
    drawn = [draw(distribution, 20, low, high, seed) for seed in range(1000)]
    found = np.concatenate([positions(indices) for indices, _ in drawn])
    assert len(found) == 20_000 and inside[found].all()
    # The share of candidates within is the range's probability.
    shares = np.array([share for _, share in drawn])
    deviation = np.sqrt(mass * (1 - mass) / (CANDIDATES * len(drawn)))
    assert abs(shares.mean() - mass) < 4 * deviation
    # Ten groups of about equal probability, and the marginals of every choice.
    counts = np.bincount(found, minlength=len(ALL))
    groups = np.minimum(conditional.cumsum() * 10, 9.999).astype(int)
    events = [groups == group for group in range(10)]
    flat = ALL.flatten(1).numpy()
    events += [flat[:, v] == value for v in range(flat.shape[1]) for value in range(flat[:, v].max() + 1)]
    scores = []
    for event in events:
        expected = conditional[event].sum()
        if 0.001 < expected < 0.999:
            spread = np.sqrt(len(found) * expected * (1 - expected))
            scores.append((counts[event].sum() - len(found) * expected) / spread)
    assert len(scores) > 15
    assert np.abs(scores).max() < 4, scores
    assert 0.4 < np.std(scores) < 1.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (10**9, 10**9 + 1)])
def test_nearest_ones_where_the_range_is_empty(kind: type[Factorized] | type[Joint], low: int, high: int) -> None:
    distribution = random_distribution(kind, SPACE.cardinalities)
    indices, share = draw(distribution, 5, low, high)
    assert indices.shape == (5, len(SPACE.groups), 5) and share == 0
    generator = torch.Generator().manual_seed(0)
    candidates = torch.cat([distribution.sample(CANDIDATES, generator) for _ in range(MOST_ROUNDS)])
    costs = COSTS.cost(candidates).sort(descending=low > 1).values
    assert COSTS.cost(indices).tolist() == costs[:5].tolist()


def test_those_within_come_before_the_nearest() -> None:
    # A range that holds a single cost, met by a few candidates of the thousands.
    distribution = Factorized(SPACE.cardinalities)
    rare = np.sort(ALL_COSTS)[20]
    indices, share = draw(distribution, 100, rare, rare)
    costs = COSTS.cost(indices)
    number = round(share * CANDIDATES * MOST_ROUNDS)
    assert 0 < number < 100
    distances = (costs - rare).abs()
    assert (distances[:number] == 0).all() and (distances[number:] > 0).all()
    assert distances.tolist() == sorted(distances.tolist())


def test_no_more_is_drawn_than_needed_and_the_generator_alone_decides() -> None:
    distribution = random_distribution(Joint, SPACE.cardinalities)
    torch.manual_seed(1)
    first, share = draw(distribution, 3, 0, 1e12)
    torch.manual_seed(2)
    again, _ = draw(distribution, 3, 0, 1e12)
    assert share == 1 and torch.equal(first, again)
    # Where all are within, these are the first of the distribution's own.
    assert torch.equal(first, distribution.sample(CANDIDATES, torch.Generator().manual_seed(0))[:3])
    assert not torch.equal(first, draw(distribution, 3, 0, 1e12, seed=1)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_as_are_asked_for(kind: type[Factorized] | type[Joint]) -> None:
    distribution = random_distribution(kind, SPACE.cardinalities)
    number = CANDIDATES * MOST_ROUNDS + 1
    assert len(draw(distribution, number, 0, 10**9)[0]) == number
    # Where few meet the range, many more candidates are looked at for many than for a hundred.
    low, high = 0.0, float(np.quantile(ALL_COSTS, 0.02))
    indices, share = draw(Factorized(SPACE.cardinalities), 500, low, high)
    assert share < 0.05 and (COSTS.cost(indices) <= high).all()
