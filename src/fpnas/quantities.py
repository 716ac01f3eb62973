"""Quantities as people write them: 60M, 0.4G, 60e6."""

import math
import re

from fpnas.checks import shown
from fpnas.errors import UserError

__all__ = ["ACCEPTED_QUANTITIES", "format_quantity", "parse_quantity"]

ACCEPTED_QUANTITIES = "a positive number such as 60M, 0.4G or 60e6"

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
    accepted = f"{ACCEPTED_QUANTITIES} is accepted"
    match = _PATTERN.fullmatch(str(text))
    if match is None:
        raise UserError(f"{name} {_shown(text)}: {accepted}")
    value = float(match.group(1)) * _SUFFIXES[match.group(2).lower()]
    if not math.isfinite(value) or not 1 <= value <= 1e18:
        raise UserError(f"{name} {_shown(text)}: {accepted}")
    return round(value)


def format_quantity(value: float) -> str:
    """Three significant digits with a suffix: 2.45M, 390M, 1.09G."""
    # Rounded first: 999,999 is 1M, not 1e+03k.
    value = float(f"{value:.3g}")
    for suffix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _shown(text: object) -> str:
    """As the user wrote it, unless that is long or not on one line."""
    plain = str(text)
    return plain if plain.isprintable() and len(plain) <= 60 else shown(plain)
