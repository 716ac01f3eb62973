"""The tables of stem and head, which space files and network files have alike."""

from typing import Any

from fpnas.checks import check_integer, check_known_fields, check_one_of
from fpnas.space import ACTIVATIONS, Head, Stem

__all__ = ["read_head", "read_stem"]


def read_stem(table: dict[str, Any], most_channels: int, where: str) -> Stem:
    """The stem in a table, every field checked; `where` opens the messages. Raises UserError."""
    check_known_fields(table, ("kernel", "channels", "stride", "activation"), where)
    return Stem(
        kernel=check_one_of(table, "kernel", [1, 3, 5, 7], where),
        channels=check_integer(table, "channels", 1, most_channels, where),
        stride=check_one_of(table, "stride", [1, 2, 4], where),
        activation=check_one_of(table, "activation", ACTIVATIONS, where),
    )


def read_head(table: dict[str, Any], most_channels: int, where: str) -> Head:
    """The head in a table, every field checked; `where` opens the messages. Raises UserError."""
    check_known_fields(table, ("kind", "channels", "activation"), where)
    return Head(
        kind=check_one_of(table, "kind", ["conv", "ir_pool"], where),
        channels=check_integer(table, "channels", 1, most_channels, where),
        activation=check_one_of(table, "activation", ACTIVATIONS, where),
    )
