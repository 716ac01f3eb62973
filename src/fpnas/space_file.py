"""Reading a search space from TOML, with every value checked and every mistake named by row and field."""

import json
import math
import os
import tomllib
from pathlib import Path
from typing import Any

from fpnas.checks import (
    check_integer,
    check_known_fields,
    check_mapping,
    check_number,
    check_one_of,
    check_text,
    shown,
)
from fpnas.errors import UserError, first_line
from fpnas.files import read_text
from fpnas.network_file import MOST_CHANNELS
from fpnas.network_spec import round_width
from fpnas.space import (
    ACTIVATIONS,
    INPUT_RANGES,
    VARIABLES,
    Choice,
    Group,
    SearchSpace,
    builtin_space_names,
    one_group_per_block,
)
from fpnas.stem_and_head import read_head, read_stem

__all__ = ["load_space", "parse_space", "space_to_toml"]

SPACE_FORMAT = "fpnas.space/1"
MAXIMUM_CHANNELS = 8192
MAXIMUM_VALUES = 256
_MOST_BLOCKS = 200
_MOST_COMBINATIONS = 2**24
_FIELDS = (
    "format",
    "name",
    "source",
    "input_size",
    "in_channels",
    "num_classes",
    "share",
    "stem",
    "head",
    "choices",
    "group",
)
_RANGE_FIELDS = ("min", "max", "step")


def load_space(name_or_path: str | os.PathLike[str]) -> SearchSpace:
    """A built-in space by its name, or a space file.

    Raises:
        UserError: unknown name, unreadable or broken TOML, or a value out of range (row and field are named).
    """
    name = os.fspath(name_or_path)
    if name in builtin_space_names():
        path = Path(__file__).parent / "spaces" / f"{name}.toml"
    elif name.endswith(".toml") or os.sep in name or os.path.isfile(name):
        path = Path(name)
    else:
        raise UserError(
            f"space {shown(name)}: unknown; accepted are {', '.join(builtin_space_names())} or a .toml file"
        )
    return parse_space(read_text(path, "space file"), f"space file {path}")


def parse_space(text: str, where: str) -> SearchSpace:
    """A space from the text of a space file; `where` opens the messages. Raises UserError."""
    try:
        table = tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{where}: broken TOML: {first_line(error)}") from None
    check_known_fields(table, _FIELDS, where)
    check_one_of(table, "format", [SPACE_FORMAT], where)
    share = check_one_of(table, "share", ["group", "block"], where)
    stem_table = check_mapping(table.get("stem"), f"{where}: [stem]")
    shared_choices = check_mapping(table.get("choices", {}), f"{where}: [choices]")
    check_known_fields(shared_choices, VARIABLES, f"{where}: [choices]")
    for variable, value in shared_choices.items():
        _read_values(variable, value, f"{where}: [choices]")
    rows = table.get("group")
    if not isinstance(rows, list) or not 1 <= len(rows) <= _MOST_BLOCKS:
        raise UserError(f"{where}: from 1 to {_MOST_BLOCKS} [[group]] rows are expected")
    groups = tuple(
        _read_group(row, number, shared_choices, f"{where}: group {number}") for number, row in enumerate(rows, 1)
    )
    number_of_blocks = sum(group.repeat for group in groups)
    if number_of_blocks > _MOST_BLOCKS:
        raise UserError(f"{where}: {number_of_blocks} blocks: at most {_MOST_BLOCKS} are accepted")
    if share == "block":
        groups = one_group_per_block(groups)
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}: group name = {shown(name)}: it is used twice")
    _check_products(groups, where)
    space = SearchSpace(
        name=check_text(table, "name", where),
        source=check_text(table, "source", where),
        input_size=check_integer(table, "input_size", *INPUT_RANGES["input_size"], where),
        in_channels=check_integer({"in_channels": 3} | table, "in_channels", *INPUT_RANGES["in_channels"], where),
        num_classes=check_integer({"num_classes": 1000} | table, "num_classes", *INPUT_RANGES["num_classes"], where),
        share=share,
        stem=read_stem(stem_table, MAXIMUM_CHANNELS, f"{where}: [stem]"),
        groups=groups,
        head=read_head(check_mapping(table.get("head"), f"{where}: [head]"), MAXIMUM_CHANNELS, f"{where}: [head]"),
    )
    _check_hidden_widths(space, where)
    if space.input_size < space.total_stride:
        raise UserError(
            f"{where}: input_size = {space.input_size}: the strides multiply to {space.total_stride}, "
            f"an input of at least {space.total_stride} pixels is needed"
        )
    return space


def _check_products(groups: tuple[Group, ...], where: str) -> None:
    """UserError if a group has too many costs to be held: one per combination of its choices and channels before."""
    before = 1
    for group in groups:
        combinations = before * math.prod(group.cardinalities)
        if combinations > _MOST_COMBINATIONS:
            raise UserError(
                f"{where}: group {group.name}: {combinations} combinations of its choices and the channels before; at "
                f"most {_MOST_COMBINATIONS} are accepted"
            )
        before = group.cardinalities[-1]


