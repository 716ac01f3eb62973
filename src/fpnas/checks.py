"""Checks of values read from files: one line that names the place, the value and what is accepted."""

from collections.abc import Iterable
from typing import Any

from fpnas.errors import UserError

__all__ = [
    "check_integer",
    "check_known_fields",
    "check_mapping",
    "check_number",
    "check_one_of",
    "check_text",
]

_LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """A value as it stands in a message: short, on one line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def check_mapping(value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a table of named fields; else UserError naming `where`."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: {shown(value)}: a table of named fields is expected")
    return value


def check_known_fields(table: dict[str, Any], accepted: Iterable[str], where: str) -> None:
    """UserError if the table has a field that is not accepted: a misspelt field must not pass as a default."""
    names = tuple(accepted)
    for field in table:
        if field not in names:
            raise UserError(f"{where}: unknown field {shown(field)}; accepted are {', '.join(names)}")


def _required(table: dict[str, Any], field: str, where: str) -> Any:
    if field not in table:
        raise UserError(f"{where}: field {field} is missing")
    return table[field]


def check_integer(table: dict[str, Any], field: str, low: int, high: int, where: str) -> int:
    """The whole number in a field, within [low, high]; else UserError."""
    value = _required(table, field, where)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{where}: {field} = {shown(value)}: a whole number from {low} to {high} is accepted")
    return value


def check_number(table: dict[str, Any], field: str, low: float, high: float, where: str) -> float:
    """The number in a field, within [low, high]; else UserError (NaN included)."""
    value = _required(table, field, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{where}: {field} = {shown(value)}: a number from {low:g} to {high:g} is accepted")
    return float(value)


def check_one_of(table: dict[str, Any], field: str, accepted: Iterable[Any], where: str) -> Any:
    """The value in a field if it is one of the accepted ones, of the same kind; else UserError."""
    value = _required(table, field, where)
    options = tuple(accepted)
    if not any(type(value) is type(option) and value == option for option in options):
        listed = ", ".join(str(option) for option in options)
        raise UserError(f"{where}: {field} = {shown(value)}: one of {listed} is accepted")
    return value


def check_text(table: dict[str, Any], field: str, where: str) -> str:
    """The non-empty text in a field; else UserError."""
    value = _required(table, field, where)
    if not isinstance(value, str) or not value.strip() or len(value) > 2000:
        raise UserError(f"{where}: {field} = {shown(value)}: a text is expected")
    return value
