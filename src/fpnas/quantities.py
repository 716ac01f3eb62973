"""Quantities as people write them: 60M, 0.4G, 60e6."""

import math
import re

from fpnas.errors import UserError

__all__ = ["format_quantity", "parse_quantity"]

_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_PATTERN = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.)\s*([kKmMgGtT]?)\s*")


def parse_quantity(text: str | int | float, name: str) -> int:
    """A positive whole quantity.

    Args:
        text: `60M`, `0.4G`, `60e6` or a number.
        name: the option, for the message.

    Raises:
        UserError: not a quantity, zero, negative or beyond 10^18.
    """
    accepted = "a positive number such as 60M, 0.4G or 60e6 is accepted"
    match = _PATTERN.fullmatch(str(text))
    if match is None:
        raise UserError(f"{name} {text}: {accepted}")
    value = float(match.group(1)) * _SUFFIXES[match.group(2).lower()]
    if not math.isfinite(value) or not 1 <= value <= 1e18:
        raise UserError(f"{name} {text}: {accepted}")
    return round(value)


def format_quantity(value: float) -> str:
    """Three significant digits with a suffix: 2.45M, 390M, 1.09G."""
    for suffix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
