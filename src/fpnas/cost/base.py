"""What a cost has to say for tables, expected values, budgets and derivation to work with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fpnas.network_spec import NetworkSpec

__all__ = ["Cost"]


@dataclass(frozen=True)
class Cost:
    """A cost that adds up over the parts of a network: stem, blocks, head.

    Whole numbers of a unit, so that sums are exact whatever their order: nanoseconds rather than milliseconds.

    Attributes:
        name: short, as a user would type it.
        unit: of the numbers.
        stem: cost of a network's stem.
        block: cost of one `BlockSpec`; it must depend on nothing but the block.
        head: cost of a network's head, classifier included; of the blocks it may look at the last one's channels and
            size only, not at its other choices.
        takes_arrays: whether `block` also works on `BlockArrays` (comparisons and arithmetic do, `if` does not). The
            table of a large space is then made in milliseconds; else every distinct block is asked for once.
    """

    name: str
    unit: str
    stem: Callable[[NetworkSpec], int]
    block: Callable[[Any], int]
    head: Callable[[NetworkSpec], int]
    takes_arrays: bool = False

    def __call__(self, spec: NetworkSpec) -> int:
        """Cost of a network, by a walk over its parts."""
        return self.stem(spec) + sum(self.block(block) for block in spec.blocks) + self.head(spec)
