"""Samplers by z-tests, and how many samples a step draws."""

import itertools
import math

import numpy as np
import pytest
import torch
from enumeration import RAGGED, random_distribution

from fpnas.distribution import Factorized, Joint
from fpnas.sampling import AdaptiveSamples, FixedSamples
from fpnas.space_file import load_space

SAMPLES = 100_000
KINDS = [Factorized, Joint]


def z_scores(counts: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    certain = probabilities > 1 - 1e-9
    assert (counts[certain] == SAMPLES).all()
    counts, probabilities = counts[~certain], probabilities[~certain]
    return (counts - SAMPLES * probabilities) / np.sqrt(SAMPLES * probabilities * (1 - probabilities))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_frequencies_of_choices_and_of_pairs(kind: type[Factorized] | type[Joint], seed: int) -> None:
    distribution = random_distribution(kind, RAGGED, seed)
    indices = distribution.sample(SAMPLES, torch.Generator().manual_seed(seed)).numpy()
    scores = []
    for g, row in enumerate(RAGGED):
        joint = distribution.group_log_probs()[g].detach().exp().numpy().reshape(row)
        for v, c in enumerate(row):
            if c > 1:
                counts = np.bincount(indices[:, g, v], minlength=c)
                scores.extend(z_scores(counts, joint.sum(axis=tuple(a for a in range(5) if a != v))))
        for v, w in itertools.combinations(range(5), 2):
            pair = joint.sum(axis=tuple(a for a in range(5) if a not in (v, w)))
            counts = np.bincount(indices[:, g, v] * row[w] + indices[:, g, w], minlength=pair.size)
            scores.extend(z_scores(counts, pair.ravel()))
        counts = np.bincount(np.ravel_multi_index(tuple(indices[:, g].T), row), minlength=joint.size)
        expected = SAMPLES * joint.ravel()
        chi_square = ((counts - expected) ** 2 / expected)[expected > 5].sum()
        freedom = (expected > 5).sum() - 1
        assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)
    assert len(scores) > 100
    assert np.abs(scores).max() < 4
    # Scores that are all close to 0 would be as wrong as large ones: draws that are not independent.
    assert 0.7 < np.std(scores) < 1.3


@pytest.mark.parametrize("kind", KINDS)
def test_groups_and_samples_are_independent(kind: type[Factorized] | type[Joint]) -> None:
    distribution = random_distribution(kind, RAGGED)
    indices = distribution.sample(SAMPLES, torch.Generator().manual_seed(3)).numpy()
    first, second = indices[:, 0, 0], indices[:, 1, 4]
    pairs = {
        "groups": (first, second, distribution.marginals()[0][0], distribution.marginals()[1][4]),
        "samples": (first, np.roll(first, 1), *(distribution.marginals()[0][0],) * 2),
    }
    for left, right, p_left, p_right in pairs.values():
        counts = np.bincount(left * len(p_right) + right, minlength=len(p_left) * len(p_right))
        assert np.abs(z_scores(counts, np.outer(p_left, p_right).ravel())).max() < 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides(kind: type[Factorized] | type[Joint]) -> None:
    distribution = random_distribution(kind, RAGGED)
    draws = []
    for seed, ambient in ((5, 0), (5, 1), (6, 0)):
        torch.manual_seed(ambient)
        draws.append(distribution.sample(50, torch.Generator().manual_seed(seed)))
    assert draws[0].shape == (50, 3, 5) and draws[0].dtype == torch.int64
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    generator = torch.Generator().manual_seed(5)
    distribution.sample(50, generator)
    assert not torch.equal(distribution.sample(50, generator), draws[0])


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-53])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_the_unit_interval_give_possible_choices(
    kind: type[Factorized] | type[Joint], uniform: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(size: tuple[int, ...], **options: object) -> torch.Tensor:
        return torch.full(size, uniform, dtype=torch.float64)

    monkeypatch.setattr(torch, "rand", constant)
    for seed in range(20):
        logits = random_distribution(kind, RAGGED, seed).logits.detach().clone()
        logits[0].view(-1)[0] = -math.inf
        distribution = kind(RAGGED, logits)
        samples = distribution.sample(1, torch.Generator())
        assert torch.isfinite(distribution.log_prob(samples)).all()


def test_fixed_number() -> None:
    assert [FixedSamples(14)(entropy) for entropy in (0.0, 56.25)] == [14, 14]
    with pytest.raises(ValueError, match="number 0"):
        FixedSamples(0)


def test_adaptive_number_follows_the_entropy() -> None:
    adaptive = AdaptiveSamples()
    assert [adaptive(entropy) for entropy in (0.0, 3.99, 4.0, 7.99, 8.0, 56.25)] == [1, 1, 1, 1, 2, 14]
    assert AdaptiveSamples(fraction=0.5)(10.0) == 5
    assert [AdaptiveSamples(0.5, fewest=3)(entropy) for entropy in (0.0, 6.0, 8.0)] == [3, 3, 4]


def test_adaptive_number_at_the_start_is_the_papers() -> None:
    # FP-NAS, section 4: K starts at 14 in the FBNetV2-F space.
    distribution = Factorized(load_space("fbnetv2-f").cardinalities)
    assert AdaptiveSamples(fraction=0.25)(distribution.entropy().item()) == 14


def test_bad_settings_are_refused() -> None:
    for fraction in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="fraction"):
            AdaptiveSamples(fraction=fraction)
    with pytest.raises(ValueError, match="fewest 0"):
        AdaptiveSamples(fewest=0)
    with pytest.raises(ValueError, match="entropy_nats"):
        AdaptiveSamples()(math.nan)
