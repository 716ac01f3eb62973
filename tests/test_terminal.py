"""What search, derive and train show: at a terminal, in a pipe, for programs, and when nothing is wanted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Captured, answer, document
from finished_runs import copied
from terminals import COLOUR, at_terminal, seen, undecided_environment

from fpnas.cli import main

FPNAS = [sys.executable, "-m", "fpnas"]
SHORT = ["--data=digits", "--epochs=1", "--batch-size=32", "--max-images=200", "--threads=1", "--workers=0"]
SEARCH = ["search", "--space=tiny", "--target-macs=0.3M", "--architecture-batch-size=32", "--warmup-epochs=0", *SHORT]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table_of(lines: list[str]) -> list[list[str]]:
    """Cells of the rows of the network's table, ruled or plain, without its head."""
    cells = [line.split() for line in lines if line.strip(" ─")]
    heads = [number for number, row in enumerate(cells) if row[:2] == ["group", "kernel"]]
    assert len(heads) == 1, lines
    return cells[heads[0] + 1 :]


def expected_table(architecture: dict[str, Any], cost: dict[str, Any], repeats: list[int]) -> list[list[str]]:
    """The same from the files, by what `fpnas cost` says of every block."""
    stem, *blocks, head = cost["blocks"]

    def row(name: str, chosen: list[str], parts: list[dict[str, Any]]) -> list[str]:
        macs = sum(part["macs"] for part in parts)
        return [name, *chosen, str(parts[-1]["channels"]), str(len(parts)), f"{macs:,}"]

    rows = [row("stem", ["3", stem["activation"], "-", "-"], [stem])]
    rest = iter(blocks)
    for group, repeat in zip(architecture["groups"], repeats, strict=True):
        chosen = ["bypassed"]
        if group["kernel"]:
            splits = str(group["splits"] or "-")
            chosen = [str(group["kernel"]), group["activation"], splits, f"{group['expansion']:g}"]
        rows.append(row(group["name"], chosen, [next(rest) for _ in range(repeat)]))
    rows.append(row("head", ["1", head["activation"], "-", "-"], [head]))
    return [*rows, ["total", f"{cost['macs']:,}"]]


def of_files(capfd: Captured, architecture: Path, network: Path) -> list[list[str]]:
    cost = document(capfd, "cost", network)
    return expected_table(json.loads(architecture.read_text()), cost, repeats=[1, 1, 2, 1])


def test_a_search_at_a_terminal(capfd: Captured) -> None:
    code, written = at_terminal([*FPNAS, *SEARCH, "--output=run"], columns=80, NO_COLOR="1")
    lines = seen(written)
    assert code == 0
    # Sentences are left to the terminal to break.
    assert [line for line in lines if len(line) > 80 and not line.startswith("fpnas: ")] == []
    assert not COLOUR.search(written)
    assert any("3/3" in line and " left " in line for line in lines)
    assert table_of(lines) == of_files(capfd, Path("run/architecture.json"), Path("run/network.json"))


def test_a_derivation_in_a_pipe(capfd: Captured, search_run: Path) -> None:
    # The smallest network of the space bypasses all it can.
    smallest = document(capfd, "space", "tiny")["macs"]["min"]
    environment = undecided_environment() | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [*FPNAS, "derive", search_run, f"--target-macs={smallest}", "--output=small.json"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.isascii() and ran.stdout.replace("\n", "").isprintable()
    rows = table_of(ran.stdout.splitlines())
    assert rows == of_files(capfd, Path("small.architecture.json"), Path("small.json"))
    assert [row[1] for row in rows[1:5]] == ["bypassed"] * 4


def test_a_training_shows_its_network_block_by_block(capfd: Captured, search_run: Path) -> None:
    text = answer(capfd, "train", search_run / "network.json", "--output=t", *SHORT)
    cost = document(capfd, "cost", "t/network.json")
    rows = table_of(text.splitlines())
    assert rows[-1] == ["total", f"{cost['macs']:,}"]
    assert sum(int(row[-2]) for row in rows[1:-2]) == len(cost["blocks"]) - 2
    assert sum(int(row[-1].replace(",", "")) for row in rows[:-1]) == cost["macs"]


def test_quiet_commands_say_nothing(capfd: Captured, search_run: Path, tmp_path: Path) -> None:
    assert main(["train", str(search_run / "network.json"), "--output=t", *SHORT, "--quiet"]) == 0
    assert main(["derive", str(copied(search_run, tmp_path)), "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_quiet_commands_still_answer_programs(capfd: Captured, search_run: Path) -> None:
    arguments = ["derive", search_run, "--output=small.json"]
    assert document(capfd, *arguments, "--quiet") == document(capfd, *arguments)


def test_json_is_all_there_is_on_standard_output(capfd: Captured) -> None:
    assert main([*SEARCH, "--output=run", "--json"]) == 0
    output, errors = capfd.readouterr()
    found = json.loads(output)
    assert found["macs"] == json.loads(Path("run/result.json").read_text())["macs"]
    assert " left " in errors and "\x1b" not in errors
