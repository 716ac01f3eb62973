"""Checks of values that a user wrote: one line that names the place, the value and what is accepted."""

from collections.abc import Collection, Iterable, Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from fpnas.errors import UserError

__all__ = [
    "check_choices",
    "check_integer",
    "check_keywords",
    "check_known_fields",
    "check_mapping",
    "check_number",
    "check_one_of",
    "check_ranges",
    "check_text",
    "is_text",
    "shown",
]

_LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """A value as it stands in a message: short, on one line."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or a whole number of more than 4300 digits
        text = f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def is_text(name: str) -> bool:
    """Whether a name, of a file for instance, can be written as UTF-8: names of files may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_mapping(value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a table of named fields; else UserError naming `where`."""
    if not isinstance(value, dict):
        found = "missing" if value is None else shown(value)
        raise UserError(f"{where}: {found}: a table of named fields is expected")
    return value


def check_known_fields(table: dict[str, Any], accepted: Iterable[str], where: str) -> None:
    """UserError if the table has another field: a misspelt one must not pass as a default."""
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
    """The accepted value in a field; else UserError. Of other kinds only a whole number for a float will do."""
    value = _required(table, field, where)
    options = tuple(accepted)
    for option in options:
        same_kind = type(value) is type(option) or (type(value) is int and type(option) is float)
        if same_kind and value == option:
            return option
    listed = ", ".join(str(option) for option in options)
    raise UserError(f"{where}: {field} = {shown(value)}: one of {listed} is accepted")


def check_text(table: dict[str, Any], field: str, where: str) -> str:
    """The text in a field, non-empty, on one line; else UserError.

    Line breaks would split messages that quote it, and lone surrogates could not be written to a file.
    """
    value = _required(table, field, where)
    if not isinstance(value, str) or not value.strip() or len(value) > 2000 or not value.isprintable():
        raise UserError(f"{where}: {field} = {shown(value)}: one line of text is expected")
    return value


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def check_ranges(config: object, **ranges: tuple[float, float]) -> None:
    """UserError if a field of a configuration is outside its range; a field that is None was left out."""
    for field, (low, high) in ranges.items():
        value = getattr(config, field)
        if value is not None and not low <= value <= high:
            # Whole numbers in full: the largest seed is not 2.14748e+09.
            least, most = (str(end) if isinstance(end, int) else f"{end:g}" for end in (low, high))
            raise UserError(f"{_option(field)} {value}: from {least} to {most} is accepted")


def check_choices(config: object, **choices: Collection[str]) -> None:
    """UserError if a field of a configuration is not one of its choices."""
    for field, accepted in choices.items():
        value = getattr(config, field)
        if value not in accepted:
            raise UserError(f"{_option(field)} {shown(value)}: one of {', '.join(accepted)} is accepted")


def check_keywords(kind: type, given: Mapping[str, Any], accepted: Collection[str]) -> None:
    """UserError if a keyword is none of the accepted fields of a dataclass, or its value not of the field's type."""
    hints = get_type_hints(kind)
    for name, value in given.items():
        if name not in accepted:
            known = ", ".join(field for field in hints if field in accepted)
            raise UserError(f"setting {shown(name)}: unknown; accepted are {known}")
        kinds = get_args(hints[name]) or (hints[name],)
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            names = " or ".join("None" if each is NoneType else each.__name__ for each in kinds)
            raise UserError(f"{name} = {shown(value)}: a value of type {names} is accepted")
