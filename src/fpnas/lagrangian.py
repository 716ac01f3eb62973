"""Bounds for paths through a layered graph under a limit on their cost: Viterbi passes.

With a multiplier x >= 0, the least regret + x * (cost - highest) over all paths, of any cost, is at most
the regret of any path that costs at most `highest`.

Shapes: J elements of a layer, P states before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Integers", "Layer", "best_multiplier", "cheapest_costs", "values_before", "viterbi"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """Elements of which a path takes one.

    Attributes:
        elements: their names, ascending, shape (J,).
        regret: non-negative, shape (J,).
        cost: by the state before, shape (P, J).
        state: where an element leads to, shape (J,).
    """

    elements: Integers
    regret: Floats
    cost: Integers
    state: Integers


def cheapest_costs(layers: Sequence[Layer], last: Integers) -> list[Integers]:
    """The smallest cost from every layer's states to the end.

    Args:
        layers: the graph.
        last: cost of ending in each state of the last layer.

    Returns:
        One array (P,) per layer, then `last`.
    """
    values = [last]
    for layer in reversed(layers):
        values.append((layer.cost + values[-1][layer.state]).min(axis=1))
    return values[::-1]


def viterbi(
    layers: Sequence[Layer], last: Integers, weight: float, regret_weight: float = 1.0
) -> tuple[float, int, list[Floats]]:
    """The path of least regret_weight * regret + weight * cost.

    Returns:
        Its regret, its cost, and the least such sum from the states of every layer, as in `cheapest_costs`.
    """
    values: list[Floats] = [np.asarray(weight * last, dtype=np.float64)]
    regret, cost = np.zeros(len(last)), last
    for layer in reversed(layers):
        totals = regret_weight * layer.regret + weight * layer.cost + values[-1][layer.state]
        best = totals.argmin(axis=1)
        rows = np.arange(len(best))
        values.append(totals[rows, best])
        regret = layer.regret[best] + regret[layer.state[best]]
        cost = layer.cost[rows, best] + cost[layer.state[best]]
    return float(regret[0]), int(cost[0]), values[::-1]


def best_multiplier(layers: Sequence[Layer], last: Integers, highest: int) -> tuple[float, float]:
    """The multiplier with the highest Lagrangian bound on the regret, and that bound.

    Args:
        layers: the graph.
        last: cost of ending in each state of the last layer.
        highest: limit of the total cost, which some path meets.

    Returns:
        The multiplier, non-negative, and the bound.
    """
    outside = viterbi(layers, last, 0.0)[:2]
    if outside[1] <= highest:
        return 0.0, 0.0
    inside = viterbi(layers, last, 1.0, regret_weight=0.0)[:2]
    # Walk along the convex hull of (cost, regret) to the edge that crosses the limit.
    while True:
        multiplier = (inside[0] - outside[0]) / (outside[1] - inside[1])
        regret, cost, _ = viterbi(layers, last, multiplier)
        gain = outside[0] + multiplier * outside[1] - (regret + multiplier * cost)
        if gain <= 1e-9 * (1.0 + outside[0]) or (regret, cost) in (inside, outside):
            return multiplier, outside[0] + multiplier * (outside[1] - highest)
        if cost <= highest:
            inside = (regret, cost)
        else:
            outside = (regret, cost)


def values_before(layers: Sequence[Layer], last: Integers, weight: float) -> list[Floats]:
    """The least regret + weight * cost from the start to every layer's states, infinite where none leads."""
    values: list[Floats] = [np.zeros(1)]
    sizes = [len(layer.cost) for layer in layers[1:]] + [len(last)]
    for layer, size in zip(layers, sizes, strict=True):
        best_J = (layer.regret + weight * layer.cost + values[-1][:, None]).min(axis=0)
        reached = np.full(size, np.inf)
        np.minimum.at(reached, layer.state, best_J)
        values.append(reached)
    return values
