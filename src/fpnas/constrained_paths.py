"""The least-regret paths through a layered graph whose total cost lies within a range, found exactly.

Labels (partial paths, with a regret, a cost and a state) are extended layer by layer. Three reasons drop one:

- enough other labels of its state are as good in regret and can do all that it can (dominance);
- no completion of it ends within the range of costs;
- the Lagrangian relaxation proves every completion of it worse than what is known already.

A narrow beam finds good paths first; it widens until nothing is dropped for lack of room: that is the proof.
Regrets are rounded to whole multiples of a tiny unit: sums are then exact, and ties are ties in whatever
order they were added up.

Shapes: J elements of a layer, P states before it, L labels.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpnas.errors import UserError
from fpnas.lagrangian import Floats, Integers, Layer, best_multiplier, extreme_costs, values_before, viterbi

__all__ = ["Path", "best_paths"]

_FIRST_WIDTH = 64
_WIDENING = 4
_MOST_LABELS = 3_000_000
_EXTENSIONS_AT_ONCE = 1 << 20
_SIGNIFICANT_BITS = 44
# Bounds around the best multiplier as well: labels differ in the budget that they have left.
_MULTIPLIER_FACTORS = (1.0, 0.9, 1.1, 0.75, 1.3, 0.5, 2.0)


class Path(NamedTuple):
    """One element per layer, ordered by regret, then cost, then elements."""

    regret: float
    cost: int
    elements: tuple[int, ...]


def best_paths(layers: Sequence[Layer], last: Integers, highest: int, lowest: int, count: int) -> list[Path]:
    """Up to `count` paths of least regret with a cost of at least `lowest` and at most `highest`.

    Args:
        layers: the graph; regrets of each layer start at 0.
        last: cost of ending in each state of the last layer.
        highest, lowest: range of the total cost.
        count: how many paths.

    Returns:
        Paths in order; of equal regret the cheapest, then the first in elements, come first and are chosen.
        Where `lowest` excludes some, others of equal regret may have been chosen.

    Raises:
        UserError: proving the result needs too many labels.
    """
    known: list[Path] = []
    cheapest = int(extreme_costs(layers, last, np.min)[0][0])
    if lowest > cheapest:
        # Without a minimum it is far easier, and often enough: where the budget binds, the best use it up.
        for wanted in (count, 4 * count, 16 * count):
            relaxed = best_paths(layers, last, highest, cheapest, wanted)
            known = [path for path in relaxed if path.cost >= lowest][:count]
            if len(known) == count or len(relaxed) < wanted:
                return known
            if 4 * len(known) < len(relaxed):
                break
    multiplier, bound = best_multiplier(layers, last, highest, lowest)
    unit = 2.0 ** (math.ceil(math.log2(max(1.0, bound))) - _SIGNIFICANT_BITS)
    layers = [replace(layer, regret=np.round(layer.regret / unit)) for layer in layers]
    known = [path._replace(regret=_regret(layers, path.elements)) for path in known]
    search = _Search(layers, last, highest, lowest, count, multiplier / unit)
    for step in itertools.count():
        width = min(max(_FIRST_WIDTH, 2 * count) * _WIDENING**step, _MOST_LABELS)
        worst_useful = known[count - 1].regret if len(known) >= count else math.inf
        # Where ties are not chosen by cost, nothing is to be gained from another path of the same regret.
        found, complete = search.run(worst_useful - search.binding_minimum, width)
        known = sorted({*known, *found})[:count]
        if complete:
            break
        if width == _MOST_LABELS:
            raise UserError("the range of costs is too narrow to be searched exactly, a lower minimum is needed")
    return [path._replace(regret=path.regret * unit) for path in known]


def _regret(layers: Sequence[Layer], elements: Sequence[int]) -> float:
    pairs = zip(layers, elements, strict=True)
    return float(sum(layer.regret[np.searchsorted(layer.elements, element)] for layer, element in pairs))


def _first_smaller(values: Integers, count: int) -> NDArray[np.bool_]:
    """Where fewer than `count` earlier values are at most as large."""
    keep = np.zeros(len(values), dtype=bool)
    keep[:count] = True
    if count == 1:
        keep[1:] = values[1:] < np.minimum.accumulate(values)[:-1]
        return keep
    smallest = sorted(values[:count].tolist())
    start, size = count, 256
    while start < len(values):
        for offset in np.flatnonzero(values[start : start + size] < smallest[-1]).tolist():
            value = int(values[start + offset])
            if value < smallest[-1]:
                keep[start + offset] = True
                smallest.pop()
                bisect.insort(smallest, value)
        start, size = start + size, 2 * size
    return keep


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

    def __init__(
        self,
        layers: Sequence[Layer],
        last: Integers,
        highest: int,
        lowest: int,
        count: int,
        multiplier: float,
    ) -> None:
        self.layers, self.highest, self.lowest, self.count = layers, highest, lowest, count
        self.cheapest_rest = extreme_costs(layers, last, np.min)
        self.dearest_rest = extreme_costs(layers, last, np.max)
        self.binding_minimum = lowest > int(self.cheapest_rest[0][0])
        weights = sorted({0.0, *(multiplier * factor for factor in _MULTIPLIER_FACTORS)}, key=lambda w: -abs(w))
        self.multipliers = [(w, highest if w >= 0 else lowest) for w in weights]
        self.rest = [viterbi(layers, last, w)[2] for w in weights]
        self.before = [values_before(layers, last, w) for w in weights]
        # What rounding can add up to, generously; sums without cost are exact.
        self.margins = [
            2.0**-45 * (max(np.abs(v).max() for v in rest) + abs(w * limit)) if w else 0.0
            for (w, limit), rest in zip(self.multipliers, self.rest, strict=True)
        ]

    def run(self, worst_useful: float, width: int) -> tuple[list[Path], bool]:
        """Paths of a regret up to `worst_useful`, and whether none that is needed can be missing.

        Args:
            worst_useful: the highest regret of use.
            width: labels to keep per layer.
        """
        start = np.zeros(1, dtype=np.int64)
        labels = _Labels(start, start, start, np.zeros(1), start)
        trace, complete = [], True
        for depth, layer in enumerate(self.layers):
            labels = self._extend(depth, layer, labels, worst_useful)
            labels = labels.take(self._undominated(depth + 1, labels))
            if len(labels.cost) > width:
                labels = labels.take(self._most_promising(depth + 1, labels, width))
                complete = False
            trace.append(labels)
        total = labels.cost + self.cheapest_rest[-1][labels.state]
        paths = []
        for position in np.lexsort((total, labels.regret))[: self.count].tolist():
            elements, at = [], position
            for layer, step in zip(reversed(self.layers), reversed(trace), strict=True):
                elements.append(int(layer.elements[step.element[at]]))
                at = step.parent[at]
            paths.append(Path(float(labels.regret[position]), int(total[position]), tuple(elements[::-1])))
        return paths, complete

    def _extend(self, depth: int, layer: Layer, labels: _Labels, worst_useful: float) -> _Labels:
        """All extensions by one element that can still end within the range and be of use."""
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
        for (weight, limit), before, rest, margin in zip(
            self.multipliers, self.before, self.rest, self.margins, strict=True
        ):
            through_PJ = layer.regret + weight * layer.cost + rest[depth + 1][layer.state]
            useful_PJ &= through_PJ + before[depth][:, None] - weight * limit - margin <= worst_useful
        return useful_PJ

    def _useful(self, depth: int, labels: _Labels, worst_useful: float) -> Integers:
        """Positions of the labels that can end within the range, with a regret of use."""
        keep = labels.cost + self.cheapest_rest[depth][labels.state] <= self.highest
        if self.binding_minimum:
            keep &= labels.cost + self.dearest_rest[depth][labels.state] >= self.lowest
        positions = np.flatnonzero(keep)
        if worst_useful == math.inf:
            return positions
        return positions[self._bound(depth, labels.take(positions)) <= worst_useful]

    def _bound(self, depth: int, labels: _Labels) -> Floats:
        """Less than this regret no completion within the range can have, shape (L,)."""
        bound = np.zeros(len(labels.cost))
        for (weight, limit), rest, margin in zip(self.multipliers, self.rest, self.margins, strict=True):
            value = labels.regret + rest[depth][labels.state] - margin
            np.maximum(bound, value + weight * (labels.cost - limit) if weight else value, out=bound)
        return bound

    def _undominated(self, depth: int, labels: _Labels) -> Integers:
        """Positions of the labels with fewer than `count` others that can replace them at no loss."""
        if not self.binding_minimum:
            return self._skyband(np.arange(len(labels.cost)), labels, labels.cost)
        # A cheaper label can replace a dearer one if it meets the minimum whatever follows, a dearer one a
        # cheaper one if it stays within the maximum whatever follows, and at equal cost one always can.
        positions = np.arange(len(labels.cost))
        safe = labels.cost + self.cheapest_rest[depth][labels.state] >= self.lowest
        positions = np.union1d(positions[~safe], self._skyband(positions[safe], labels, labels.cost))
        safe = (labels.cost + self.dearest_rest[depth][labels.state] <= self.highest)[positions]
        positions = np.union1d(positions[~safe], self._skyband(positions[safe], labels, -labels.cost))
        return self._best_of_equal_cost(positions, labels)

    def _skyband(self, positions: Integers, labels: _Labels, cost: Integers) -> Integers:
        state = labels.state[positions]
        order = positions[np.lexsort((cost[positions], labels.regret[positions], state))]
        kept = [
            segment[_first_smaller(cost[segment], self.count)]
            for segment in np.split(order, np.flatnonzero(np.diff(np.sort(state))) + 1)
            if len(segment)
        ]
        return np.sort(np.concatenate(kept)) if kept else positions

    def _best_of_equal_cost(self, positions: Integers, labels: _Labels) -> Integers:
        state, cost = labels.state[positions], labels.cost[positions]
        order = np.lexsort((labels.regret[positions], cost, state))
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(cost[order]) != 0) | (np.diff(state[order]) != 0)
        begin = np.flatnonzero(new)
        nth = np.arange(len(order)) - np.repeat(begin, np.diff(np.append(begin, len(order))))
        return np.sort(positions[order[nth < self.count]])

    def _most_promising(self, depth: int, labels: _Labels, width: int) -> Integers:
        tie_break = labels.cost.astype(np.float64)
        if self.binding_minimum:
            rest = self.cheapest_rest[depth] + self.dearest_rest[depth]
            tie_break = np.abs(2.0 * labels.cost + rest[labels.state] - self.highest - self.lowest)
        return np.sort(np.lexsort((tie_break, self._bound(depth, labels)))[:width])
