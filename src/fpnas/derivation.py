"""The most probable architectures within a cost budget, found exactly.

Groups are independent and the cost adds up over groups, but a group's cost also depends on the channels of
the group before. So this is a shortest path under a limit on cost, in a graph with one layer per group and
one state per channel choice. A choice's regret is the log-probability that it lacks to its group's best.

Shapes: G groups, V variables, J elements of a group's product, P channel choices of the group before.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpnas.constrained_paths import best_paths
from fpnas.distribution import Distribution
from fpnas.errors import UserError
from fpnas.lagrangian import Layer, extreme_costs

__all__ = ["AdditiveCost", "Derived", "most_probable_within"]


class AdditiveCost(Protocol):
    """An exact whole-number cost that adds up over groups.

    Attributes:
        prefix_cost: what every architecture pays.
        table: per group, int64, shape (P, J), channels fastest in J; P is 1 for the first group.
        head: by the last group's channel choice, int64, shape (channel choices,).
    """

    @property
    def prefix_cost(self) -> int: ...
    @property
    def table(self) -> Sequence[NDArray[np.int64]]: ...
    @property
    def head(self) -> NDArray[np.int64]: ...


class Derived(NamedTuple):
    """An architecture, its cost and its log-probability in nats; indices are int64, shape (G, V)."""

    indices: Tensor
    cost: int
    log_prob: float


def most_probable_within(
    distribution: Distribution, table: AdditiveCost, target: int, *, count: int = 1, minimum: int = 0
) -> list[Derived]:
    """The most probable architectures whose cost is at most a target, exactly.

    Args:
        distribution: over the space that the table is for; architectures of probability 0 don't count.
        table: an additive cost.
        target: largest cost, in the table's unit.
        count: how many architectures at most.
        minimum: smallest cost, in the table's unit.

    Returns:
        Up to `count` distinct architectures, the most probable first. Of equally probable ones, those of the
        lowest cost and then the lowest index come first. Only where a `minimum` excludes some of them, which
        of the others are returned is deterministic but not by cost: that would be a subset-sum problem.

    Raises:
        UserError: nothing fits, with the smallest reachable cost, or the range of costs is too narrow.
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"count {count}: at least 1 is expected")
    layers = []
    for group, log_prob_J in enumerate(distribution.group_log_probs()):
        values = log_prob_J.detach().numpy()
        possible = np.flatnonzero(np.isfinite(values))
        layers.append(
            Layer(
                elements=possible,
                regret=values.max() - values[possible],
                cost=table.table[group][:, possible],
                state=possible % distribution.cardinalities[group][-1],
            )
        )
    last, prefix = table.head, int(table.prefix_cost)
    smallest = prefix + int(extreme_costs(layers, last, np.min)[0][0])
    largest = prefix + int(extreme_costs(layers, last, np.max)[0][0])
    if target < smallest:
        raise UserError(f"target {target}: the smallest reachable cost is {smallest}")
    if minimum > min(target, largest):
        raise UserError(f"minimum {minimum}: it is above the target {target} or the largest reachable cost {largest}")
    paths = best_paths(layers, last, int(target) - prefix, int(minimum) - prefix, count)
    if not paths:
        reachable = f"the smallest reachable cost is {smallest}"
        raise UserError(f"target {target}, minimum {minimum}: no architecture costs that, {reachable}")
    cardinalities = distribution.cardinalities
    indices_KGV = torch.tensor(
        [[np.unravel_index(j, row) for j, row in zip(path.elements, cardinalities, strict=True)] for path in paths]
    )
    with torch.no_grad():
        log_prob_K = distribution.log_prob(indices_KGV).tolist()
    return [
        Derived(indices, path.cost + prefix, log_prob)
        for indices, path, log_prob in zip(indices_KGV, paths, log_prob_K, strict=True)
    ]
