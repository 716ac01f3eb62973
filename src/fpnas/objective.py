"""The search objective: importance weights, the cost term and the loss of the architecture step.

Source: FP-NAS (CVPR 2021), Eq. 6 and 7. K is the number of sampled architectures A_k.
"""

import torch
from torch import Tensor

__all__ = [
    "absolute_costs",
    "architecture_loss",
    "hinge_costs",
    "importance_weights",
    "sample_weights",
]


def importance_weights(log_likelihood_K: Tensor) -> Tensor:
    """Self-normalised weights of K sampled architectures.

    Source: FP-NAS, Eq. 7, first term of m_k. In log space: likelihoods of a batch underflow.

    Args:
        log_likelihood_K: log-likelihood of a validation batch under each sample, nats, shape (K,).

    Returns:
        Detached float64 weights, shape (K,), non-negative, summing to 1.

    Raises:
        ValueError: K is 0, a value is NaN or positive infinity, or every one is negative infinity.
    """
    values_K = log_likelihood_K.detach().double()
    if values_K.dim() != 1 or len(values_K) == 0:
        raise ValueError(f"log_likelihood_K of shape {tuple(values_K.shape)}: expected (K,) with K of at least 1")
    if not torch.isfinite(values_K.max()):
        raise ValueError("log_likelihood_K: NaN, positive infinity or no finite value at all")
    return values_K.softmax(0)


def hinge_costs(cost_K: Tensor, target: float) -> Tensor:
    """Relative excess over the target, max(0, cost / target - 1).

    Source: FP-NAS, section 3.4.

    Args:
        cost_K: costs in the target's unit, shape (K,).
        target: above 0.

    Returns:
        Detached float64, shape (K,).

    Raises:
        ValueError: the target is not above 0.
    """
    return _relative_distance(cost_K, target).clamp(min=0.0)


def absolute_costs(cost_K: Tensor, target: float) -> Tensor:
    """Relative distance from the target on either side, `|cost / target - 1|`.

    Source: TuNAS (CVPR 2020): one search lands on the budget, where a hinge stays anywhere below it.

    Args:
        cost_K: costs in the target's unit, shape (K,).
        target: above 0.

    Returns:
        Detached float64, shape (K,).

    Raises:
        ValueError: the target is not above 0.
    """
    return _relative_distance(cost_K, target).abs()


def sample_weights(log_likelihood_K: Tensor, cost_K: Tensor, beta: float) -> Tensor:
    """Weights m_k = p_k - beta * c_k / sum_k c_k of the architecture gradient.

    Source: FP-NAS, Eq. 7. The second term is zero when every cost is.

    Args:
        log_likelihood_K: log-likelihood of a validation batch under each sample, nats, shape (K,).
        cost_K: non-negative costs c_k without unit, such as `hinge_costs`, shape (K,).
        beta: weight of the cost against the likelihood.

    Returns:
        Detached float64, shape (K,).

    Raises:
        ValueError: unusable log-likelihoods, or costs of another shape, negative or not finite.
    """
    weight_K = importance_weights(log_likelihood_K)
    cost_K = cost_K.detach().double()
    if cost_K.shape != weight_K.shape:
        raise ValueError(f"cost_K of shape {tuple(cost_K.shape)}: expected {tuple(weight_K.shape)}")
    if not torch.isfinite(cost_K).all() or (cost_K < 0).any():
        raise ValueError("cost_K: a value is negative or not finite")
    total = cost_K.sum()
    return weight_K - beta * cost_K / total if total > 0 else weight_K


def architecture_loss(weight_K: Tensor, log_prob_K: Tensor) -> Tensor:
    """sum_k m_k * (-log P(A_k)): its gradient is that of the architecture parameters.

    Source: FP-NAS, Eq. 6 and 7.

    Args:
        weight_K: m_k, treated as constants, shape (K,).
        log_prob_K: log P(A_k) under the current distribution, nats, shape (K,).

    Returns:
        Shape ().
    """
    return -(weight_K.detach() * log_prob_K).sum()


def _relative_distance(cost_K: Tensor, target: float) -> Tensor:
    if not target > 0:
        raise ValueError(f"target {target}: a number above 0 is expected")
    return cost_K.detach().double() / target - 1.0
