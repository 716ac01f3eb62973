"""Oracles for small spaces: every architecture, and its probability from plain NumPy."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpnas.distribution import Distribution, Factorized, Joint, Tied

Cardinalities = Sequence[Sequence[int]]

# Ragged in every way: rows of other widths, variables without a choice.
RAGGED: Cardinalities = ((3, 2, 3, 2, 2), (2, 1, 2, 1, 3), (3, 2, 1, 1, 1))


def all_indices(cardinalities: Cardinalities) -> Tensor:
    """Every architecture in lexicographic order, shape (N, G, V)."""
    ranges = [range(c) for row in cardinalities for c in row]
    flat = np.array(list(itertools.product(*ranges)))
    return torch.from_numpy(flat.reshape(len(flat), len(cardinalities), -1))


def enumerated_probabilities(distribution: Distribution) -> NDArray[np.float64]:
    """Probabilities in the order of `all_indices`, from the logits alone."""
    logits = distribution.logits.detach().numpy()
    if isinstance(distribution, Tied):
        indices_NGV = all_indices(distribution.cardinalities).numpy()
        result = (indices_NGV == indices_NGV[:, distribution.first_of]).all((1, 2)).astype(np.float64)
        for g in set(distribution.first_of):
            for v, c in enumerate(distribution.cardinalities[g]):
                result *= _softmax(logits[g, v, :c])[indices_NGV[:, g, v]]
        return result
    result = np.ones(1)
    for g, row in enumerate(distribution.cardinalities):
        if isinstance(distribution, Joint):
            factors = [_softmax(logits[g, : math.prod(row)])]
        else:
            factors = [_softmax(logits[g, v, :c]) for v, c in enumerate(row)]
        for factor in factors:
            result = np.outer(result, factor).ravel()
    return result


def random_distribution(
    kind: type[Factorized] | type[Joint], cardinalities: Cardinalities, seed: int = 0
) -> Factorized | Joint:
    """A distribution with normally distributed logits, standard deviation 1.5."""
    generator = torch.Generator().manual_seed(seed)
    shape = kind(cardinalities).logits.shape
    return kind(cardinalities, 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64))


def random_tied(cardinalities: Cardinalities, first_of: Sequence[int], seed: int = 0) -> Tied:
    """The same, tied."""
    return Tied(cardinalities, first_of, random_distribution(Factorized, cardinalities, seed).logits)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()
