"""One small search and one small training of digits, for all tests that look at a run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from refusals import sound_network

from fpnas.runtime.metrics import read_metrics
from fpnas.search_config import SearchConfig
from fpnas.supernet_search import run_search
from fpnas.train import run_train
from fpnas.train_config import TrainConfig

LIGHT: dict[str, Any] = {"workers": 0, "threads": 1, "device": "cpu", "quiet": True}


def search_config(output: Path, **changed: Any) -> SearchConfig:
    """A search of seconds, but for what is changed."""
    sound = SearchConfig(
        data="digits",
        space="tiny",
        target_macs="0.3M",
        output=output,
        epochs=3,
        warmup_epochs=1,
        batch_size=64,
        architecture_batch_size=32,
        **LIGHT,
    )
    return replace(sound, **changed)


def train_config(output: Path, **changed: Any) -> TrainConfig:
    """A training of seconds, but for what is changed."""
    return replace(TrainConfig(data="digits", output=output, epochs=5, **LIGHT), **changed)


def network_file(folder: Path, **changed: Any) -> Path:
    """A network for digits with squeeze-excite and split attention, but for what is changed."""
    path = folder / "net.json"
    path.write_text(json.dumps(sound_network() | changed))
    return path


def copied(run: Path, place: Path) -> Path:
    """A copy of a run that a test may spoil."""
    return Path(shutil.copytree(run, place / "copy"))


def repeatable_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run but for durations, which are the fields that start with `seconds`."""
    records = read_metrics(run / "metrics.jsonl")
    return [{name: value for name, value in record.items() if not name.startswith("seconds")} for record in records]


@pytest.fixture(scope="session")
def search_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search; not to be changed."""
    output = tmp_path_factory.mktemp("search") / "run"
    run_search(search_config(output))
    return output


@pytest.fixture(scope="session")
def train_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training; not to be changed."""
    folder = tmp_path_factory.mktemp("train")
    run_train(network_file(folder), train_config(folder / "run"))
    return folder / "run"
