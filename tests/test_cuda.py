"""Runs on a GPU, against the same on the processor: left out where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import network_file, repeatable_metrics, search_config, train_config
from sampled import uniform_specs
from test_resume import EVERYTHING, Killed, killed_after

from fpnas.model_folder import load
from fpnas.nn.supernet import SuperNet
from fpnas.predict import evaluate_model
from fpnas.space_file import load_space
from fpnas.strategies import STRATEGIES
from fpnas.supernet_search import run_search
from fpnas.train import run_train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CHOICES = {"tiny": 6, "fbnetv2-fpp-32": 2}


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFloat-32 has ten bits of mantissa: what is wrong would hide in it."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("name", CHOICES)
def test_the_supernet_is_the_same_function(name: str) -> None:
    space = load_space(name)
    torch.manual_seed(0)
    # In float32 the processor's own gradients are off by up to 1.3e-3 of the largest (against float64).
    supernet = SuperNet(space, 1, 10).double()
    images = torch.randn(8, 1, space.input_size, space.input_size, dtype=torch.float64)
    labels = torch.arange(8)
    for spec in uniform_specs(space, CHOICES[name], in_channels=1, num_classes=10):
        found: dict[str, list[torch.Tensor]] = {}
        for device in ("cpu", "cuda"):
            supernet.to(device).zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(supernet(images.to(device), spec), labels.to(device))
            loss.backward()
            grads = [weight.grad.cpu().clone() for weight in supernet.parameters() if weight.grad is not None]
            found[device] = [loss.detach().cpu(), *grads]
        assert len(found["cpu"]) == len(found["cuda"])
        scale = max(float(grad.abs().max()) for grad in found["cpu"])
        for one, other in zip(found["cpu"], found["cuda"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9 * scale)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_searches_and_goes_on(tmp_path: Path, strategy: str) -> None:
    light: dict[str, Any] = {"strategy": strategy, "max_images": 300, "device": "cuda", "checkpoint_every": 0.0}
    run_search(search_config(tmp_path / "whole", **light))
    with pytest.MonkeyPatch.context() as patch:
        killed_after(4, patch)
        with pytest.raises(Killed):
            run_search(search_config(tmp_path / "run", **light))
    result = run_search(search_config(tmp_path / "run", resume=True, **light))
    whole, again = repeatable_metrics(tmp_path / "whole"), repeatable_metrics(tmp_path / "run")
    assert [record["step"] for record in whole] == [record["step"] for record in again]
    assert result.macs <= 300_000
    first = [record["loss"] for record in whole if "loss" in record][:2]
    assert first == pytest.approx([record["loss"] for record in again if "loss" in record][:2], rel=1e-3)


def test_a_search_starts_as_on_the_processor(tmp_path: Path, search_run: Path) -> None:
    run_search(search_config(tmp_path / "run", device="cuda"))
    here, there = repeatable_metrics(search_run), repeatable_metrics(tmp_path / "run")
    assert here[0]["samples"] == there[0]["samples"]
    assert here[0]["loss"] == pytest.approx(there[0]["loss"], rel=1e-4)
    assert here[3]["loss"] == pytest.approx(there[3]["loss"], rel=1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_gives_a_model_that_is_the_same_on_the_processor(tmp_path: Path, precision: str) -> None:
    run_search(search_config(tmp_path / "search", device="cuda", precision=precision))
    run = tmp_path / "run"
    config = train_config(run, device="cuda", precision=precision, epochs=8)
    run_train(tmp_path / "search" / "network.json", config)
    top1 = json.loads((run / "result.json").read_text())["top1"]
    assert top1 > 60
    assert evaluate_model(run, "digits", device="cpu").top1 == pytest.approx(top1, abs=0.3)
    assert evaluate_model(run, "digits", device="cuda").top1 == pytest.approx(top1, abs=0.3)
    assert {weight.device.type for weight in load(run).network.parameters()} == {"cpu"}


def test_all_of_the_recipe(tmp_path: Path, train_run: Path) -> None:
    options: dict[str, Any] = EVERYTHING | {"device": "cuda", "teacher": str(train_run), "checkpoint_every": 0.0}
    file = network_file(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        killed_after(7, patch)
        with pytest.raises(Killed):
            run_train(file, train_config(tmp_path / "run", **options))
    run_train(file, train_config(tmp_path / "run", resume=True, **options))
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_two_processes_on_one_device_are_refused(tmp_path: Path) -> None:
    """And one that torchrun starts searches, as it would without."""
    options = ("--data", "digits", "--space", "tiny", "--target-macs", "60k", "--epochs", "2", "--device", "cuda")
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for count in (1, torch.cuda.device_count() + 1):
        command = ["-m", "fpnas", "search", *options, "--output", str(tmp_path / str(count))]
        run = subprocess.run(
            [*started, str(count), *command],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=200,
        )
        assert (run.returncode == 0) == (count == 1), run.stderr
        assert ("CUDA devices for" in run.stderr) == (count > 1), run.stderr
