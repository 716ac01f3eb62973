"""Gates: what weighs every choice of a space where all are computed at once."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from fpnas.space import VARIABLES, Group

__all__ = ["Gates", "check_gates"]

Gates = Sequence[Mapping[str, Tensor]]
"""Weights of every choice: `gates[g][variable]` sums to 1 over the values of that choice."""


def check_gates(groups: Sequence[Group], gates: Gates) -> None:
    """ValueError, with the names, if gates do not fit the groups."""
    if len(gates) != len(groups):
        raise ValueError(f"gates of {len(gates)} groups: the space has {len(groups)}")
    for group, group_gates in zip(groups, gates, strict=True):
        for variable, size in zip(VARIABLES, group.cardinalities, strict=True):
            if variable not in group_gates:
                raise ValueError(f"gates of group {group.name!r}: {variable!r} is missing")
            shape = tuple(group_gates[variable].shape)
            if shape != (size,):
                raise ValueError(f"gates of group {group.name!r}, {variable!r}: shape {shape}, expected {(size,)}")
