"""All blocks that a group's choices can make, as integer arrays in the place of `BlockSpec`'s numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpnas.network_spec import BlockSpec, round_width, strided
from fpnas.space import VARIABLES, Group

__all__ = ["BlockArrays", "first_blocks", "later_blocks"]


@dataclass(frozen=True)
class BlockArrays:
    """Blocks under the names of `BlockSpec`, whose numbers are NumPy arrays here (typed Any, to take their place).

    The arrays broadcast to shape (P, *cardinalities), where P counts the widths that the group can be given. Stride
    and sizes are numbers, the same for all.
    """

    kernel: Any
    activation: Any
    splits: Any
    expansion: Any
    in_channels: Any
    channels: Any
    stride: int
    in_size: int

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(*(np.shape(getattr(self, field.name)) for field in fields(self)))

    @property
    def out_size(self) -> int:
        return strided(self.in_size, self.stride)

    @cached_property
    def hidden(self) -> Any:
        return _rounded(self.expansion * self.in_channels)

    @property
    def expands(self) -> Any:
        return self.hidden != self.in_channels

    @cached_property
    def bottleneck(self) -> Any:
        return _rounded(self.hidden / 4)

    @property
    def keeps_shape(self) -> Any:
        return (self.in_channels == self.channels) & (self.stride == 1)

    def one_by_one(self) -> Iterator[BlockSpec]:
        """The same blocks as specs, in the arrays' row-major order."""
        names = [field.name for field in fields(self)]
        columns = (np.broadcast_to(getattr(self, name), self.shape).ravel().tolist() for name in names)
        return (BlockSpec(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True))


def first_blocks(group: Group, widths_before: Sequence[int], in_size: int) -> BlockArrays:
    """A group's first block: shape (P, *cardinalities)."""
    in_channels = np.array(widths_before).reshape(-1, *[1] * len(VARIABLES))
    return BlockArrays(**_choices(group), in_channels=in_channels, stride=group.stride, in_size=in_size)


def later_blocks(group: Group, in_size: int) -> BlockArrays:
    """A group's second and later blocks, which are all alike: shape (1, *cardinalities)."""
    choices = _choices(group)
    return BlockArrays(**choices, in_channels=choices["channels"], stride=1, in_size=in_size)


def _choices(group: Group) -> dict[str, NDArray[Any]]:
    """The values of every choice, each along an axis of its own after the first."""
    return {
        choice.name: np.array(choice.values).reshape(
            [len(choice.values) if axis == number else 1 for axis in range(-1, len(VARIABLES))]
        )
        for number, choice in enumerate(group.choices)
    }


def _rounded(widths: NDArray[Any]) -> NDArray[np.int64]:
    """`round_width` of every element, which is thus the only place that rounds."""
    return np.array([round_width(width) for width in widths.ravel().tolist()], dtype=np.int64).reshape(widths.shape)
