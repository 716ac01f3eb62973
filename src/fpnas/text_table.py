"""A table as text: ruled and within the width of a terminal, plain lines elsewhere."""

import sys
from collections.abc import Sequence

__all__ = ["print_table"]

_NARROWEST_WORDS = 10
"""Columns of words may be folded to this width."""


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> None:
    """Print a table on standard output.

    Args:
        title: of the table, or empty.
        columns: their heads; a table whose heads are all empty has none.
        rows: cells.
        words: how many columns are words; the others, on the right, are numbers.
    """
    rows = [[_printable(cell) for cell in row] for row in rows]
    if not (sys.stdout.isatty() and _print_ruled(title, columns, rows, words)):
        _print_plain(title, columns, rows, words)


def _printable(text: str) -> str:
    """The text with control characters spelt out: a file's name must not steer the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(columns, *rows, strict=True)]


def _print_plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> None:
    widths = _widths(columns, rows)
    print(f"\n{title}" if title else "")
    for line in [columns, *rows] if any(columns) else rows:
        padded = (
            cell.ljust(width) if number < words else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join(padded).rstrip())


def _print_ruled(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> bool:
    """Whether the table was printed: it is not where the terminal is too narrow, and would cut numbers in two."""
    # Rich takes a tenth of a second to import, too much for --help.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    gaps = len(columns) - 1
    heads = list(columns)
    if sum(_widths(heads, rows)) + gaps > console.width:
        heads[words:] = [head.replace(" ", "\n") for head in heads[words:]]
    widths = _widths([max(head.split("\n"), key=len) for head in heads], rows)
    widths[:words] = [min(width, _NARROWEST_WORDS) for width in widths[:words]]
    if sum(widths) + gaps > console.width:
        return False
    table = Table(box=box.SIMPLE, show_edge=False, show_header=any(columns), padding=0)
    for number, head in enumerate(heads):
        is_word = number < words
        table.add_column(Text(head), justify="left" if is_word else "right", overflow="fold", no_wrap=not is_word)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(Text(f"\n{title}" if title else ""))
    console.print(table)
    return True
