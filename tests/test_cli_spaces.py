"""`fpnas spaces`, `fpnas space` and `fpnas cost`: figures as JSON, and tables that show the same."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Captured, answer, document

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.cost import network_cost
from fpnas.network_file import network_to_json
from fpnas.network_spec import resolve
from fpnas.space_file import load_space, space_to_toml


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_spaces(capfd: Captured) -> None:
    rows = {row["name"]: row for row in document(capfd, "spaces")}
    f = rows["fbnetv2-f"]
    assert (f["groups"], f["blocks"], f["initial_samples"]) == (10, 17, 14)
    assert f["entropy_nats"] == pytest.approx(56.25, abs=0.005)
    assert re.fullmatch(r"\d+", f["architectures"]) and float(f["architectures"]) == pytest.approx(2.70e24, rel=2e-3)
    assert f["macs"]["median"] == pytest.approx(33.9e6, rel=0.01)
    table = answer(capfd, "spaces")
    assert all(name in table for name in rows) and "56.25" in table


def test_one_space(capfd: Captured) -> None:
    tiny = document(capfd, "space", "tiny")
    assert tiny["architectures"] == "73728" and tiny["input_size"] == 8
    # Products of the choices of each group, and their sums.
    assert (tiny["joint_parameters"], tiny["factorized_parameters"]) == (4 + 96 + 48 + 4, 7 + 13 + 11 + 7)
    assert [row["repeat"] for row in tiny["rows"]] == [1, 1, 2, 1]
    assert tiny["macs"]["min"] < tiny["macs"]["median"] < tiny["macs"]["max"]
    larger = document(capfd, "space", "tiny", "--input-size", "16")
    assert larger["input_size"] == 16 and larger["macs"]["min"] > tiny["macs"]["min"]
    assert "73728" in answer(capfd, "space", "tiny")


def test_a_target_is_judged_for_the_data(capfd: Captured) -> None:
    judged = document(capfd, "space", "fbnetv2-f", "--target-macs", "60M")["target"]
    assert judged["macs"] == 60_000_000 and 0.98 < judged["share_at_most"] < 1
    assert judged["verdict"] in answer(capfd, "space", "fbnetv2-f", "--target-macs", "60M")
    least = document(capfd, "space", "tiny", "--num-classes", "2", "--in-channels", "3")["macs"]["min"]
    assert least == document(capfd, "space", "tiny")["macs"]["min"] - 8 * 64 + 2 * 9 * 16 * 64


@pytest.mark.parametrize(
    ("name", "macs", "weights", "size"),
    [("fbnetv2-f1", 56_410_560, 5_999_408, 128), ("fbnetv2-f4", 238_351_984, 6_994_824, 224)],
)
def test_cost_of_published_networks(capfd: Captured, name: str, macs: int, weights: int, size: int) -> None:
    cost = document(capfd, "cost", name)
    assert (cost["macs"], cost["weights"], cost["input_size"]) == (macs, weights, size)
    for total in ("macs", "weights", "params"):
        assert sum(block[total] for block in cost["blocks"]) == cost[total]
    table = answer(capfd, "cost", name)
    assert f"{macs:,}" in table and "bypass" in table and "ir_pool" in table
    assert all(f"{block['macs']:,}" in table for block in cost["blocks"])
    assert document(capfd, "cost", name, "--input-size", str(size))["macs"] == macs
    assert document(capfd, "cost", name, "--input-size", str(size * 2))["macs"] > 3.5 * macs


def test_an_architecture_of_a_space_of_one_s_own(capfd: Captured, tmp_path: Path) -> None:
    space = replace(load_space("tiny"), name="mine")
    architecture = Architecture(tuple((0,) * 5 for _ in space.groups))
    Path("a.json").write_text(json.dumps(architecture_to_json(space, architecture)))
    Path("mine.toml").write_text(space_to_toml(space))
    expected = network_cost(resolve(space, architecture)).macs
    assert document(capfd, "cost", "a.json", "--space", "mine.toml")["macs"] == expected
    Path("mine.toml").rename("space.toml")
    assert document(capfd, "cost", "a.json")["macs"] == expected


@pytest.mark.parametrize("names", [("architecture.json", "network.json"), ("a.architecture.json", "a.json")])
def test_an_architecture_is_counted_for_the_data_it_was_found_for(capfd: Captured, names: tuple[str, str]) -> None:
    space = load_space("tiny")
    architecture = Architecture(tuple((0,) * 5 for _ in space.groups))
    network = resolve(space, architecture, input_size=40, in_channels=3, num_classes=7)
    Path(names[0]).write_text(json.dumps(architecture_to_json(space, architecture)))
    Path(names[1]).write_text(json.dumps(network_to_json(network)))
    counted = document(capfd, "cost", names[0])
    assert counted["macs"] == network_cost(network).macs != network_cost(resolve(space, architecture)).macs
    assert document(capfd, "cost", names[0], "--input-size", "80")["macs"] > 3 * counted["macs"]
