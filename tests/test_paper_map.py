"""The map of the paper: every name, path, test, default and figure of a space that it states is true."""

import ast
import importlib
import math
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from fpnas.distribution import Factorized, Joint
from fpnas.space_file import load_space

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "paper-map.md"

CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"fpnas(?:\.\w+)+")
PATH = re.compile(r"([\w.-]+(?:/[\w.-]+)+)(?:::(\w+))?")
DEFAULT = re.compile(r"`(fpnas(?:\.\w+)+)` = (\"[^\"]*\"|[\w.+-]*\w)")
LINK = re.compile(r"\]\(([^)#\s]+)\)")

ROWS = [*(f"Eq. {number}" for number in range(1, 8)), "Table 1", "Table 2"]


def resolve(name: str) -> Any:
    """What a dotted name stands for: a module, something in it, or an attribute or field of that.

    A field without a default gives the dataclass's own `Field`.

    Raises:
        LookupError: there is no such thing.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "?"):
                raise
            continue
        for part in parts[length:]:
            of_a_class = {field.name: field for field in fields(found)} if is_dataclass(found) else {}
            if not hasattr(found, part) and part not in of_a_class:
                raise LookupError(f"{name}: {found!r} has no {part}")
            found = getattr(found, part) if hasattr(found, part) else of_a_class[part]
        return found
    raise LookupError(f"{name}: no such module")


def functions(path: Path) -> set[str]:
    """Names of the functions that a Python file defines, those of classes included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def references(text: str) -> dict[str, list[str]]:
    """The code spans of a document by what they refer to; `other` is whatever has a form that is not checked."""
    found: dict[str, list[str]] = {"name": [], "path": [], "test": [], "plain": [], "other": []}
    for span in CODE.findall(text):
        path = PATH.fullmatch(span)
        if NAME.fullmatch(span):
            found["name"].append(span)
        elif path:
            found["test" if path[2] else "path"].append(span)
        else:
            found["plain" if re.fullmatch(r"[\w -]+", span) else "other"].append(span)
    return found


def faults(text: str) -> Iterator[str]:
    """What a document states about the package and is not so."""
    spans = references(text)
    yield from (f"{span}: neither a name of the package nor a path" for span in spans["other"])
    for name in spans["name"]:
        try:
            resolve(name)
        except LookupError as error:
            yield str(error)
    for span in (*spans["path"], *spans["test"]):
        path, _, test = span.partition("::")
        if not (ROOT / path).exists():
            yield f"{span}: no such file or folder"
        elif test and test not in functions(ROOT / path):
            yield f"{span}: no such test"
    for name, value in DEFAULT.findall(text):
        try:
            stated, actual = ast.literal_eval(value), resolve(name)
        except (LookupError, SyntaxError, ValueError):
            yield f"{name} = {value}: no such name, or no value"
            continue
        if (type(stated), stated) != (type(actual), actual):
            yield f"{name} = {value}: it is {actual!r}"
    for link in LINK.findall(text):
        if "://" not in link and not (DOCUMENT.parent / link).exists():
            yield f"{link}: a link to nowhere"


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a document: rows of cells, the header first, without the line of dashes."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[line.strip().strip("|").split("|") for line in block.splitlines()] for block in blocks]
    return [[[cell.strip() for cell in row] for row in (table[0], *table[2:])] for table in rows]


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_everything_it_refers_to_exists(text: str) -> None:
    assert list(faults(text)) == []


def test_it_refers_to_as_much_as_it_should(text: str) -> None:
    """A form that is no longer recognised would otherwise pass unchecked."""
    spans = references(text)
    assert len(set(spans["name"])) >= 60
    assert len(set(spans["path"])) >= 15
    assert len(set(spans["test"])) >= 40
    assert len(DEFAULT.findall(text)) >= 30


def test_every_table_is_whole(text: str) -> None:
    assert len(tables(text)) >= 8
    for table in tables(text):
        for row in table:
            assert len(row) == len(table[0]) and all(row), row


@pytest.mark.parametrize("label", ROWS)
def test_every_equation_and_both_tables_of_spaces_have_code_and_a_test(text: str, label: str) -> None:
    rows = [row for table in tables(text) for row in table if re.match(rf"{re.escape(label)}\b", row[0])]
    assert len(rows) == 1
    header = next(table[0] for table in tables(text) if rows[0] in table)
    assert header == ["paper", "what", "code", "test or result"]
    assert references(rows[0][2])["name"]
    assert references(rows[0][3])["test"] or references(rows[0][3])["path"]


def test_figures_of_the_spaces(text: str) -> None:
    (table,) = [table for table in tables(text) if table[0][0] == "space"]
    rows = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
    assert len(rows) == 6
    for row in rows:
        space = load_space(Path(row["file"].strip("`")).stem)
        assert row["blocks"] == str(space.number_of_blocks)
        assert row["architectures"] == f"{space.number_of_architectures:.2e}".replace("e+", "e")
        assert row["K at the start"] == str(math.floor(math.log(space.number_of_architectures) / 4))
        assert row["joint logits"] == str(Joint(space.cardinalities).number_of_parameters)
        assert row["factorized logits"] == str(Factorized(space.cardinalities).number_of_parameters)


@pytest.mark.parametrize(
    "mistake",
    [
        "`fpnas.objective.no_such_thing`",
        "`fpnas.no_such_module`",
        "`fpnas.search_config.SearchConfig.no_such_field`",
        "`tests/no_such_file.py`",
        "`tests/test_objective.py::test_no_such_thing`",
        "`tests/test_objective.py::`",
        "`objective.py`",
        "`fpnas.search_config.SearchConfig.batch_size` = 129",
        "`fpnas.search_config.SearchConfig.epochs` = 0",
        "`fpnas.search_config.SearchConfig.budget` = condition",
        "[elsewhere](no-such-page.md)",
    ],
)
def test_a_mistake_is_found(mistake: str) -> None:
    assert list(faults(f"Before {mistake}, and after."))


@pytest.mark.parametrize(
    "sound",
    [
        "`fpnas.objective`",
        "`fpnas.search_config.SearchConfig.target_macs`",  # a field without a default
        "`fpnas.search_config.SearchConfig.epochs` = None",
        '`fpnas.search_config.SearchConfig.budget` = "condition"',
        "`fpnas.search_config.SearchConfig.weight_decay` = 2e-5",
        "`tests/test_paper_map.py::test_what_is_sound_passes`",
        "`--budget hinge`",
    ],
)
def test_what_is_sound_passes(sound: str) -> None:
    assert list(faults(f"Before {sound}, and after.")) == []
