"""Runs that are stopped and go on end as if they had not been: to the bit."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import heeding_interrupts
from finished_runs import copied, network_file, repeatable_metrics, search_config, train_config
from refusals import image_folder, sound_network

from fpnas.errors import UserError
from fpnas.model_folder import load, save_model
from fpnas.network_file import load_network
from fpnas.runtime.checkpoint import Checkpoints
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.weights import load_weights
from fpnas.strategies import STRATEGIES
from fpnas.supernet_search import run_search
from fpnas.train import run_train, train
from fpnas.training.load import load_data

SEARCH_STEPS, TRAIN_STEPS = 33, 110


class Killed(Exception):
    """In place of a signal that nothing can be done about."""


def killed_after(step: int, patch: pytest.MonkeyPatch) -> None:
    """From now on a run dies after that step, whether it has written a checkpoint or not."""
    step_done = RunKeeper.step_done

    def dying(keeper: RunKeeper, done: int, *arguments: Any, **options: Any) -> None:
        step_done(keeper, done, *arguments, **options)
        if done == step:
            raise Killed

    patch.setattr(RunKeeper, "step_done", dying)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    name = "model.safetensors" if (run / "model.safetensors").exists() else "checkpoints/final.safetensors"
    return load_weights(run / name, "")[0]


def assert_equal_runs(one: Path, other: Path) -> None:
    for name in ("architecture.json", "network.json"):
        assert not (one / name).exists() or (one / name).read_bytes() == (other / name).read_bytes(), name
    assert repeatable_metrics(one) == repeatable_metrics(other)
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
    results = [json.loads((run / "result.json").read_text()) | {"seconds": 0} for run in (one, other)]
    assert results[0] == results[1]


def stopped_and_resumed(run: Callable[..., object], output: Path, steps: list[int], **options: Any) -> None:
    for index, step in enumerate(steps):
        with pytest.MonkeyPatch.context() as patch:
            killed_after(step, patch)
            with pytest.raises(Killed):
                run(output, resume=index > 0, **options)
    run(output, resume=True, **options)


def search_to(output: Path, **options: Any) -> None:
    run_search(search_config(output, **options))


@pytest.mark.parametrize("every", [0.0, 1e6])
def test_a_search_goes_on_to_the_same_end(search_run: Path, tmp_path: Path, every: float) -> None:
    # Checkpoints after every step, then at epochs alone: steps 5, 17 and 25 lie within epochs, 11 and 33 end one.
    stopped_and_resumed(search_to, tmp_path / "run", [5, 11, 17, 25, SEARCH_STEPS], checkpoint_every=every)
    assert_equal_runs(search_run, tmp_path / "run")


def test_a_training_goes_on_to_the_same_end(train_run: Path, tmp_path: Path) -> None:
    file = network_file(tmp_path)

    def train_to(output: Path, **options: Any) -> None:
        run_train(file, train_config(output, **options))

    stopped_and_resumed(train_to, tmp_path / "run", [7, 22, 60, 61, TRAIN_STEPS], checkpoint_every=0.0)
    assert_equal_runs(train_run, tmp_path / "run")


EVERYTHING: dict[str, Any] = {
    "epochs": 2,
    "max_images": 200,
    "batch_size": 20,
    "optimizer": "rmsprop",
    "learning_rate": 0.01,
    "schedule": "exponential",
    "decay_rate": 0.9,
    "crop_scale": 0.4,
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "random_erasing": 0.5,
    "mixup": 0.2,
    "cutmix": 1.0,
    "repeats": 2,
    "plain_epochs": 1,
    "dropout": 0.3,
    "drop_path": 0.3,
}


def test_a_training_by_the_whole_recipe_goes_on_to_the_same_end(train_run: Path, tmp_path: Path) -> None:
    file = network_file(tmp_path)

    def train_to(output: Path, **options: Any) -> None:
        run_train(file, train_config(output, teacher=str(train_run), **EVERYTHING | options))

    train_to(tmp_path / "whole")
    stopped_and_resumed(train_to, tmp_path / "run", [3, 10, 13, 20], checkpoint_every=0.0)
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


def test_a_training_does_not_go_on_with_another_teacher(train_run: Path, tmp_path: Path) -> None:
    file, teacher = network_file(tmp_path), copied(train_run, tmp_path)
    options: dict[str, Any] = {"epochs": 2, "max_images": 100, "batch_size": 50, "teacher": str(teacher)}
    with pytest.MonkeyPatch.context() as patch:
        killed_after(2, patch)
        with pytest.raises(Killed):
            run_train(file, train_config(tmp_path / "run", **options))
    model = load(teacher)
    with torch.no_grad():
        model.network.classifier.bias[0] += 1e-3
    save_model(teacher, model)
    with pytest.raises(UserError, match=r"--teacher: not what .*run began with"):
        run_train(file, train_config(tmp_path / "run", resume=True, **options))


def test_a_training_whose_images_have_become_fewer_blames_them(tmp_path: Path) -> None:
    image_folder(tmp_path / "images", train__cat=16, train__dog=16, val__cat=2, val__dog=2)
    file = network_file(tmp_path, num_classes=2)
    options: dict[str, Any] = {"data": str(tmp_path / "images"), "image_size": 12, "epochs": 2, "batch_size": 8}
    with pytest.MonkeyPatch.context() as patch:
        killed_after(7, patch)
        with pytest.raises(Killed):
            run_train(file, train_config(tmp_path / "run", checkpoint_every=0.0, **options))
    for index in range(8, 16):  # 4 steps are left of 8
        (tmp_path / "images" / "train" / "cat" / f"{index}.png").unlink()
        (tmp_path / "images" / "train" / "dog" / f"{index}.png").unlink()
    with pytest.raises(UserError, match=r"^--data: not what .*run began with"):
        run_train(file, train_config(tmp_path / "run", resume=True, **options))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_on(tmp_path: Path, strategy: str) -> None:
    light = {"strategy": strategy, "max_images": 300, "checkpoint_every": 0.0}
    search_to(tmp_path / "whole", **light)
    stopped_and_resumed(search_to, tmp_path / "parts", [1, 3, 4, 5], **light)
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_stays_as_it_is(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = run_search(search_config(run, resume=True))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert again.macs == json.loads((run / "result.json").read_text())["macs"]


def test_a_finished_training_is_not_shown_for_another_network(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    other = network_file(tmp_path, head={**sound_network()["head"], "channels": 40})
    for _ in range(2):  # who was refused does not stay at work on it
        with pytest.raises(UserError, match=f"^network file: not what {run} began with; without --resume"):
            run_train(other, train_config(run, resume=True))
    assert run_train(run / "network.json", train_config(run, resume=True)).macs > 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_resume_where_nothing_is_begins_a_run(search_run: Path, tmp_path: Path) -> None:
    search_to(tmp_path / "run", resume=True)
    assert_equal_runs(search_run, tmp_path / "run")


def stopped_search(output: Path, step: int = 25, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        killed_after(step, patch)
        with pytest.raises(Killed):
            search_to(output, **options)
    return output


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "seed 0, now 1"),
        ({"epochs": 4}, "epochs 3, now 4"),
        ({"learning_rate": 0.1, "batch_size": 32}, "batch_size 64, now 32"),
        ({"max_images": 700}, "max_images"),
        ({"space": "fbnetv2-f-32", "image_size": 28}, "space"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    run = stopped_search(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=named) as error:
        search_to(run, resume=True, **changed)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_is_refused_keeps_its_space(search_run: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes((search_run / "space.toml").read_bytes())
    run = stopped_search(tmp_path / "run", space=str(own))
    own.write_text(own.read_text().replace("[0, 3, 5]", "[0, 3, 7]"))
    before = (run / "space.toml").read_bytes()
    assert own.read_bytes() != before
    with pytest.raises(UserError, match="--space: not what"):
        search_to(run, resume=True, space=str(own))
    assert (run / "space.toml").read_bytes() == before


def test_a_run_from_before_a_field_of_the_configuration_goes_on_with_its_default(
    search_run: Path, train_run: Path, tmp_path: Path
) -> None:
    run = stopped_search(tmp_path / "run")
    trained = copied(train_run, tmp_path)
    for folder, field in ((run, "precision"), (trained, "random_erasing")):
        document = yaml.safe_load((folder / "config.yaml").read_text())
        del document["configuration"][field]
        (folder / "config.yaml").write_text(yaml.safe_dump(document))
    search_to(run, resume=True)
    assert_equal_runs(search_run, run)
    assert run_train(trained / "network.json", train_config(trained, resume=True)).macs > 0
    with pytest.raises(UserError, match=r"another configuration: random_erasing 0.0, now 0.5"):
        run_train(trained / "network.json", train_config(trained, resume=True, random_erasing=0.5))


def test_what_may_change_may(search_run: Path, tmp_path: Path) -> None:
    run = stopped_search(tmp_path / "run")
    search_to(run, resume=True, workers=1, quiet=False, checkpoint_every=3)
    assert_equal_runs(search_run, run)


def damaged(path: Path, how: str, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: generator.randrange(1, len(content))]
    elif how == "flipped":
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    else:
        content = bytearray()
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    search_run: Path, tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = stopped_search(tmp_path / "run")
    newest = max(path.name for path in (begun / "checkpoints").iterdir())
    for number in range(4 if how == "empty" else 20):
        run = copied(begun, tmp_path / str(number))
        damaged(run / "checkpoints" / newest, how, random.Random(number))
        checkpoints = Checkpoints(run / "checkpoints", "search")
        skipped: list[str] = []
        assert next(checkpoints.whole(skipped)).step == 11
        assert len(skipped) == 1 and newest in skipped[0] and "\n" not in skipped[0]
    search_to(run, resume=True)
    assert newest in capfd.readouterr().err
    assert_equal_runs(search_run, run)


def test_no_whole_checkpoint_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = stopped_search(tmp_path / "run")
    for path in (run / "checkpoints").iterdir():
        damaged(path, "cut", random.Random(0))
    capfd.readouterr()
    with pytest.raises(UserError, match="no checkpoint is whole; a new --output is needed") as error:
        search_to(run, resume=True)
    assert "\n" not in str(error.value) and not capfd.readouterr().err
    assert str(error.value).count("step-") == len(list((run / "checkpoints").iterdir()))


def test_a_checkpoint_of_another_version_is_not_read(tmp_path: Path) -> None:
    import hashlib

    run = stopped_search(tmp_path / "run")
    newest = max((run / "checkpoints").iterdir())
    document = torch.load(newest, weights_only=True)
    torch.save(document | {"format": "fpnas.checkpoint/2"}, newest)
    content = newest.read_bytes()
    newest.rename(newest.with_name(f"step-00000022-{hashlib.sha256(content).hexdigest()[:16]}.pt"))
    skipped: list[str] = []
    assert next(Checkpoints(run / "checkpoints", "search").whole(skipped)).step == 11
    assert "fpnas.checkpoint/2" in skipped[0]


def test_a_record_that_was_cut_goes_back_to_where_it_is_whole(search_run: Path, tmp_path: Path) -> None:
    run = stopped_search(tmp_path / "run")
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:15]) + lines[15][:9])
    search_to(run, resume=True)
    assert_equal_runs(search_run, run)


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "train")
    for step, score in enumerate((50.0, 90.0, 80.0, None, 70.0), 1):
        checkpoints.save(step, {"x": torch.ones(step)}, score)
    again = Checkpoints(tmp_path, "train")
    assert [checkpoint.step for checkpoint in again.whole([])] == [5, 4, 2]
    next(again.whole([]))
    again.save(6, {}, 85.0)
    assert [checkpoint.step for checkpoint in again.whole([])] == [6, 5, 2]


def test_a_damaged_checkpoint_takes_no_place_of_a_whole_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "train")
    checkpoints.save(100, {"x": torch.ones(1)})
    damaged(checkpoints.save(200, {"x": torch.ones(2)}), "flipped", random.Random(0))
    again = Checkpoints(tmp_path, "train")
    assert next(again.whole([])).step == 100
    again.save(150, {"x": torch.ones(3)})
    assert [checkpoint.step for checkpoint in Checkpoints(tmp_path, "train").whole([])] == [150, 100]


def test_a_second_process_on_a_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []
    step_done = RunKeeper.step_done

    def meanwhile(keeper: RunKeeper, *arguments: Any, **options: Any) -> None:
        if not refused:
            refused.append(True)
            with pytest.raises(UserError, match="another process is at work"):
                search_to(tmp_path / "run", resume=True)
        step_done(keeper, *arguments, **options)

    monkeypatch.setattr(RunKeeper, "step_done", meanwhile)
    search_to(tmp_path / "run")
    assert refused


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def without(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", without)
    config = train_config(tmp_path / "run", epochs=1, batch_size=50)
    train(load_network(network_file(tmp_path)), load_data("digits", max_images=100), config, write=True)
    assert (tmp_path / "run" / "result.json").exists() and "cannot be locked: No locks" in capfd.readouterr().err


LONGER = ("--epochs", "20", "--warmup-epochs", "8", "--max-images", "700", "--batch-size", "16")


def started(output: Path, *options: str) -> "subprocess.Popen[str]":
    command = (sys.executable, "-m", "fpnas", "search", "--data", "digits", "--space", "tiny", "--target-macs", "0.3M")
    return subprocess.Popen(
        [*command, "--threads", "1", "--output", str(output), *LONGER, *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=heeding_interrupts,
    )


def steps_recorded(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def signalled(output: Path, number: int, lines: int, *options: str) -> tuple[int, str, float]:
    """Exit code, standard error, and seconds from the signal, which comes at so many lines of the record."""
    process = started(output, *options)
    while steps_recorded(output) < lines and process.poll() is None:
        time.sleep(0.005)
    begin = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process.returncode, error, time.monotonic() - begin


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint(tmp_path: Path, number: int, code: int) -> None:
    run = tmp_path / "run"
    assert (found := signalled(run, number, 100))[0] == code
    assert "Traceback" not in found[1] and found[2] < 10
    # Epochs have 21 steps: this one is of the step that was under way.
    newest = next(Checkpoints(run / "checkpoints", "search").whole([]))
    assert newest.state["keeper"]["recorded_bytes"] == (run / "metrics.jsonl").stat().st_size
    assert newest.step >= 95


def test_kills_leave_nothing_but_time_behind(tmp_path: Path) -> None:
    assert started(tmp_path / "whole").wait() == 0
    run = tmp_path / "killed"
    for lines in (1, 150, 300):
        assert signalled(run, signal.SIGKILL, lines, "--resume")[0] == -signal.SIGKILL
    assert started(run, "--resume").wait() == 0
    assert_equal_runs(tmp_path / "whole", run)
