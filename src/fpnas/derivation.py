"""The most probable architecture within a cost budget, found exactly.

Groups are independent (those that choose alike are one) and the cost adds up over groups, but a group's cost also
depends on the channels of the group before. So this is a shortest path under a limit on cost, in a graph with one
layer per group and one state per channel choice. A choice's regret is the log-probability that it lacks to its group's
best.

Shapes: G groups, V variables, J elements of a group's product, P channel choices of the group before.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpnas.constrained_paths import best_path
from fpnas.distribution import Distribution, Tied
from fpnas.errors import UserError
from fpnas.lagrangian import Layer, cheapest_costs

__all__ = ["AdditiveCost", "Derived", "most_probable_or_untied", "most_probable_within"]


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


def most_probable_or_untied(
    distribution: Distribution, table: AdditiveCost, target: int
) -> tuple[Distribution, Derived]:
    """`most_probable_within`; of blocks that choose alike, where these cannot meet the target, each for itself.

    Returns:
        The distribution that the architecture is the most probable one of, and what was derived.
    """
    try:
        return distribution, most_probable_within(distribution, table, target)
    except UserError:
        if not isinstance(distribution, Tied):
            raise
    joint = distribution.to_joint()
    return joint, most_probable_within(joint, table, target)


def most_probable_within(distribution: Distribution, table: AdditiveCost, target: int) -> Derived:
    """The most probable architecture whose cost is at most a target, exactly.

    Args:
        distribution: over the space that the table is for; architectures of probability 0 don't count.
        table: an additive cost.
        target: largest cost, in the table's unit.

    Returns:
        The architecture; of equally probable ones that of the lowest cost, and then of the lowest index.

    Raises:
        UserError: nothing fits; it names the smallest reachable cost.
    """
    layers: list[Layer] = []
    layer_of_group = []
    for group, log_prob_J in enumerate(distribution.group_log_probs()):
        values = log_prob_J.detach().numpy()
        possible = np.flatnonzero(np.isfinite(values))
        if distribution.first_of[group] != group:  # what it costs behind itself comes with the choice of the first
            channels = possible % distribution.cardinalities[group][-1]
            layers[-1] = replace(layers[-1], cost=layers[-1].cost + table.table[group][channels, possible])
            layer_of_group.append(len(layers) - 1)
            continue
        layer_of_group.append(len(layers))
        layers.append(
            Layer(
                elements=possible,
                regret=values.max() - values[possible],
                cost=table.table[group][:, possible],
                state=possible % distribution.cardinalities[group][-1],
            )
        )
    last, prefix = table.head, int(table.prefix_cost)
    smallest = prefix + int(cheapest_costs(layers, last)[0][0])
    if target < smallest:
        raise UserError(f"target {target}: the smallest reachable cost is {smallest}")
    path = best_path(layers, last, int(target) - prefix)
    pairs = zip(layer_of_group, distribution.cardinalities, strict=True)
    indices_GV = torch.tensor([np.unravel_index(path.elements[layer], row) for layer, row in pairs])
    with torch.no_grad():
        log_prob = distribution.log_prob(indices_GV[None]).item()
    return Derived(indices_GV, path.cost + prefix, log_prob)
