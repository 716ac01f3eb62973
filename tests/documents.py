"""Fenced blocks of the documentation: found, run in order, output compared; `docs/writing.md` says what they mean."""

import contextlib
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fpnas.cli import main

ROOT = Path(__file__).parents[1]
FENCED = re.compile(
    r"^(?:<!-- (?P<note>[^\n]+) -->\n)?```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
ANY_LINES = "..."
NOT_RUN = "not run: "
WITHOUT_CUDA = "without CUDA"


class Block(NamedTuple):
    """A fenced block, its first line in the document, and the comment that stands before it."""

    kind: str
    text: str
    note: str
    line: int


def blocks_of(document: str) -> list[Block]:
    """All fenced blocks of a document, in order."""
    return [
        Block(match["kind"], match["text"], match["note"] or "", document.count("\n", 0, match.start("text")) + 1)
        for match in FENCED.finditer(document)
    ]


def write_file(block: Block) -> None:
    """Write, lengthen or change the file that a block's comment names."""
    action, _, rest = block.note.partition(": ")
    name, _, old_line = rest.partition(": ")
    path = Path(name)
    if action == "file":
        path.write_text(block.text)
    elif action == "add":
        path.write_text(path.read_text() + block.text)
    elif action == "change":
        before, line, after = path.read_text().rpartition(f"{old_line}\n")
        assert old_line and line and (not before or before.endswith("\n")), f"line {block.line}: no line {old_line!r}"
        path.write_text(before + block.text + after)
    else:
        raise AssertionError(f"line {block.line}: no file is named")


def fits(actual: list[str], expected: list[str]) -> bool:
    """Whether lines are the expected ones, of which `...` stands for any number."""
    if not expected:
        return not actual
    if expected[0] == ANY_LINES:
        return any(fits(actual[skipped:], expected[1:]) for skipped in range(len(actual) + 1))
    return bool(actual) and actual[0] == expected[0] and fits(actual[1:], expected[1:])


def commands_of(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that follow it."""
    parts = re.split(r"^\$ (.+)\n", block.text, flags=re.MULTILINE)
    assert parts[0] == "", f"line {block.line}: a console block begins with a command"
    return [(command, lines.splitlines()) for command, lines in zip(parts[1::2], parts[2::2], strict=True)]


def lines_of(text: str) -> list[str]:
    """Lines of a shell block, those that end in a backslash joined with the next."""
    return text.replace("\\\n", " ").splitlines()


def answers_to(words: Sequence[str]) -> tuple[int, list[str]]:
    """Exit code of `fpnas WORDS`, and all lines it prints, without the padding of tables at the ends of lines."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = main(words)
    return code, [line.rstrip() for line in output.getvalue().splitlines()] + errors.getvalue().splitlines()


def run_command(command: str, expected: list[str]) -> None:
    """Run `fpnas ...` and compare all that it prints."""
    program, *arguments = shlex.split(command)
    assert program == "fpnas"
    code, actual = answers_to(arguments)
    shown = "\n".join(actual)
    assert fits(actual, expected), f"$ {command}\n{shown}"
    assert code == (2 if any(line.startswith("fpnas: error: ") for line in expected) else 0)


def run_line(line: str, appended: Mapping[str, Sequence[str]]) -> None:
    """Run `fpnas ...`, if a line has a command, with what is appended to its kind; it must succeed."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    assert words[0] == "fpnas", f"{line}: only fpnas is run"
    code, printed = answers_to([*words[1:], *appended.get(words[1], ())])
    assert code == 0, "\n".join([f"$ {line}", *printed])


def run_python(block: Block, names: dict[str, Any], where: str) -> str:
    """Execute a block among the names that the ones before it left; what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile("\n" * (block.line - 1) + block.text, where, "exec"), names)
    return output.getvalue()


def run_blocks(blocks: list[Block], where: str, appended: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Run a document's blocks in the working directory; the names that its Python left."""
    names: dict[str, Any] = {"__name__": "document"}
    printed = ""
    for block in blocks:
        is_output = block.note == "output"
        assert is_output or not printed, f"before line {block.line}: it prints what is not shown: {printed}"
        if is_output:
            assert block.text == printed, f"line {block.line}: printed is\n{printed}"
            printed = ""
        elif block.note.startswith(NOT_RUN) or (block.note == WITHOUT_CUDA and torch.cuda.is_available()):
            continue
        elif block.kind == "toml":
            write_file(block)
        elif block.kind == "console":
            for command, expected in commands_of(block):
                run_command(command, expected)
        elif block.kind == "bash":
            for line in lines_of(block.text):
                run_line(line, appended or {})
        elif block.kind == "python":
            printed = run_python(block, names, where)
    assert not printed
    return names
