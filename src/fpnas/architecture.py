"""An architecture: one value for every choice of every group of a space."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fpnas.checks import check_known_fields, check_mapping, check_one_of, check_text, shown
from fpnas.errors import UserError
from fpnas.space import VARIABLES, SearchSpace

__all__ = [
    "ARCHITECTURE_FORMAT",
    "Architecture",
    "all_architectures",
    "architecture_from_json",
    "architecture_to_json",
]

ARCHITECTURE_FORMAT = "fpnas.architecture/1"


@dataclass(frozen=True)
class Architecture:
    """Indices into the values of every choice: `indices[group][variable]`, shape (G, V)."""

    indices: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, indices: Any) -> "Architecture":
        """From nested lists or an integer tensor of shape (G, V)."""
        rows = indices.tolist() if hasattr(indices, "tolist") else indices
        return cls(tuple(tuple(int(index) for index in row) for row in rows))


def all_architectures(space: SearchSpace) -> Iterator[Architecture]:
    """Every architecture of a small space, in index order (the last choice of the last group fastest)."""
    per_group = [tuple(itertools.product(*map(range, group.cardinalities))) for group in space.groups]
    return (Architecture(rows) for rows in itertools.product(*per_group))


def architecture_to_json(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    """The content of an architecture file: the choices by name and value."""
    return {
        "format": ARCHITECTURE_FORMAT,
        "space": space.name,
        "digest": space.digest,
        "groups": [
            {"name": group.name}
            | {choice.name: choice.values[index] for choice, index in zip(group.choices, row, strict=True)}
            for group, row in zip(space.groups, architecture.indices, strict=True)
        ],
    }


def architecture_from_json(space: SearchSpace, content: dict[str, Any], where: str) -> Architecture:
    """The architecture in a file's content, checked against its space.

    Raises:
        UserError: another format, another space, or a choice the space does not have.
    """
    check_known_fields(content, ("format", "space", "digest", "groups"), where)
    check_one_of(content, "format", [ARCHITECTURE_FORMAT], where)
    check_text(content, "space", where)
    if content.get("digest") != space.digest:
        raise UserError(
            f"{where}: digest = {shown(content.get('digest'))}: space {space.name} has {space.digest}; "
            "the architecture belongs to another space or another version of it"
        )
    rows = content.get("groups")
    if not isinstance(rows, list) or len(rows) != len(space.groups):
        raise UserError(f"{where}: groups: a list of {len(space.groups)} groups is expected")
    indices = []
    for number, (row, group) in enumerate(zip(rows, space.groups, strict=True), 1):
        place = f"{where}: group {number}"
        table = check_mapping(row, place)
        check_known_fields(table, ("name", *VARIABLES), place)
        check_one_of(table, "name", [group.name], place)
        indices.append(
            tuple(
                choice.values.index(check_one_of(table, choice.name, choice.values, place)) for choice in group.choices
            )
        )
    return Architecture(tuple(indices))