def _check_hidden_widths(space: SearchSpace, where: str) -> None:
    """UserError if a network of the space has more channels in a block than a network file may have."""
    inputs = float(space.stem.channels)
    for group in space.groups:
        widest, expansion = (max(map(float, group.values(name))) for name in ("channels", "expansion"))
        inputs = max(inputs, widest) if group.repeat > 1 else inputs
        hidden = round_width(expansion * inputs)
        if hidden > MOST_CHANNELS:
            raise UserError(
                f"{where}: group {group.name}: expansion = {expansion:g}: of {inputs:g} channels that is "
                f"{hidden}; at most {MOST_CHANNELS} are accepted"
            )
        inputs = widest


def space_to_toml(space: SearchSpace) -> str:
    """The text of a space file from which `parse_space` makes an equal space; every group has all its choices."""

    def line(field: str, value: Any) -> str:
        return f"{field} = {json.dumps(value, ensure_ascii=False)}"

    lines = [line("format", SPACE_FORMAT)]
    plain = ("name", "source", "input_size", "in_channels", "num_classes", "share")
    lines += [line(field, getattr(space, field)) for field in plain]
    for name in ("stem", "head"):
        lines += ["", f"[{name}]", *(line(*item) for item in vars(getattr(space, name)).items())]
    for group in space.groups:
        lines += ["", "[[group]]", line("name", group.name)]
        lines += [line(choice.name, choice.values) for choice in group.choices]
        lines += [line("repeat", group.repeat), line("stride", group.stride)]
    return "\n".join(lines) + "\n"


def _read_group(row: Any, number: int, shared: dict[str, Any], where: str) -> Group:
    table = check_mapping(row, where)
    check_known_fields(table, ("name", "repeat", "stride", *VARIABLES), where)
    name = check_text(table, "name", where) if "name" in table else str(number)
    merged = {**shared, **table}
    choices = []
    for variable in VARIABLES:
        if variable not in merged:
            raise UserError(f"{where}: field {variable} is missing")
        choices.append(Choice(variable, _read_values(variable, merged[variable], where)))
    return Group(
        name=name,
        repeat=check_integer(table, "repeat", 1, 100, where),
        stride=check_one_of(table, "stride", [1, 2, 4], where),
        choices=tuple(choices),
    )


def _read_values(variable: str, value: Any, where: str) -> tuple[Any, ...]:
    """The values of a choice: one value, a list of them, or for numbers {min, max, step}."""
    if isinstance(value, dict):
        if variable not in ("expansion", "channels"):
            raise UserError(f"{where}: {variable} = {shown(value)}: a value or a list of values is accepted")
        values = _expand_range(variable, value, where)
    else:
        values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MAXIMUM_VALUES:
        raise UserError(f"{where}: {variable}: {len(values)} values: from 1 to {MAXIMUM_VALUES} are accepted")
    checked: list[Any] = []
    for item in values:
        field = {variable: item}
        if variable == "kernel":
            checked.append(check_one_of(field, variable, [0, 3, 5, 7], where))
        elif variable == "activation":
            checked.append(check_one_of(field, variable, ACTIVATIONS, where))
        elif variable == "splits":
            checked.append(check_integer(field, variable, 0, 8, where))
        elif variable == "expansion":
            checked.append(check_number(field, variable, 0.1, 100, where))
        else:
            checked.append(check_integer(field, variable, 1, MAXIMUM_CHANNELS, where))
        if checked[-1] in checked[:-1]:
            raise UserError(f"{where}: {variable}: {shown(item)} is listed twice")
    return tuple(checked)


def _expand_range(variable: str, table: dict[str, Any], where: str) -> list[int | float]:
    label = f"{where}: {variable}"
    check_known_fields(table, _RANGE_FIELDS, label)
    low: float
    high: float
    step: float
    if variable == "channels":
        low, high, step = (check_integer(table, field, 1, MAXIMUM_CHANNELS, label) for field in _RANGE_FIELDS)
    else:
        low, high, step = (check_number(table, field, 0.01, 100, label) for field in _RANGE_FIELDS)
    if low > high:
        raise UserError(f"{label}: min = {low:g} is over max = {high:g}")
    steps = round((high - low) / step)
    if abs(low + steps * step - high) > 1e-9 * high:
        raise UserError(f"{label}: step = {step:g} does not lead from min = {low:g} to max = {high:g}")
    if steps >= MAXIMUM_VALUES:
        raise UserError(f"{label}: step = {step:g}: from 1 to {MAXIMUM_VALUES} values are accepted")
    # Rounded, so that three steps of 0.1 are 0.3, as one would write it in an architecture file.
    return [round(low + index * step, 9) for index in range(steps + 1)]
