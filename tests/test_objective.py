"""Importance weights in high precision; the architecture gradient against enumeration and closed forms."""

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from enumeration import RAGGED, all_indices, enumerated_probabilities, random_distribution

from fpnas.distribution import Distribution, Factorized, Joint
from fpnas.objective import (
    absolute_costs,
    architecture_loss,
    hinge_costs,
    importance_weights,
    sample_weights,
)
from fpnas.space_file import load_space

TINY = load_space("tiny").cardinalities
KINDS = [Factorized, Joint]


def exact_weights(log_likelihoods: list[float]) -> list[float]:
    """Likelihoods over their sum, literally, with 60 digits."""
    getcontext().prec = 60
    likelihoods = [Decimal(value).exp() for value in log_likelihoods]
    return [float(value / sum(likelihoods)) for value in likelihoods]


@pytest.mark.parametrize(
    "log_likelihoods",
    [
        [-1.0],
        [-2.3, -2.3, -2.3],
        [-2.1, -0.4, -3.7, -0.5],
        [-1e5, -1e5 - 0.25, -1e5 + 1.5],
        [-1e5, -10.0],
        [-1e5 - 700.0, -1e5],
        [300.0, 301.0, -50.0],
    ],
    ids=str,
)
def test_importance_weights_equal_their_definition(log_likelihoods: list[float]) -> None:
    actual = importance_weights(torch.tensor(log_likelihoods, dtype=torch.float64))
    np.testing.assert_allclose(actual.numpy(), exact_weights(log_likelihoods), rtol=1e-12, atol=1e-300)
    assert float(actual.sum()) == pytest.approx(1.0, abs=1e-15)


def test_importance_weights_are_detached_double_precision() -> None:
    log_likelihood_K = torch.tensor([-1.0, -2.0], requires_grad=True)
    weights = importance_weights(log_likelihood_K)
    assert weights.dtype == torch.float64 and not weights.requires_grad
    np.testing.assert_allclose(weights.numpy(), exact_weights([-1.0, -2.0]), rtol=1e-14)


def test_importance_weights_of_an_impossible_sample_are_zero() -> None:
    assert importance_weights(torch.tensor([-math.inf, -3.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("bad", [[], [math.nan, 0.0], [0.0, math.nan], [math.inf, 0.0], [-math.inf], [[0.0]]], ids=str)
def test_unusable_log_likelihoods_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="log_likelihood_K"):
        importance_weights(torch.tensor(bad))


def test_costs() -> None:
    cost_K = torch.tensor([50, 100, 150], dtype=torch.int64)
    assert hinge_costs(cost_K, 100).tolist() == [0.0, 0.0, 0.5]
    assert absolute_costs(cost_K, 100).tolist() == [0.5, 0.0, 0.5]
    assert hinge_costs(torch.tensor([2**53 + 1]), 2**52).tolist() == [1.0]
    for costs in (hinge_costs, absolute_costs):
        with pytest.raises(ValueError, match="target 0"):
            costs(cost_K, 0)
        with pytest.raises(ValueError, match="target nan"):
            costs(cost_K, math.nan)


def test_sample_weights_subtract_the_share_of_the_cost() -> None:
    # By hand: weights 1/5 and 4/5, costs 3 and 1, beta 0.3.
    log_likelihood_K = torch.tensor([0.0, math.log(4.0)], dtype=torch.float64)
    weights = sample_weights(log_likelihood_K, torch.tensor([3.0, 1.0]), beta=0.3)
    np.testing.assert_allclose(weights.numpy(), [0.2 - 0.3 * 0.75, 0.8 - 0.3 * 0.25], rtol=1e-14)


def test_sample_weights_without_any_cost_are_importance_weights() -> None:
    log_likelihood_K = torch.tensor([-1.0, -2.0, -4.0])
    weights = sample_weights(log_likelihood_K, torch.zeros(3), beta=0.3)
    assert torch.equal(weights, importance_weights(log_likelihood_K))


def test_unusable_costs_are_refused() -> None:
    for bad in ([1.0], [1.0, -1.0], [math.nan, 1.0], [math.inf, 1.0]):
        with pytest.raises(ValueError, match="cost_K"):
            sample_weights(torch.zeros(2), torch.tensor(bad), beta=0.3)


def closed_form_gradient(distribution: Distribution, indices: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
    """sum_k m_k * (P - one-hot of A_k), per categorical, with loops."""
    result = np.zeros(distribution.logits.shape)
    for weight, architecture in zip(weights.tolist(), indices.tolist(), strict=True):
        for g, row in enumerate(distribution.cardinalities):
            if isinstance(distribution, Joint):
                probability = distribution.group_log_probs()[g].detach().exp().numpy()
                result[g, : len(probability)] += weight * probability
                result[g, np.ravel_multi_index(architecture[g], row)] -= weight
            else:
                for v, c in enumerate(row):
                    result[g, v, :c] += weight * distribution.marginals()[g][v].numpy()
                    result[g, v, architecture[g][v]] -= weight
    return result


@pytest.mark.parametrize("cardinalities", [RAGGED, TINY], ids=["ragged", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
def test_architecture_gradient_equals_its_closed_form(
    kind: type[Factorized] | type[Joint], cardinalities: tuple[tuple[int, ...], ...]
) -> None:
    distribution = random_distribution(kind, cardinalities)
    generator = torch.Generator().manual_seed(0)
    indices = distribution.sample(14, generator)
    log_likelihood_K = -3.0 * torch.rand(14, generator=generator, dtype=torch.float64)
    cost_K = hinge_costs(torch.randint(50, 200, (14,), generator=generator), 100)
    weights = sample_weights(log_likelihood_K, cost_K, beta=0.3)
    architecture_loss(weights, distribution.log_prob(indices)).backward()
    assert distribution.logits.grad is not None
    expected = closed_form_gradient(distribution, indices, weights)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(distribution.logits.grad.numpy(), expected, atol=1e-14)


@pytest.mark.parametrize("cardinalities", [RAGGED, TINY], ids=["ragged", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
def test_architecture_gradient_ascends_the_marginal_likelihood(
    kind: type[Factorized] | type[Joint], cardinalities: tuple[tuple[int, ...], ...]
) -> None:
    """Eq. 6: with every architecture as a sample, it is the gradient of -log sum_A P(A) * P(y | X, A)."""
    distribution = random_distribution(kind, cardinalities)
    indices = all_indices(cardinalities)
    log_likelihood = -4.0 * torch.rand(len(indices), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # In expectation, an architecture is among the samples as often as it is probable.
    posterior = importance_weights(log_likelihood + np.log(enumerated_probabilities(distribution)))
    architecture_loss(posterior, distribution.log_prob(indices)).backward()
    marginal = -torch.logsumexp(log_likelihood + distribution.log_prob(indices), dim=0)
    (expected,) = torch.autograd.grad(marginal, distribution.logits)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(distribution.logits.grad, expected, rtol=1e-9, atol=1e-14)


def test_architecture_loss_does_not_differentiate_its_weights() -> None:
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64, requires_grad=True)
    log_prob_K = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    architecture_loss(weights, log_prob_K).backward()
    assert weights.grad is None
    assert log_prob_K.grad is not None and log_prob_K.grad.tolist() == [-0.5, -0.5]
