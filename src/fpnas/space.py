"""Search spaces as data: an ordered list of groups, each with the same five named choices.

Source: FP-NAS (CVPR 2021), Tables 1 and 2. A group is one row of the paper's macro-architecture table; with
`share = "block"` every block of a row becomes a group of its own (the F-Fine form).
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = [
    "ACTIVATIONS",
    "INPUT_RANGES",
    "VARIABLES",
    "Choice",
    "Group",
    "Head",
    "SearchSpace",
    "Stem",
    "builtin_space_names",
    "one_group_per_block",
]

VARIABLES = ("kernel", "activation", "splits", "expansion", "channels")
"""The choices of a group, in the order in which architectures index them."""

ACTIVATIONS = ["relu", "swish", "hswish"]
"""Names that spaces and network files may use; `fpnas.nn.ops.register_activation` adds to them."""

INPUT_RANGES = {"input_size": (1, 4096), "in_channels": (1, 16), "num_classes": (2, 10**6)}
"""Least and greatest of what spaces and networks may be for: side of the images in pixels, channels, classes."""

Value = int | float | str


@dataclass(frozen=True)
class Choice:
    """One categorical variable of a group: its name and the values it can take, in order."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Group:
    """`repeat` blocks that share their choices; the first has `stride`, the others stride 1."""

    name: str
    repeat: int
    stride: int
    choices: tuple[Choice, ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of values of each choice, in the order of `VARIABLES`."""
        return tuple(len(choice.values) for choice in self.choices)

    def values(self, variable: str) -> tuple[Any, ...]:
        """The values of a variable by name."""
        return self.choices[VARIABLES.index(variable)].values


@dataclass(frozen=True)
class Stem:
    """The first convolution, with batch norm and activation."""

    kernel: int
    channels: int
    stride: int
    activation: str


@dataclass(frozen=True)
class Head:
    """What follows the blocks.

    `conv`: 1x1 convolution, BN, activation, pool, linear (FP-NAS, Table 1).
    `ir_pool`: the head of the published FBNetV2 networks.
    """

    kind: str
    channels: int
    activation: str


@dataclass(frozen=True)
class SearchSpace:
    """A search space and the input it is meant for.

    `input_size` in pixels, `in_channels` and `num_classes` are defaults; a search takes them from its data.
    `source` says where the space is from, `share` what chooses for itself in its file: a row (`group`) or a `block`.
    """

    name: str
    source: str
    input_size: int
    in_channels: int
    num_classes: int
    share: str
    stem: Stem
    groups: tuple[Group, ...]
    head: Head

    @property
    def number_of_blocks(self) -> int:
        return sum(group.repeat for group in self.groups)

    @property
    def number_of_architectures(self) -> int:
        return math.prod(math.prod(group.cardinalities) for group in self.groups)

    @property
    def entropy_nats(self) -> float:
        """Entropy of the uniform distribution, with which a search starts."""
        return math.log(self.number_of_architectures)

    @property
    def joint_parameters(self) -> int:
        """Logits of a joint distribution: one per element of every group's product."""
        return sum(math.prod(group.cardinalities) for group in self.groups)

    @property
    def factorized_parameters(self) -> int:
        """Logits of a factorized distribution: one per value of every choice."""
        return sum(sum(group.cardinalities) for group in self.groups)

    @property
    def cardinalities(self) -> tuple[tuple[int, ...], ...]:
        """Number of values per group and choice, shape (G, V)."""
        return tuple(group.cardinalities for group in self.groups)

    @property
    def first_of_row(self) -> tuple[int, ...]:
        """Per group the first group of its row, shape (G,): with `share = "group"` itself.

        With `share = "block"`, neighbours named ROW.1, ROW.2 and so on (`one_group_per_block`) that have the same
        choices are blocks of one row.
        """
        if self.share != "block":
            return tuple(range(len(self.groups)))
        firsts: list[int] = []
        rows = [(re.sub(r"\.\d+$", "", group.name), group.choices) for group in self.groups]
        for index, row in enumerate(rows):
            firsts.append(firsts[-1] if index and row == rows[index - 1] else index)
        return tuple(firsts)

    @property
    def total_stride(self) -> int:
        """Product of all strides: the smallest input, pixels, that this project accepts for the space."""
        return self.stem.stride * math.prod(group.stride for group in self.groups)

    @property
    def digest(self) -> str:
        """Identifies what is searched: stem, head, rows and their names; not the space's name nor its default input."""
        content = {
            "stem": vars(self.stem),
            "head": vars(self.head),
            "groups": [
                [group.name, group.repeat, group.stride, [[c.name, _as_in_a_file(c)] for c in group.choices]]
                for group in self.groups
            ],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _as_in_a_file(choice: Choice) -> list[Any]:
    """Values of a choice as they are read from a space file, where every expansion has a point."""
    return [float(value) if choice.name == "expansion" else value for value in choice.values]


def one_group_per_block(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """The groups of a space in which every block chooses for itself (FP-NAS, F-Fine)."""
    return tuple(
        replace(
            group,
            name=f"{group.name}.{block + 1}" if group.repeat > 1 else group.name,
            repeat=1,
            stride=group.stride if block == 0 else 1,
        )
        for group in groups
        for block in range(group.repeat)
    )


def builtin_space_names() -> tuple[str, ...]:
    """Names of the spaces that come with the package."""
    return tuple(sorted(path.stem for path in (Path(__file__).parent / "spaces").glob("*.toml")))
