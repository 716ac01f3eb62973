"""Costs of many architectures at once, from tables per group and neighbouring choice.

A cost that adds up over blocks depends, for one group, on the group's own choices and on the channels that
the group before it chose. So a table per group with a row per channel choice of its predecessor and a column
per element of the group's product holds all there is to know; costs of a batch are look-ups.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fpnas.architecture import Architecture
from fpnas.cost.base import Cost
from fpnas.cost.blocks import BlockArrays, first_blocks, later_blocks
from fpnas.cost.counts import MACS
from fpnas.errors import UserError
from fpnas.network_spec import resolve
from fpnas.space import VARIABLES, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CostTable", "build_cost_table", "uniform_indices"]

_CHANNELS = VARIABLES.index("channels")


class GroupDistribution(Protocol):
    """What an expectation needs of `fpnas.distribution.Distribution`."""

    @property
    def first_of(self) -> tuple[int, ...]: ...
    def group_log_probs(self) -> "list[Tensor]": ...


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
    table: tuple[NDArray[np.int64], ...]
    head: NDArray[np.int64]
    cardinalities: tuple[tuple[int, ...], ...]

    @cached_property
    def _flat(self) -> tuple[NDArray[np.int64], ...]:
        """All groups' tables in one row, where each begins (G,), how long its rows are (G,), strides (G, V)."""
        sizes_GV = np.array(self.cardinalities)
        begin_G = np.cumsum([0, *(table.size for table in self.table[:-1])])
        stride_GV = np.cumprod(sizes_GV[:, ::-1], axis=1)[:, ::-1] // sizes_GV
        return np.concatenate([table.ravel() for table in self.table]), begin_G, sizes_GV.prod(axis=1), stride_GV

    def look_up(self, indices_KGV: NDArray[np.int64]) -> NDArray[np.int64]:
        """Costs of architectures given as choice indices (K, G, V): int64, shape (K,)."""
        values, begin_G, width_G, stride_GV = self._flat
        channels_KG = indices_KGV[..., _CHANNELS]
        before_KG = np.pad(channels_KG[:, :-1], ((0, 0), (1, 0)))
        places_KG = begin_G + before_KG * width_G + (indices_KGV * stride_GV).sum(axis=-1)
        return values[places_KG].sum(axis=1) + self.head[channels_KG[:, -1]] + self.prefix_cost

    def cost(self, indices_KGV: "Tensor") -> "Tensor":
        """`look_up` of a tensor on the CPU: int64, shape (K,)."""
        import torch

        return torch.from_numpy(self.look_up(indices_KGV.numpy()))

    def expected(self, distribution: GroupDistribution) -> float:
        """Exact mean cost under a distribution of independent groups, or of such that choose as the one before them."""
        total = float(self.prefix_cost)
        before_P = np.ones(1)
        for group, (table, sizes, log_prob_J) in enumerate(
            zip(self.table, self.cardinalities, distribution.group_log_probs(), strict=True)
        ):
            prob_J = np.exp(log_prob_J.detach().numpy())
            if distribution.first_of[group] == group:
                total += float(before_P @ table @ prob_J)
            else:
                elements = np.arange(len(prob_J))
                total += float(table[elements % sizes[_CHANNELS], elements] @ prob_J)
            before_P = prob_J.reshape(-1, sizes[_CHANNELS]).sum(axis=0)
        return total + float(before_P @ self.head)

    def minimum(self) -> int:
        """Cost of the cheapest architecture, exactly (dynamic programming over groups)."""
        return self._extreme(np.min)

    def maximum(self) -> int:
        """Cost of the dearest architecture, exactly."""
        return self._extreme(np.max)

    def _extreme(self, reduce: Callable[..., Any]) -> int:
        best_to_come = self.head
        for table, sizes in zip(reversed(self.table), reversed(self.cardinalities), strict=True):
            by_channels = table.reshape(len(table), -1, sizes[_CHANNELS])
            best_to_come = reduce(by_channels + best_to_come, axis=(1, 2))
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
        UserError: the input is too small for the space's strides; the cost gives something else than whole numbers.
    """
    data = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}
    first = Architecture(tuple((0,) * len(VARIABLES) for _ in space.groups))
    base = resolve(space, first, **data)
    whole = partial(_whole, cost.name)
    block_cost = cost.block if cost.takes_arrays else cache(cost.block)

    def costs_of(blocks: BlockArrays) -> NDArray[np.int64]:
        if cost.takes_arrays:
            return np.array(np.broadcast_to(whole(block_cost(blocks)), blocks.shape))
        return whole([block_cost(block) for block in blocks.one_by_one()]).reshape(blocks.shape)

    tables: list[NDArray[np.int64]] = []
    widths_before: tuple[int, ...] = (space.stem.channels,)
    block_number = 0
    for group in space.groups:
        block = base.blocks[block_number]
        costs = costs_of(first_blocks(group, widths_before, block.in_size))
        if group.repeat > 1:
            costs = costs + (group.repeat - 1) * costs_of(later_blocks(group, block.out_size))
        tables.append(costs.reshape(len(widths_before), -1))
        widths_before = group.values("channels")
        block_number += group.repeat
    heads = []
    for index in range(len(widths_before)):
        last_row = (*first.indices[-1][:_CHANNELS], index)
        heads.append(cost.head(resolve(space, Architecture((*first.indices[:-1], last_row)), **data)))
    return CostTable(
        prefix_cost=int(whole(cost.stem(base))),
        table=tuple(tables),
        head=whole(heads),
        cardinalities=space.cardinalities,
    )


def uniform_indices(space: SearchSpace, number: int) -> NDArray[np.int64]:
    """Architectures drawn uniformly with a fixed seed: indices of choices, shape (K, G, V)."""
    cardinalities_GV = np.array(space.cardinalities)
    return np.random.default_rng(0).integers(cardinalities_GV, size=(number, *cardinalities_GV.shape))


def _whole(cost: str, values: Any) -> NDArray[np.int64]:
    """Values as exact integers; a fraction must not be cut off in silence."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"cost {cost}: it gives values of type {array.dtype}: whole numbers of its unit are accepted")
    return array.astype(np.int64)
