"""The short examples run as their headers say, and what they print at the end is so; README's Python is run, too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fpnas.space import ACTIVATIONS
from fpnas.space_file import load_space

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NAMES = ("own_space", "own_cost", "own_objective")


def output_of(folder: Path, *command: str | Path) -> str:
    """What a program prints, run in an empty folder, where it leaves nothing."""
    process = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    assert list(folder.iterdir()) == []
    return process.stdout


def figures(pattern: str, output: str) -> list[float]:
    """The numbers that the groups of a pattern stand for."""
    found = re.search(pattern, output)
    assert found, output
    return [float(number.replace(",", "")) for number in found.groups()]


def test_every_example_has_a_header_with_its_command() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*NAMES, "demo"}
    for name in NAMES:
        header = re.match(r'"""(.+?)"""', (EXAMPLES / f"{name}.py").read_text(), re.DOTALL)
        assert header and f"\n    python examples/{name}.py\n" in header[1] and "Expect" in header[1]


def test_a_space_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = output_of(tmp_path, EXAMPLES / "own_space.py")
    macs, percent = figures(r"found ([\d,]+) multiply-adds, ([\d.]+)% of the budget", output)
    assert macs <= 300_000 and percent == pytest.approx(macs / 3000, abs=0.06) and percent >= 95
    assert "gives (2, 10) logits" in output and "mish" in output
    (accuracy,) = figures(r"epoch 4: [\d.]+ nats, (\d+)% of digits", output)
    assert accuracy >= 85
    for module in ("space_file", "stem_and_head"):
        monkeypatch.setattr(f"fpnas.{module}.ACTIVATIONS", [*ACTIVATIONS, "mish"])
    space = load_space(EXAMPLES / "own_space.toml")
    assert f"space own: {space.number_of_architectures:,} architectures" in output


def test_a_cost_of_one_s_own(tmp_path: Path) -> None:
    output = output_of(tmp_path, EXAMPLES / "own_cost.py")
    blocks, least, most = figures(r"(\d+) blocks: ([\d.]+) to ([\d.]+) ms", output)
    (budget,) = figures(r"budget (\d+) ns", output)
    found, percent = figures(r"found (\d+) ns by the table, ([\d.]+)% of the budget", output)
    assert blocks == 324 and 0 < least < budget / 1e6 < most
    assert least * 1e6 - 5000 <= found <= budget and percent == pytest.approx(100 * found / budget, abs=0.06)


def test_an_objective_of_one_s_own(tmp_path: Path) -> None:
    output = output_of(tmp_path, EXAMPLES / "own_objective.py")
    pixels, macs, evaluations = figures(r"found (\d+) pixels, (\d+) multiply-adds, (\d+) evaluations", output)
    (optimum,) = figures(r"optimum (\d+) pixels", output)
    assert pixels == optimum and macs <= 120_000 and evaluations < 0.05 * load_space("tiny").number_of_architectures


def test_the_python_of_the_readme(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## In Python\n")[2].partition("\n## ")[0]
    code, expected = re.findall(r"```(?:python|text)\n(.*?)```", section, re.DOTALL)
    assert output_of(tmp_path, "-c", code) == expected
