"""Tables: nothing is lost in any width, plain lines in a pipe, and nothing that steers a terminal."""

import sys

import pytest
from terminals import COLOUR, at_terminal, seen

from fpnas.text_table import print_table

COLUMNS = ["place", "kind", "many words", "number"]
ROWS = [["first", "a", "1,234,567", "12"], ["the second", "bb", "8", "345,678,901"]]

SCRIPT = f"""
from fpnas.text_table import print_table
print_table("Title", {COLUMNS}, {ROWS}, words=2)
"""


def test_plain_lines(capfd: pytest.CaptureFixture[str]) -> None:
    print_table("Title", COLUMNS, ROWS, words=2)
    assert capfd.readouterr().out.split("\n") == [
        "",
        "Title",
        "place       kind  many words       number",
        "first       a      1,234,567           12",
        "the second  bb             8  345,678,901",
        "",
    ]


def test_a_table_without_heads(capfd: pytest.CaptureFixture[str]) -> None:
    print_table("", ["", ""], [["a", "b"], ["ccc", "d"]], words=2)
    assert capfd.readouterr().out == "\na    b\nccc  d\n"


@pytest.mark.parametrize("name", ["\x1b[31mred.png", "a\rb", "a\nb", "a\x07", "a\u202eb"])
def test_a_name_cannot_steer_a_terminal(capfd: pytest.CaptureFixture[str], name: str) -> None:
    print_table("", ["image"], [[name]])
    (_, _, line, _) = capfd.readouterr().out.split("\n")
    assert line.isprintable() and line != name
    assert line.encode().decode("unicode_escape") == name


# With heads of one line it takes 38 columns, of two lines 37.
@pytest.mark.parametrize("columns", [200, 80, 38, 37])
def test_at_a_terminal_it_is_ruled_and_fits(columns: int) -> None:
    code, written = at_terminal([sys.executable, "-c", SCRIPT], columns=columns)
    lines = seen(written)
    assert code == 0 and all(len(line) <= columns for line in lines), lines
    assert any(set(line.strip()) == {"─"} for line in lines)
    assert all(cell in written for row in ROWS for cell in row)


def test_too_narrow_a_terminal_gets_whole_numbers() -> None:
    _, written = at_terminal([sys.executable, "-c", SCRIPT], columns=36)
    assert "─" not in written
    assert all(cell in written for row in ROWS for cell in row)


def test_long_names_are_folded_before_numbers() -> None:
    name = "n" * 70
    script = f"from fpnas.text_table import print_table\nprint_table('', ['name', 'number'], [['{name}', '123,456']])"
    _, written = at_terminal([sys.executable, "-c", script], columns=40)
    lines = seen(written)
    assert max(map(len, lines)) <= 40
    assert "123,456" in written and sum(line.count("n") for line in lines if "name" not in line) == len(name)


def test_colours_are_left_out_on_demand() -> None:
    coloured = "from rich.console import Console; Console().print('[red]red')"
    assert COLOUR.search(at_terminal([sys.executable, "-c", coloured])[1])
    assert not COLOUR.search(at_terminal([sys.executable, "-c", coloured], NO_COLOR="1")[1])
