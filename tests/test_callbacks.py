"""Callbacks: what they are shown is what was recorded, looking on changes nothing, and an early end is an end."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import pytest
import torch
from enumeration import all_indices
from finished_runs import network_file, search_config, train_config
from test_resume import Killed, assert_equal_runs, killed_after

from fpnas.cost.table import build_cost_table
from fpnas.runtime.callbacks import Callback, Moment
from fpnas.runtime.checkpoint import Checkpoints
from fpnas.runtime.metrics import read_metrics
from fpnas.search_result import SearchResult
from fpnas.space_file import load_space
from fpnas.supernet_evaluator import SupernetEvaluator
from fpnas.supernet_search import run_search, search_supernet
from fpnas.train import run_train
from fpnas.training.load import load_data

SPACE = load_space("tiny")
# 100 images to learn the weights from: 4 steps an epoch, 12 in all, 4 of them warm-up.
STEPS, STEPS_PER_EPOCH = 12, 4
LIGHT: dict[str, Any] = {"max_images": 200, "batch_size": 25, "epochs": 3, "warmup_epochs": 1}


def search_to(output: Path, *callbacks: Callback, **options: Any) -> SearchResult:
    return run_search(search_config(output, **LIGHT, **options), callbacks=callbacks)


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search without callbacks."""
    output = tmp_path_factory.mktemp("unwatched") / "run"
    search_to(output)
    return output


def meddle(moment: Moment) -> None:
    """Do what a callback can do wrong: draw from every global generator, and change what it was shown."""
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    if moment.distribution is not None:
        with torch.no_grad():
            moment.distribution.logits.fill_(3.0)
            moment.distribution.mask.fill_(False)
    with pytest.raises(TypeError):
        moment.figures["loss"] = 0.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        moment.step = 0  # type: ignore[misc]


def ends_at(step: int, kind: str = "step") -> Callback:
    return lambda moment: moment.kind == kind and moment.step == step


def test_what_is_shown_is_what_is_recorded(tmp_path: Path) -> None:
    seen: list[Moment] = []
    result = search_to(tmp_path / "run", seen.append)
    *shown, end = seen
    assert [dict(moment.figures) for moment in shown] == read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [moment.step for moment in shown if moment.kind == "step"] == list(range(1, STEPS + 1))
    assert [(moment.step, moment.figures["epoch"]) for moment in shown if moment.kind == "epoch"] == [
        (4, 1),
        (8, 2),
        (12, 3),
    ]
    assert {(moment.total_steps, moment.run) for moment in seen} == {(STEPS, tmp_path / "run")}
    assert (end.kind, end.step) == ("end", STEPS)
    assert dict(end.figures) == json.loads((tmp_path / "run" / "result.json").read_text())
    # Copies: those of earlier moments are as they were then.
    for moment in shown:
        assert moment.distribution is not None
        if moment.kind == "epoch":
            assert moment.distribution.entropy().item() == moment.figures["entropy_nats"]
    assert shown[0].distribution.entropy().item() == pytest.approx(SPACE.entropy_nats)
    assert result.steps == STEPS


@pytest.mark.parametrize("steps", [[], [3, 4, 6]])
def test_looking_on_changes_nothing(unwatched: Path, tmp_path: Path, steps: list[int]) -> None:
    for number, step in enumerate(steps):
        with pytest.MonkeyPatch.context() as patch:
            killed_after(step, patch)
            with pytest.raises(Killed):
                search_to(tmp_path / "run", meddle, resume=number > 0, checkpoint_every=0.0)
    search_to(tmp_path / "run", meddle, resume=True)
    assert_equal_runs(unwatched, tmp_path / "run")


def test_nothing_need_be_written_to_be_shown() -> None:
    seen: list[Moment] = []
    data = load_data("digits", max_images=200, parts=("train",))
    search_supernet(SPACE, data, search_config(Path("unused"), **LIGHT), callbacks=[seen.append])
    assert [moment.kind for moment in seen].count("step") == STEPS and {moment.run for moment in seen} == {None}


