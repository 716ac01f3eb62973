"""The path of least regret through a layered graph whose total cost is within a limit, found exactly.

Labels (partial paths, with a regret, a cost and a state) are extended layer by layer. Three reasons drop one:

- another label of its state is as good in regret and no dearer (dominance);
- no completion of it ends within the limit;
- the Lagrangian relaxation proves every completion of it worse than what is known already.

A narrow beam finds a good path first; it widens until nothing is dropped for lack of room: that is the proof.
Regrets are rounded to whole multiples of a tiny unit: sums are then exact, and ties are ties in whatever
order they were added up.

Shapes: J elements of a layer, P states before it, L labels.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpnas.lagrangian import Floats, Integers, Layer, best_multiplier, cheapest_costs, values_before, viterbi

__all__ = ["Path", "best_path"]

_FIRST_WIDTH = 64
_WIDENING = 4
_EXTENSIONS_AT_ONCE = 1 << 20
_SIGNIFICANT_BITS = 44
# Bounds around the best multiplier as well: labels differ in the budget that they have left.
_MULTIPLIER_FACTORS = (2.0, 1.3, 1.1, 1.0, 0.9, 0.75, 0.5)


class Path(NamedTuple):
    """One element per layer; a better path is one of less regret, then of less cost, then of earlier elements."""

    regret: float
    cost: int
    elements: tuple[int, ...]


def best_path(layers: Sequence[Layer], last: Integers, highest: int) -> Path:
    """The path of least regret with a cost of at most `highest`; of equal ones the cheapest, then the first.

    Args:
        layers: the graph; regrets of each layer start at 0.
        last: cost of ending in each state of the last layer.
        highest: limit of the total cost, which some path meets.
    """
    multiplier, bound = best_multiplier(layers, last, highest)
    unit = 2.0 ** (math.ceil(math.log2(max(1.0, bound))) - _SIGNIFICANT_BITS)
    layers = [replace(layer, regret=np.round(layer.regret / unit)) for layer in layers]
    search = _Search(layers, last, highest, multiplier / unit)
    best, complete = search.run(math.inf, _FIRST_WIDTH)
    assert best is not None, "every label can end within the limit"
    width = _FIRST_WIDTH
    while not complete:
        width *= _WIDENING
        found, complete = search.run(best.regret, width)
        best = best if found is None else min(best, found)
    return best._replace(regret=best.regret * unit)


class _Labels(NamedTuple):
    """Partial paths, ordered by their elements; every array has shape (L,).

    `parent` is a position among the labels of the layer before, `element` among the layer's elements.
    """

    parent: Integers
    element: Integers
    state: Integers
    regret: Floats
    cost: Integers

    def take(self, selection: Any) -> "_Labels":
        return _Labels(*(values[selection] for values in self))


class _Search:
    """The graph with all bounds that do not depend on what is known."""

    def __init__(self, layers: Sequence[Layer], last: Integers, highest: int, multiplier: float) -> None:
        self.layers, self.highest = layers, highest
        self.cheapest_rest = cheapest_costs(layers, last)
        self.multipliers = [*(multiplier * factor for factor in _MULTIPLIER_FACTORS), 0.0] if multiplier else [0.0]
        self.rest = [viterbi(layers, last, weight)[2] for weight in self.multipliers]
        self.before = [values_before(layers, last, weight) for weight in self.multipliers]
        # What rounding can add up to, generously; sums without cost are exact.
        self.margins = [
            2.0**-45 * (max(np.abs(v).max() for v in rest) + abs(weight * highest)) if weight else 0.0
            for weight, rest in zip(self.multipliers, self.rest, strict=True)
        ]

    def run(self, worst_useful: float, width: int) -> tuple[Path | None, bool]:
        """The best path of the beam, if any of use is left in it, and whether none better can be missing.

        Args:
            worst_useful: the highest regret of use, that of a path which is known.
            width: labels to keep per layer.
        """
        start = np.zeros(1, dtype=np.int64)
        labels = _Labels(start, start, start, np.zeros(1), start)
        trace, complete = [], True
        for depth, layer in enumerate(self.layers):
            labels = self._extend(depth, layer, labels, worst_useful)
            labels = labels.take(self._undominated(labels))
            if len(labels.cost) > width:
                labels = labels.take(self._most_promising(depth + 1, labels, width))
                complete = False
            trace.append(labels)
        if not len(labels.cost):  # what looked most promising was not, and the path that is known was dropped for it
            return None, complete
        total = labels.cost + self.cheapest_rest[-1][labels.state]
        best = at = int(np.lexsort((total, labels.regret))[0])
        elements = []
        for layer, step in zip(reversed(self.layers), reversed(trace), strict=True):
            elements.append(int(layer.elements[step.element[at]]))
            at = step.parent[at]
        return Path(float(labels.regret[best]), int(total[best]), tuple(elements[::-1])), complete

    def _extend(self, depth: int, layer: Layer, labels: _Labels, worst_useful: float) -> _Labels:
        """All extensions by one element that can still end within the limit and be of use."""
        useful_PJ = self._useful_elements(depth, layer, worst_useful)
        sizes_P = useful_PJ.sum(axis=1)
        begin_P = np.cumsum(sizes_P) - sizes_P
        flat_elements = np.nonzero(useful_PJ)[1]
        ends_L = np.cumsum(sizes_P[labels.state])
        parts = []
        first = 0
        while first < len(ends_L):
            done = ends_L[first - 1] if first else 0
            stop = max(first + 1, int(np.searchsorted(ends_L, done + _EXTENSIONS_AT_ONCE, side="right")))
            parents = np.arange(first, stop)
            sizes_L = sizes_P[labels.state[parents]]
            parent = np.repeat(parents, sizes_L)
            nth = np.arange(len(parent)) - np.repeat(np.cumsum(sizes_L) - sizes_L, sizes_L)
            element = flat_elements[begin_P[labels.state[parent]] + nth]
            extended = _Labels(
                parent,
                element,
                layer.state[element],
                labels.regret[parent] + layer.regret[element],
                labels.cost[parent] + layer.cost[labels.state[parent], element],
            )
            parts.append(extended.take(self._useful(depth + 1, extended, worst_useful)))
            first = stop
        return _Labels(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else labels

    def _useful_elements(self, depth: int, layer: Layer, worst_useful: float) -> NDArray[np.bool_]:
        """(P, J): whether the best path through an element can be of use."""
        useful_PJ = np.ones(layer.cost.shape, dtype=bool)
        for weight, before, rest, margin in zip(self.multipliers, self.before, self.rest, self.margins, strict=True):
            through_PJ = layer.regret + weight * layer.cost + rest[depth + 1][layer.state]
            useful_PJ &= through_PJ + before[depth][:, None] - weight * self.highest - margin <= worst_useful
        return useful_PJ

    def _useful(self, depth: int, labels: _Labels, worst_useful: float) -> Integers:
        """Positions of the labels that can end within the limit, with a regret of use."""
        positions = np.flatnonzero(labels.cost + self.cheapest_rest[depth][labels.state] <= self.highest)
        if worst_useful == math.inf:
            return positions
        return positions[self._bound(depth, labels.take(positions)) <= worst_useful]

    def _bound(self, depth: int, labels: _Labels) -> Floats:
        """Less than this regret no completion within the limit can have, shape (L,)."""
        bound = np.zeros(len(labels.cost))
        for weight, rest, margin in zip(self.multipliers, self.rest, self.margins, strict=True):
            value = labels.regret + rest[depth][labels.state] - margin
            np.maximum(bound, value + weight * (labels.cost - self.highest) if weight else value, out=bound)
        return bound

    def _undominated(self, labels: _Labels) -> Integers:
        """Positions of the labels that no other of their state can replace at no loss."""
        order = np.lexsort((labels.cost, labels.regret, labels.state))
        kept = []
        for segment in np.split(order, np.flatnonzero(np.diff(labels.state[order])) + 1):
            cost = labels.cost[segment]
            # Ordered by regret, then cost: who is dearer than one before, or as dear, is of no use.
            cheaper = np.ones(len(cost), dtype=bool)
            cheaper[1:] = cost[1:] < np.minimum.accumulate(cost)[:-1]
            kept.append(segment[cheaper])
        return np.sort(np.concatenate(kept))

    def _most_promising(self, depth: int, labels: _Labels, width: int) -> Integers:
        return np.sort(np.lexsort((labels.cost, self._bound(depth, labels)))[:width])
