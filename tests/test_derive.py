"""Deriving again from a finished search, against enumeration of the tiny space."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from enumeration import all_indices
from finished_runs import copied
from refusals import tree

from fpnas.architecture import Architecture, architecture_from_json
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.derive import derive_run
from fpnas.distribution import from_state_dict
from fpnas.errors import UserError
from fpnas.files import write_json_atomic
from fpnas.network_file import load_network
from fpnas.network_spec import resolve
from fpnas.quantities import parse_quantity
from fpnas.report.comparison import comparison_charts
from fpnas.report.figures import figures
from fpnas.report.runs import read_run
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import load_weights, save_weights
from fpnas.search_result import read_result, result_figures
from fpnas.space import one_group_per_block
from fpnas.space_file import load_space, parse_space
from fpnas.supernet_search import search

SPACE = load_space("tiny")
ALL = all_indices(SPACE.cardinalities)
COSTS = build_cost_table(SPACE, input_size=8).cost(ALL)


def most_probable(run: Path, target: int) -> tuple[torch.Tensor, float]:
    tensors, about = load_weights(run / "checkpoints" / "final.safetensors", "search state")
    state = {"kind": about["distribution"], "cardinalities": SPACE.cardinalities}
    distribution = from_state_dict(state | {"logits": tensors["distribution.logits"]})
    with torch.no_grad():
        log_prob = distribution.log_prob(ALL).masked_fill(target < COSTS, -torch.inf)
    # Of equally probable ones that of the lowest cost, and of those the first, is the one to derive.
    best = torch.nonzero(log_prob > log_prob.max() - 1e-9).flatten()
    return ALL[best[COSTS[best].argmin()]], log_prob.max().item()


def refusal(run: Path, **options) -> str:
    before = tree(run)
    with pytest.raises(UserError) as error:
        derive_run(run, **options)
    assert tree(run) == before and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("target", ["120k", "0.2M", "260e3", "0.3M", "100M"])
def test_the_most_probable_within_another_budget(search_run: Path, tmp_path: Path, target: str) -> None:
    before = tree(search_run)
    derived = derive_run(search_run, target_macs=target, output=tmp_path / "small.json")
    assert tree(search_run) == before
    number = parse_quantity(target, "target")
    indices, log_prob = most_probable(search_run, number)
    spec = resolve(SPACE, Architecture.of(indices), input_size=8)
    assert derived.log_probability == pytest.approx(log_prob, abs=1e-9)
    assert derived.macs == network_cost(spec).macs <= number
    assert (derived.network, derived.architecture) == (
        tmp_path / "small.json",
        tmp_path / "small.architecture.json",
    )
    assert load_network(derived.network) == spec
    written = json.loads(derived.architecture.read_text())
    assert architecture_from_json(SPACE, written, "here") == Architecture.of(indices)


def test_without_options_the_search_result_comes_again(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    names = ("network.json", "architecture.json")
    before = [(run / name).read_bytes() for name in names]
    derived = derive_run(run)
    assert (derived.network, derived.architecture) == tuple(run / name for name in names)
    assert [(run / name).read_bytes() for name in names] == before
    result = json.loads((run / "result.json").read_text())
    assert (derived.macs, derived.log_probability) == (result["macs"], result["log_probability"])


def test_figures_of_a_run_are_those_of_the_network_in_it(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    before = json.loads((run / "result.json").read_text())
    derived = derive_run(run, target_macs="120k")
    macs = network_cost(load_network(run / "network.json")).macs
    assert macs == derived.macs < before["macs"]
    expected = {
        "macs": macs,
        "budget_share": macs / 300_000,
        "log_probability": derived.log_probability,
        "supernet_top1": None,
    }
    assert json.loads((run / "result.json").read_text()) == before | expected
    result = read_result(RunDirectory.open(run, "search"), SPACE)
    assert result.macs == macs and math.isnan(result.supernet_top1)
    assert result_figures(result) == before | expected
    figures_shown = {figure.name: figure.value for figure in figures(read_run(run))}
    assert figures_shown["multiply-adds"] == macs and "accuracy with shared weights, %" not in figures_shown
    comparison_charts([read_run(search_run), read_run(run)])
    # Back to the first network: of what was measured of it nothing is known any more.
    assert derive_run(run).macs == before["macs"]
    assert json.loads((run / "result.json").read_text()) == before | {"supernet_top1": None}
    # The run's own file by name is the run's own file.
    derived = derive_run(run, target_macs="120k", output=run / "checkpoints" / ".." / "network.json")
    assert derived.architecture == run / "architecture.json" and not (run / "network.architecture.json").exists()
    assert json.loads((run / "result.json").read_text()) == before | expected


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_derivation_that_was_killed_is_made_good_by_the_next(
    search_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    run = copied(search_run, tmp_path)
    whole = copied(search_run, tmp_path / "whole")
    derive_run(whole, target_macs="120k")
    left = iter(range(written))

    def write_or_die(path: Path, content: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write_json_atomic(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("fpnas.derive.write_json_atomic", write_or_die)
        with pytest.raises(KeyboardInterrupt):
            derive_run(run, target_macs="120k")
    derive_run(run, target_macs="120k")
    assert tree(run) == tree(whole)


def test_rows_that_chose_alike_to_the_end_do_so_in_a_derivation(tmp_path: Path) -> None:
    """Of a space in which every block may choose for itself, and a search that never let them."""
    space = replace(SPACE, share="block", groups=one_group_per_block(SPACE.groups))
    few = {"epochs": 3, "warmup_epochs": 1, "batch_size": 50, "architecture_batch_size": 50, "max_images": 400}
    found = search(space, "digits", target_macs="300k", output=tmp_path / "run", joint_from=1.0, quiet=True, **few)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    derived = derive_run(tmp_path / "run")
    assert (derived.macs, derived.log_probability) == (result["macs"], result["log_probability"])
    for target in ("150k", "400k"):
        written = derive_run(tmp_path / "run", target_macs=target, output=tmp_path / target).architecture.read_text()
        choices = architecture_from_json(space, json.loads(written), "here").indices
        assert choices[2] == choices[3]  # the two blocks of "deep"
    assert found.architecture.indices[2] == found.architecture.indices[3]


def test_too_small_a_budget_names_the_option_and_the_smallest(search_run: Path, tmp_path: Path) -> None:
    smallest = int(COSTS.min())
    assert derive_run(search_run, target_macs=str(smallest), output=tmp_path / "net.json").macs == smallest
    message = refusal(search_run, target_macs=str(smallest - 1))
    assert "--target-macs" in message and str(smallest - 1) in message and str(smallest) in message, message


@pytest.mark.parametrize("target", ["", "many", "-3", "nan", "0"])
def test_no_quantity(search_run: Path, target: str) -> None:
    assert "--target-macs" in refusal(search_run, target_macs=target)


@pytest.mark.parametrize("output", ["absent/small.json", ".", ""])
def test_output_that_cannot_be_written(
    search_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(search_run, output=Path(output))
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_a_folder(search_run: Path, tmp_path: Path) -> None:
    (tmp_path / "small.json").mkdir()
    assert "small.json" in refusal(search_run, output=tmp_path / "small.json")
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]


def test_training_instead_of_a_search(train_run: Path) -> None:
    assert "search run is expected" in refusal(train_run)


@pytest.mark.parametrize("missing", ["checkpoints/final.safetensors", "network.json", "config.yaml"])
def test_missing_file(search_run: Path, tmp_path: Path, missing: str) -> None:
    run = copied(search_run, tmp_path)
    (run / missing).unlink()
    assert Path(missing).name in refusal(run)


@pytest.mark.parametrize("change", ["truncated", "space", "kind", "no kind", "shape", "no logits", "nan"])
def test_altered_search_state(search_run: Path, tmp_path: Path, change: str) -> None:
    run = copied(search_run, tmp_path)
    path = run / "checkpoints" / "final.safetensors"
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        tensors, about = load_weights(path, "search state")
        logits = tensors["distribution.logits"]
        tensors |= {
            "shape": {"distribution.logits": logits[:1]},
            "nan": {"distribution.logits": logits * torch.nan},
        }.get(change, {})
        about |= {"space": {"space": "0" * 16}, "kind": {"distribution": "none"}}.get(change, {})
        if change == "no kind":
            del about["distribution"]
        if change == "no logits":
            del tensors["distribution.logits"]
        save_weights(path, tensors, about)
    assert str(run) in refusal(run)


def test_a_run_holds_its_space(search_run: Path, tmp_path: Path) -> None:
    """Whatever becomes of the space it was given: gone, or changed under its name."""
    run = copied(search_run, tmp_path)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("space: tiny", f"space: {tmp_path}/absent.toml"))
    assert derive_run(run, output=tmp_path / "net.json").macs > 0
    text = (run / "space.toml").read_text()
    assert parse_space(text, "s") == SPACE
    (run / "space.toml").write_text(text.replace("[24, 32]", "[24, 40]"))
    assert "space.toml has changed since this search" in refusal(run)
    (run / "space.toml").unlink()
    assert "space.toml: no such file" in refusal(run)
