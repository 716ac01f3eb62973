"""A network, complete in itself: what cost, supernet, standalone builder and export all consume.

Widths are rounded here and nowhere else. A network file is a `NetworkSpec`.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from fpnas.architecture import Architecture
from fpnas.errors import UserError
from fpnas.space import Head, SearchSpace, Stem

__all__ = ["BlockSpec", "NetworkSpec", "check_input_size", "resolve", "round_width", "strided"]


def round_width(width: float) -> int:
    """Nearest multiple of 8, half up, at least 8, plus 8 if it fell below 0.95 of the exact value.

    Source: FBNetV2's published networks, whose totals this rule reproduces.
    """
    rounded = max(8, math.floor(width / 8 + 0.5) * 8)
    return rounded + 8 if rounded < 0.95 * width else rounded


def strided(size: int, stride: int) -> int:
    """Side of a map after a stride, pixels: the same padding everywhere gives ceil(size / stride)."""
    return -(-size // stride)


@dataclass(frozen=True)
class BlockSpec:
    """One MBConv block, or its bypass when `kernel` is 0. Sizes in pixels.

    `splits`: 0 no attention, 1 squeeze-excite, s >= 2 split attention over s splits.
    """

    kernel: int
    activation: str
    splits: int
    expansion: float
    in_channels: int
    channels: int
    stride: int
    in_size: int

    @property
    def out_size(self) -> int:
        return strided(self.in_size, self.stride)

    @cached_property
    def hidden(self) -> int:
        """Width of the depthwise convolution's input."""
        return round_width(self.expansion * self.in_channels)

    @property
    def expands(self) -> bool:
        """Whether a 1x1 convolution leads from `in_channels` to `hidden`."""
        return self.hidden != self.in_channels

    @cached_property
    def bottleneck(self) -> int:
        """Width of the attention's bottleneck, the same for every number of splits."""
        return round_width(self.hidden / 4)

    @property
    def keeps_shape(self) -> bool:
        """Whether there is a residual connection; a bypass that keeps the shape is the identity."""
        return self.stride == 1 and self.in_channels == self.channels


@dataclass(frozen=True)
class NetworkSpec:
    """A network: stem, blocks, head and the input it is built for.

    `gate` is the squeeze-excite gate: `sigmoid`, or `hard_sigmoid` as in the published FBNetV2 networks.
    `published` holds the figures that the network's source prints, by name, and has no part in what the network is.
    """

    name: str
    input_size: int
    in_channels: int
    num_classes: int
    stem: Stem
    blocks: tuple[BlockSpec, ...]
    head: Head
    gate: str = "sigmoid"
    published: dict[str, float] = field(default_factory=dict, compare=False, hash=False)

    @property
    def stem_size(self) -> int:
        """Side of the stem's output, pixels."""
        return strided(self.input_size, self.stem.stride)

    @property
    def last_channels(self) -> int:
        """Channels that enter the head."""
        return self.blocks[-1].channels if self.blocks else self.stem.channels

    @property
    def last_size(self) -> int:
        """Side of the map that enters the head, pixels."""
        return self.blocks[-1].out_size if self.blocks else self.stem_size

    @property
    def head_hidden(self) -> int:
        """Width of the head's convolution at full resolution."""
        return round_width(6 * self.last_channels) if self.head.kind == "ir_pool" else self.head.channels

    def at_input_size(self, input_size: int) -> "NetworkSpec":
        """The same network for another input size. Raises UserError if the strides need a larger one."""
        blocks = []
        size = strided(input_size, self.stem.stride)
        for block in self.blocks:
            blocks.append(replace(block, in_size=size))
            size = blocks[-1].out_size
        total = self.stem.stride * math.prod(block.stride for block in self.blocks)
        check_input_size(input_size, total, f"network {self.name}")
        return replace(self, input_size=input_size, blocks=tuple(blocks))


def check_input_size(input_size: int, total_stride: int, what: str) -> None:
    """UserError if an input would shrink to nothing before the strides are used up."""
    if input_size < total_stride:
        raise UserError(
            f"image size {input_size}: the strides of {what} multiply to {total_stride}; "
            f"images of at least {total_stride} pixels are accepted"
        )


def resolve(
    space: SearchSpace,
    architecture: Architecture,
    *,
    input_size: int | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
) -> NetworkSpec:
    """The network an architecture of a space stands for.

    Args:
        space: the space the architecture indexes.
        architecture: one value per choice and group.
        input_size, in_channels, num_classes: of the data; the space's defaults when left out.

    Raises:
        UserError: the input is too small for the space's strides.
    """
    input_size = space.input_size if input_size is None else input_size
    check_input_size(input_size, space.total_stride, f"space {space.name}")
    channels = space.stem.channels
    size = strided(input_size, space.stem.stride)
    blocks: list[BlockSpec] = []
    for group, row in zip(space.groups, architecture.indices, strict=True):
        kernel, activation, splits, expansion, width = (
            choice.values[index] for choice, index in zip(group.choices, row, strict=True)
        )
        for repeat in range(group.repeat):
            block = BlockSpec(
                kernel=int(kernel),
                activation=str(activation),
                splits=int(splits),
                expansion=float(expansion),
                in_channels=channels,
                channels=int(width),
                stride=group.stride if repeat == 0 else 1,
                in_size=size,
            )
            blocks.append(block)
            channels, size = block.channels, block.out_size
    return NetworkSpec(
        name=space.name,
        input_size=input_size,
        in_channels=space.in_channels if in_channels is None else in_channels,
        num_classes=space.num_classes if num_classes is None else num_classes,
        stem=space.stem,
        blocks=tuple(blocks),
        head=space.head,
    )
