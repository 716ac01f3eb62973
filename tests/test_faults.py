"""Faults that befall a run while it is under way, caused for real; nothing that was done is lost."""

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import LIGHT, network_file, search_config
from refusals import exit_code, image_folder
from test_resume import assert_equal_runs

from fpnas.errors import UserError
from fpnas.runtime.keeper import RunKeeper
from fpnas.supernet_search import run_search
from fpnas.train import run_train
from fpnas.train_config import TrainConfig
from fpnas.training import streams

IMAGES = {"train__cat": 12, "train__dog": 12, "val__cat": 3, "val__dog": 3}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders whose images are read when their batch comes."""
    monkeypatch.setattr(streams, "MEMORY_LIMIT", 0)
    return image_folder(tmp_path / "images", **IMAGES)


def at_step(step: int, happen: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Let something happen after a step."""
    step_done = RunKeeper.step_done

    def meanwhile(keeper: RunKeeper, done: int, *arguments: Any, **options: Any) -> None:
        step_done(keeper, done, *arguments, **options)
        if done == step:
            happen()

    patch.setattr(RunKeeper, "step_done", meanwhile)


def train_images(images: Path, run: str = "run", **changed: Any) -> Any:
    config = TrainConfig(data=str(images), output=images.parent / run, epochs=4, batch_size=6, image_size=8, **LIGHT)
    for name, value in changed.items():
        setattr(config, name, value)
    return run_train(network_file(images.parent, in_channels=3, num_classes=2), config)


def spoil(folder: Path, number: int) -> None:
    for path in sorted(folder.iterdir())[:number]:
        path.write_bytes(path.read_bytes()[:40])


def test_an_image_that_breaks_stops_the_run_which_goes_on_without_it(images: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(6, lambda: spoil(images / "train" / "cat", 1), patch)
        with pytest.raises(UserError, match=r"image .*0\.png: cannot be read") as error:
            train_images(images)
    assert "\n" not in str(error.value)
    result = train_images(images, resume=True, on_bad_image="skip")
    assert result.skipped_images == 1


def test_images_that_break_are_replaced_and_counted(images: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(6, lambda: spoil(images / "train" / "dog", 3), patch)
        assert train_images(images, on_bad_image="skip").skipped_images == 3


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_a_folder_that_vanishes_and_comes_back(images: Path, on_bad_image: str) -> None:
    train_images(images, "whole")
    away = images.with_name("away")
    with pytest.MonkeyPatch.context() as patch:
        at_step(6, lambda: shutil.move(images, away), patch)
        with pytest.raises(UserError, match="cannot be read") as error:
            train_images(images, on_bad_image=on_bad_image, checkpoint_every=0.0)
    assert "\n" not in str(error.value)
    shutil.move(away, images)
    train_images(images, resume=True)
    assert_equal_runs(images.parent / "whole", images.parent / "run")


def test_what_breaks_in_a_loading_thread_ends_the_run(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*arguments: Any) -> None:
        raise MemoryError("no room for it")

    at_step(6, lambda: monkeypatch.setattr("fpnas.training.pictures.decode", dies), monkeypatch)
    with pytest.raises(UserError, match="no room for it"):
        train_images(images, workers=2)


@pytest.mark.parametrize("bytes_left", [0, 3_000, 700_000])
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    search_run: Path, tmp_path: Path, bytes_left: int, capfd: pytest.CaptureFixture[str]
) -> None:
    # A limit on the size of files fails writes as a full disk does, here the record's, there a checkpoint's.
    run = tmp_path / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        size = (run / "metrics.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + bytes_left, limits[1]))

    options = ("--data=digits", "--space=tiny", "--target-macs=0.3M", "--epochs=3", "--warmup-epochs=1", "--device=cpu")
    sizes = ("--batch-size=64", "--architecture-batch-size=32", "--workers=0", "--threads=1", "--quiet")
    command = ["search", *options, *sizes, f"--output={run}", "--checkpoint-every=0"]
    try:
        with pytest.MonkeyPatch.context() as patch:
            at_step(5, fill, patch)
            assert exit_code(command) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "cannot be written: File too large" in lines[0], lines
    assert exit_code([*command, "--resume"]) == 0
    assert_equal_runs(search_run, run)


def test_a_place_that_takes_no_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--output /proc/fpnas-run: cannot be made"):
        run_search(search_config(Path("/proc/fpnas-run")))


def test_a_clock_that_jumps(search_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    at_step(5, lambda: monkeypatch.setattr(time, "time", lambda: now() - 1e8), monkeypatch)
    result = run_search(search_config(tmp_path / "run"))
    assert 0 < result.seconds < 600
    assert_equal_runs(search_run, tmp_path / "run")


def test_gradients_that_overflow_are_left_out_under_float16() -> None:
    from fpnas.training.precision import Precision

    # The scaler of float16 runs on a processor, too, where a network in float16 is of no use.
    precision = Precision()
    precision._scaler = torch.amp.GradScaler("cpu")
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    before = precision.state_dict()["scale"]
    precision.backward((weight * torch.tensor([1.0, float("inf")])).sum())
    precision.step(optimizer, [weight], gradient_norm=1.0)
    assert weight.tolist() == [1, 1] and precision.state_dict()["scale"] == before / 2
    optimizer.zero_grad()
    precision.backward((weight * torch.tensor([3.0, 4.0])).sum())
    precision.step(optimizer, [weight], gradient_norm=1.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([1 - 0.1 * 0.6, 1 - 0.1 * 0.8]))
