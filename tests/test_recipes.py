"""Every built-in recipe: its header says what it is, its settings are known, and it runs at its real input size."""

import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import DropPath

import fpnas
from fpnas.architecture import Architecture
from fpnas.builtin_files import builtin_recipe_names, find_recipe
from fpnas.cli_parser import CommandParser
from fpnas.distribution import Factorized
from fpnas.errors import UserError
from fpnas.model_folder import TrainedModel, save_model
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.network import build_network
from fpnas.runtime.metrics import read_metrics
from fpnas.search_config import SearchConfig
from fpnas.select_config import SelectConfig
from fpnas.space_file import load_space
from fpnas.strategies import fp_nas_paper
from fpnas.supernet_search import search_supernet
from fpnas.train import fit_to_data, train
from fpnas.train_config import TrainConfig
from fpnas.training.data import DataSet, ImagesInMemory
from fpnas.training.preprocessing import Preprocessing

RECIPES = builtin_recipe_names()
SEARCHES = [name for name in RECIPES if name.endswith("-search")]
TRAININGS = [name for name in RECIPES if name.endswith("-train")]
SELECTIONS = [name for name in RECIPES if name.endswith("-select")]
HERE: dict[str, Any] = {"batch_size": 2, "workers": 0, "threads": 1, "device": "cpu", "quiet": True}


def settings(configuration: type, name: str, *options: str) -> dict[str, Any]:
    """A recipe as the command line reads it."""
    parser = CommandParser("test")
    parser.add_configuration(configuration)
    values = parser.parse(["--config", name, "--output=run", *options])
    return {field.name: values[field.name] for field in fields(configuration)}


def images(size: int, channels: int = 3, count: int = 8) -> DataSet:
    """Made-up images of two classes."""
    pixels = torch.randint(256, (count, channels, size, size), generator=torch.Generator().manual_seed(0)).byte()
    source = ImagesInMemory(pixels, torch.arange(count) % 2)
    return DataSet("made up", ("a", "b"), channels, size, (0.5,) * channels, (0.3,) * channels, True, 2, source, source)


def drawn_network(space: str, size: int) -> NetworkSpec:
    """Any network of a space."""
    found = load_space(space)
    indices = Factorized(found.cardinalities).sample(1, torch.Generator().manual_seed(0))[0]
    return resolve(found, Architecture.of(indices), input_size=size)


def test_every_recipe_searches_trains_or_selects() -> None:
    assert len(RECIPES) == len(SEARCHES) + len(TRAININGS) + len(SELECTIONS) == 27
    assert {name.removesuffix("-search") for name in SEARCHES} == {name.removesuffix("-train") for name in TRAININGS}


@pytest.mark.parametrize("name", RECIPES)
def test_the_header_says_what_to_do_and_what_to_expect(name: str) -> None:
    header = re.match(r"(?:#.*\n)+", find_recipe(name).read_text())
    assert header
    for part in ("Source:", "Command:", "Cost:", "Expect:", "Run:"):
        assert f"\n# {part} " in header[0], part
    kind = name.rpartition("-")[2]
    assert re.search(rf"fpnas {kind} .*--config {name} ", header[0])


@pytest.mark.parametrize("name", RECIPES)
def test_no_setting_stands_twice(name: str) -> None:
    # YAML's reader would take the last one without a word.
    names = re.findall(r"^(\w+):", find_recipe(name).read_text(), re.MULTILINE)
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_of_two_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As many samples as the paper draws late in a search; at the start they would be the same at a tenth of the pace.
    monkeypatch.setattr(fp_nas_paper, "PAPER_SAMPLES_PER_NAT", 0.03)
    config = SearchConfig(**settings(SearchConfig, name, "--data=made up"))
    config.validate()
    space = load_space(config.space)
    size = config.image_size or space.input_size
    config = replace(config, epochs=1, warmup_epochs=0, architecture_batch_size=2, samples_per_nat=0.03, **HERE)
    result = search_supernet(space, images(size, space.in_channels), config)
    assert result.backward_passes >= 2 and result.macs <= config.target()
    assert result.network.input_size == size


@pytest.mark.parametrize("name", SELECTIONS)
def test_what_selects_is_a_training_cut_short(name: str) -> None:
    short = settings(SelectConfig, name, "--data=made up")
    whole = settings(TrainConfig, name.replace("-select", "-train"), "--data=made up")
    assert {field for field in whole if short[field] != whole[field]} == {"epochs", "warmup_epochs", "hold_out"}
    assert short["epochs"] < whole["epochs"] / 4


@pytest.mark.parametrize("name", TRAININGS + SELECTIONS)
def test_a_training_of_two_steps(name: str, tmp_path: Path) -> None:
    found = settings(SearchConfig, re.sub("-(train|select)$", "-search", name), "--data=made up")
    kind = SelectConfig if name in SELECTIONS else TrainConfig
    config = kind(**settings(kind, name, "--data=made up"))
    config.validate()
    size = found["image_size"] or load_space(found["space"]).input_size
    assert config.image_size in (None, size)
    data = images(size, load_space(found["space"]).in_channels, 4)
    if config.teacher:
        # Weights of the teacher that is named would have to be downloaded.
        teacher = build_network(fit_to_data(drawn_network("fbnetv2-f", size), data))
        preprocess = Preprocessing(size, data.in_channels, data.mean, data.std, data.class_names)
        (tmp_path / "teacher").mkdir()
        save_model(tmp_path / "teacher", TrainedModel(teacher, preprocess))
        config = replace(config, teacher=str(tmp_path / "teacher"))
    # Two steps of the schedule as it stands: their rates are those of its beginning.
    config = replace(config, epochs=1, warmup_epochs=min(1.0, config.warmup_epochs), **HERE, output=tmp_path / "run")
    result = train(drawn_network(found["space"], size), data, config, write=True)
    (record,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert record["step"] == 1 and record["learning_rate"] == pytest.approx(config.learning_rate / 2)
    assert 0 < record["loss"] < math.inf
    assert all(value.isfinite().all() for value in result.network.state_dict().values())
    blocks = [
        block.drop_path for block in result.network.blocks if isinstance(getattr(block, "drop_path", 0), DropPath)
    ]
    assert result.network.dropout.p == config.dropout and bool(blocks) == (config.drop_path > 0)
    assert fpnas.load(tmp_path / "run").preprocess.image_size == size


def test_an_unknown_recipe_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"--config 'fp-nas-s9': no such file; a file or one of .*fp-nas-s1-search.*"):
        settings(SearchConfig, "fp-nas-s9", "--data=made up")
