"""Costs of many architectures at once, from tables per group and neighbouring choice.

A cost that adds up over blocks depends, for one group, on the group's own choices and on the channels that
the group before it chose. So a table per group with a row per channel choice of its predecessor and a column
per element of the group's product holds all there is to know; costs of a batch are look-ups.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.cost.counts import BlockCost, block_cost, head_cost, stem_cost
from fpnas.network_spec import BlockSpec, resolve
from fpnas.space import VARIABLES, SearchSpace

__all__ = ["CostTable", "build_cost_table"]

_CHANNELS = VARIABLES.index("channels")


@dataclass(frozen=True)
class CostTable:
    """An additive cost of every architecture of a space, exact integers.

    Attributes:
        prefix_cost: what every architecture pays (the stem).
        table: per group, shape (channel choices of the group before, product of the group's choices).
        head: by the last group's channel choice, shape (channel choices,).
        cardinalities: number of values per group and choice, shape (G, V).
    """

    prefix_cost: int
    table: tuple[Tensor, ...]
    head: Tensor
    cardinalities: tuple[tuple[int, ...], ...]

    def cost(self, indices_KGV: Tensor) -> Tensor:
        """Costs of architectures given as choice indices (K, G, V): int64, shape (K,)."""
        total = self.head[indices_KGV[:, -1, _CHANNELS]] + self.prefix_cost
        previous = torch.zeros_like(indices_KGV[:, 0, 0])
        for group, sizes in enumerate(self.cardinalities):
            joint = torch.zeros_like(previous)
            for variable, size in enumerate(sizes):
                joint = joint * size + indices_KGV[:, group, variable]
            total = total + self.table[group][previous, joint]
            previous = indices_KGV[:, group, _CHANNELS]
        return total

    def expected(self, group_log_probs: Sequence[Tensor]) -> float:
        """Exact mean cost under a distribution with independent groups.

        Args:
            group_log_probs: log-probability of every element of each group's product, shapes (J_g,).
        """
        total = float(self.prefix_cost)
        previous = torch.ones(1, dtype=torch.float64)
        for table, sizes, log_probs in zip(self.table, self.cardinalities, group_log_probs, strict=True):
            probabilities = log_probs.detach().exp()
            total += float(previous @ table.double() @ probabilities)
            previous = probabilities.view(-1, sizes[_CHANNELS]).sum(0)
        return total + float(previous @ self.head.double())

    def minimum(self) -> int:
        """Cost of the cheapest architecture, exactly (dynamic programming over groups)."""
        return self._extreme(torch.amin)

    def maximum(self) -> int:
        """Cost of the dearest architecture, exactly."""
        return self._extreme(torch.amax)

    def _extreme(self, reduce: Callable[..., Tensor]) -> int:
        best_to_come = self.head
        for table, sizes in zip(reversed(self.table), reversed(self.cardinalities), strict=True):
            by_channels = table.view(table.shape[0], -1, sizes[_CHANNELS])
            best_to_come = reduce(by_channels + best_to_come, dim=(1, 2))
        return self.prefix_cost + int(best_to_come[0])


def build_cost_table(
    space: SearchSpace,
    *,
    input_size: int | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    quantity: Callable[[BlockCost], int] = lambda part: part.macs,
) -> CostTable:
    """The table of a cost for a space and an input.

    Args:
        space: the search space.
        input_size, in_channels, num_classes: of the data; the space's defaults when left out.
        quantity: the number to add up, from a part's cost; multiply-adds when left out.

    Raises:
        UserError: the input is too small for the space's strides.
    """
    first = Architecture(tuple((0,) * len(VARIABLES) for _ in space.groups))
    base = resolve(space, first, input_size=input_size, in_channels=in_channels, num_classes=num_classes)
    tables: list[Tensor] = []
    widths_before: Sequence[int] = (space.stem.channels,)
    block_number = 0
    for group in space.groups:
        size = base.blocks[block_number].in_size
        rows = []
        for width in widths_before:
            row = []
            for values in itertools.product(*(choice.values for choice in group.choices)):
                row.append(_group_cost(values, group.repeat, group.stride, width, size, quantity))
            rows.append(row)
        tables.append(torch.tensor(rows, dtype=torch.int64))
        widths_before = group.values("channels")
        block_number += group.repeat
    heads = []
    for index in range(len(widths_before)):
        last_row = (*first.indices[-1][:_CHANNELS], index)
        spec = resolve(
            space,
            Architecture((*first.indices[:-1], last_row)),
            input_size=input_size,
            in_channels=in_channels,
            num_classes=num_classes,
        )
        heads.append(quantity(head_cost(spec)))
    return CostTable(
        prefix_cost=quantity(stem_cost(base)),
        table=tuple(tables),
        head=torch.tensor(heads, dtype=torch.int64),
        cardinalities=space.cardinalities,
    )


def _group_cost(
    values: tuple, repeat: int, stride: int, width: int, size: int, quantity: Callable[[BlockCost], int]
) -> int:
    """Cost of a group's blocks for one element of its product, after `width` channels at `size` pixels."""
    kernel, activation, splits, expansion, channels = values
    first = BlockSpec(kernel, activation, splits, expansion, width, channels, stride, size)
    total = quantity(block_cost(first))
    if repeat > 1:
        other = BlockSpec(kernel, activation, splits, expansion, channels, channels, 1, first.out_size)
        total += (repeat - 1) * quantity(block_cost(other))
    return total
