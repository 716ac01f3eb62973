"""The one definition of cost, by a walk over the spec.

`macs`: multiply-adds at batch 1, as "FLOPs" in the papers of FP-NAS and FBNetV2: every convolution and linear
weight times its output positions, plus one per input element of every global average pool. Not counted:
biases, batch norm, activations, gates, residual additions.
`weights`: convolution and linear weights. `params`: every trainable number, biases and batch norm included.

The arithmetic has no branches, so that the same lines count one block and, on integer arrays, all blocks of a table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpnas.cost.base import Cost
from fpnas.network_spec import BlockSpec, NetworkSpec

if TYPE_CHECKING:  # NumPy, which the cost of one network does not need, takes a tenth of a second to import
    from fpnas.cost.blocks import BlockArrays

__all__ = [
    "MACS",
    "PARAMS",
    "WEIGHTS",
    "BlockCost",
    "NetworkCost",
    "block_cost",
    "head_cost",
    "network_cost",
    "stem_cost",
]


@dataclass(frozen=True)
class BlockCost:
    """Cost of one part, or of many at once where the fields are arrays.

    `pool_macs` is the share of `macs` that global average pools take.
    """

    name: str
    macs: int = 0
    pool_macs: int = 0
    weights: int = 0
    params: int = 0


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a network: totals, and the parts in order (stem, blocks, head)."""

    parts: tuple[BlockCost, ...]

    @property
    def macs(self) -> int:
        return sum(part.macs for part in self.parts)

    @property
    def pool_macs(self) -> int:
        return sum(part.pool_macs for part in self.parts)

    @property
    def weights(self) -> int:
        return sum(part.weights for part in self.parts)

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts)


@dataclass(frozen=True)
class _Layer:
    """A convolution or linear layer: weights, output positions, and trainable numbers beside the weights."""

    weights: int
    positions: int
    other: int

    def where(self, present: int) -> "_Layer":
        """The layer where `present` is 1 or true, none where it is 0."""
        return _Layer(self.weights * present, self.positions, self.other * present)


def _conv(inputs: int, outputs: int, kernel: int, size: int) -> _Layer:
    """A convolution without bias, followed by batch norm (two trainable numbers per channel)."""
    return _Layer(outputs * inputs * kernel * kernel, size * size, 2 * outputs)


def _biased(inputs: int, outputs: int, bias: bool = True) -> _Layer:
    """A linear layer, or a 1x1 convolution on a 1x1 map."""
    return _Layer(inputs * outputs, 1, outputs if bias else 0)


def _total(name: str, layers: Iterable[_Layer], pool_macs: int = 0) -> BlockCost:
    layers = tuple(layers)
    weights = sum(layer.weights for layer in layers)
    return BlockCost(
        name=name,
        macs=sum(layer.weights * layer.positions for layer in layers) + pool_macs,
        pool_macs=pool_macs,
        weights=weights,
        params=weights + sum(layer.other for layer in layers),
    )


def stem_cost(spec: NetworkSpec) -> BlockCost:
    """Cost of the stem."""
    return _total("stem", [_conv(spec.in_channels, spec.stem.channels, spec.stem.kernel, spec.stem_size)])


def block_cost(block: "BlockSpec | BlockArrays", name: str = "block") -> BlockCost:
    """Cost of one block, or of every block of the arrays; a bypass costs nothing where it is the identity."""
    runs = block.kernel != 0
    attends = runs & (block.splits != 0)
    splits = block.splits + (block.splits == 0)
    layers = (
        _conv(block.in_channels, block.channels, 1, block.out_size).where((1 - runs) * (1 - block.keeps_shape)),
        _conv(block.in_channels, block.hidden, 1, block.in_size).where(runs & block.expands),
        _conv(1, splits * block.hidden, block.kernel, block.out_size).where(runs),  # depthwise: one input per filter
        _biased(block.hidden, block.bottleneck).where(attends),
        _biased(block.bottleneck, splits * block.hidden).where(attends),
        _conv(block.hidden, block.channels, 1, block.out_size).where(runs),
    )
    return _total(name, layers, block.hidden * block.out_size**2 * attends)


def head_cost(spec: NetworkSpec) -> BlockCost:
    """Cost of the head, classifier included."""
    positions = spec.last_size**2
    layers = [_conv(spec.last_channels, spec.head_hidden, 1, spec.last_size)]
    pool = spec.head_hidden * positions
    if spec.head.kind == "ir_pool":
        layers.append(_biased(spec.head_hidden, spec.head.channels, bias=False))
        pool += spec.head.channels  # a second pool over the 1x1 map
    layers.append(_biased(spec.head.channels, spec.num_classes))
    return _total("head", layers, pool)


def network_cost(spec: NetworkSpec) -> NetworkCost:
    """Cost of a network, by part."""
    blocks = (block_cost(block, f"block {number}") for number, block in enumerate(spec.blocks, 1))
    return NetworkCost((stem_cost(spec), *blocks, head_cost(spec)))


def _counted(name: str, unit: str) -> Cost:
    def field(part: BlockCost) -> int:
        return getattr(part, name)

    return Cost(
        name=name,
        unit=unit,
        stem=lambda spec: field(stem_cost(spec)),
        block=lambda block: field(block_cost(block)),
        head=lambda spec: field(head_cost(spec)),
        takes_arrays=True,
    )


MACS = _counted("macs", "multiply-adds")
WEIGHTS = _counted("weights", "weights")
PARAMS = _counted("params", "trainable numbers")