@pytest.mark.parametrize("end", [ends_at(7), ends_at(8), ends_at(8, "epoch"), ends_at(2)])
def test_an_early_end_is_an_end(tmp_path: Path, end: Callback) -> None:
    seen: list[Moment] = []
    result = search_to(tmp_path / "run", end, seen.append)
    assert [moment.kind for moment in seen][-1] == "end" and seen[-1].step == seen[-2].step == result.steps < STEPS
    assert result.steps == len([moment for moment in seen if moment.kind == "step"])
    # The network is the most probable within the budget under the distribution as it was.
    distribution = seen[-1].distribution
    assert distribution is not None
    everything = all_indices(SPACE.cardinalities)
    within = everything[build_cost_table(SPACE, input_size=8).cost(everything) <= 300_000]
    with torch.no_grad():
        assert result.log_probability == pytest.approx(distribution.log_prob(within).max().item(), abs=1e-9)
    # It is finished: nothing is done, or shown, again.
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = search_to(tmp_path / "run", pytest.fail, resume=True)
    assert again == result
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_an_early_end_is_remembered(tmp_path: Path) -> None:
    """Killed between the wish to end and the result: it goes on to the result, whoever looks on then."""
    search_to(tmp_path / "whole", ends_at(6))
    with pytest.MonkeyPatch.context() as patch:
        killed_after(6, patch)
        with pytest.raises(Killed):
            search_to(tmp_path / "killed", ends_at(6))
    assert search_to(tmp_path / "killed", resume=True).steps == 6
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("answer", [None, False, 1, "yes", [True]])
def test_only_true_ends_a_run(unwatched: Path, tmp_path: Path, answer: Any) -> None:
    assert search_to(tmp_path / "run", lambda moment: answer).steps == STEPS
    assert_equal_runs(unwatched, tmp_path / "run")


@pytest.mark.parametrize("true", [np.True_, torch.tensor(True)])
def test_other_kinds_of_true_do_so_too(tmp_path: Path, true: Any) -> None:
    assert search_to(tmp_path / "run", lambda moment: true if moment.step == 6 else None).steps == 6


def test_a_step_is_shown_whose_epoch_was_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Moment] = []
    with monkeypatch.context() as patched:
        patched.setattr(SupernetEvaluator, "score", lambda self, indices_GV, roughly: os.kill(os.getpid(), SIGTERM))
        with pytest.raises(SystemExit):
            search_to(tmp_path / "run", seen.append)
    search_to(tmp_path / "run", seen.append, resume=True)
    assert [moment.step for moment in seen if moment.kind == "step"] == list(range(1, STEPS + 1))
    assert [moment.step for moment in seen if moment.kind == "epoch"] == [4, 8, 12]


@pytest.mark.parametrize(("step", "kind"), [(6, "step"), (8, "epoch")])
def test_a_mistake_in_a_callback_costs_no_step(unwatched: Path, tmp_path: Path, step: int, kind: str) -> None:
    def mistaken(moment: Moment) -> None:
        if (moment.step, moment.kind) == (step, kind):
            raise ZeroDivisionError("a mistake")

    with pytest.raises(ZeroDivisionError):
        search_to(tmp_path / "run", mistaken, checkpoint_every=1e6)
    assert next(Checkpoints(tmp_path / "run" / "checkpoints", "search").whole([])).step == step
    seen: list[Moment] = []
    search_to(tmp_path / "run", seen.append, resume=True)
    assert seen[0].step == step + 1
    assert_equal_runs(unwatched, tmp_path / "run")


def train_to(folder: Path, output: str, *callbacks: Callback, **options: Any) -> Any:
    return run_train(network_file(folder), train_config(folder / output, **options), callbacks=callbacks)


def test_a_training_shows_its_epochs(train_run: Path, tmp_path: Path) -> None:
    seen: list[Moment] = []
    result = train_to(tmp_path, "run", meddle, seen.append)
    assert [(moment.kind, moment.step) for moment in seen] == [
        *(("epoch", 22 * epoch) for epoch in range(1, 6)),
        ("end", 110),
    ]
    assert [dict(moment.figures) for moment in seen[:-1]] == read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert seen[-1].figures["top1"] == result.top1 and {moment.distribution for moment in seen} == {None}
    assert_equal_runs(train_run, tmp_path / "run")


def test_a_training_that_ends_early(train_run: Path, tmp_path: Path) -> None:
    result = train_to(tmp_path, "run", ends_at(44, "epoch"))
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [record["epoch"] for record in records] == [1, 2] and result.top1 == records[-1]["test_top1"]
    assert records == [
        record | {"seconds": mine["seconds"]}
        for record, mine in zip(read_metrics(train_run / "metrics.jsonl")[:2], records, strict=True)
    ]
    unmeasured = train_to(tmp_path, "rarely", ends_at(44, "epoch"), evaluate_every=5)
    assert (unmeasured.top1, unmeasured.images, unmeasured.raw_top1) == (result.top1, result.images, result.raw_top1)
    alone = train_to(tmp_path, "rarely, no average", ends_at(44, "epoch"), evaluate_every=5, ema_decay=0.0)
    assert alone.raw_top1 == alone.top1 > 0
    # The card says how long it was in the end.
    assert result.epochs == 2 and "- `epochs`: 2" in (tmp_path / "run" / "README.md").read_text()
    again = train_to(tmp_path, "run", pytest.fail, resume=True)
    # What a training was wrong about is in its folder, and not read again.
    assert replace(again, network=result.network, mistakes=result.mistakes) == result
