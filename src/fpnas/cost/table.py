"""Costs of many architectures at once, from tables per group and neighbouring choice.

A cost that adds up over blocks depends, for one group, on the group's own choices and on the channels that
the group before it chose. So a table per group with a row per channel choice of its predecessor and a column
per element of the group's product holds all there is to know; costs of a batch are look-ups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.cost.base import Cost
from fpnas.cost.blocks import BlockArrays, first_blocks, later_blocks
from fpnas.cost.counts import MACS
from fpnas.network_spec import resolve
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

    @cached_property
    def _flat(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All groups' tables in one row, where each begins (G,), how long its rows are (G,), strides (G, V)."""
        sizes_GV = torch.tensor(self.cardinalities)
        begin_G = torch.tensor([0, *(table.numel() for table in self.table[:-1])]).cumsum(0)
        stride_GV = sizes_GV.flip(1).cumprod(1).flip(1) // sizes_GV
        return torch.cat([table.flatten() for table in self.table]), begin_G, sizes_GV.prod(1), stride_GV

    def cost(self, indices_KGV: Tensor) -> Tensor:
        """Costs of architectures given as choice indices (K, G, V): int64, shape (K,)."""
        values, begin_G, width_G, stride_GV = self._flat
        channels_KG = indices_KGV[..., _CHANNELS]
        before_KG = F.pad(channels_KG[:, :-1], (1, 0))
        places_KG = begin_G + before_KG * width_G + (indices_KGV * stride_GV).sum(-1)
        return values[places_KG].sum(1) + self.head[channels_KG[:, -1]] + self.prefix_cost

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
    cost: Cost = MACS,
) -> CostTable:
    """The table of a cost for a space and an input.

    Args:
        space: the search space.
        input_size, in_channels, num_classes: of the data; the space's defaults when left out.
        cost: what to add up; multiply-adds when left out.

    Raises:
        UserError: the input is too small for the space's strides.
    """
    data = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}
    first = Architecture(tuple((0,) * len(VARIABLES) for _ in space.groups))
    base = resolve(space, first, **data)
    costs_of = (
        partial(_costs_of_arrays, cost.block) if cost.takes_arrays else partial(_costs_one_by_one, cache(cost.block))
    )
    tables: list[Tensor] = []
    widths_before: tuple[int, ...] = (space.stem.channels,)
    block_number = 0
    for group in space.groups:
        block = base.blocks[block_number]
        costs = costs_of(first_blocks(group, widths_before, block.in_size))
        if group.repeat > 1:
            costs = costs + (group.repeat - 1) * costs_of(later_blocks(group, block.out_size))
        tables.append(torch.from_numpy(costs.reshape(len(widths_before), -1)))
        widths_before = group.values("channels")
        block_number += group.repeat
    heads = []
    for index in range(len(widths_before)):
        last_row = (*first.indices[-1][:_CHANNELS], index)
        heads.append(cost.head(resolve(space, Architecture((*first.indices[:-1], last_row)), **data)))
    return CostTable(
        prefix_cost=cost.stem(base),
        table=tuple(tables),
        head=torch.tensor(heads, dtype=torch.int64),
        cardinalities=space.cardinalities,
    )


def _costs_of_arrays(block_cost: Callable[[Any], int], blocks: BlockArrays) -> NDArray[np.int64]:
    return np.array(np.broadcast_to(block_cost(blocks), blocks.shape), dtype=np.int64)


def _costs_one_by_one(block_cost: Callable[[Any], int], blocks: BlockArrays) -> NDArray[np.int64]:
    return np.array([block_cost(block) for block in blocks.one_by_one()], dtype=np.int64).reshape(blocks.shape)
