"""What a training starts from: the weights of another one, or the slices a search trained; and its teacher."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import network_file, train_config
from PIL import Image
from torch import nn

import fpnas
from fpnas.architecture import architecture_from_json
from fpnas.builtin_files import find_network
from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.initial_weights import (
    architecture_of,
    fitted_slices,
    slices_of_search,
    starting_network,
    weights_from_model,
)
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import build_network
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.metrics import read_metrics
from fpnas.runtime.weights import digest_of, load_weights
from fpnas.space_file import load_space
from fpnas.train import run_train, train
from fpnas.training.load import load_data

LIGHT: dict[str, Any] = {"epochs": 2, "batch_size": 40, "max_images": 200}


@pytest.fixture
def searched(search_run: Path) -> NetworkSpec:
    return load_network(search_run / "network.json")


def test_the_architecture_of_a_network(search_run: Path, searched: NetworkSpec) -> None:
    space = load_space(search_run / "space.toml")
    found = architecture_from_json(space, read_json(search_run / "architecture.json", "file"), "file")
    assert architecture_of(space, searched) == found
    assert architecture_of(space, replace(searched, num_classes=3, in_channels=3)) == found
    other = replace(searched.blocks[-1], kernel=7)
    assert architecture_of(space, replace(searched, blocks=(*searched.blocks[:-1], other))) is None
    assert architecture_of(space, replace(searched, blocks=searched.blocks[:-1])) is None
    assert architecture_of(space, replace(searched, stem=replace(searched.stem, channels=24))) is None
    assert architecture_of(space, replace(searched, gate="hard_sigmoid")) is None


def test_the_slices_of_a_search_give_the_supernet_s_logits(search_run: Path, searched: NetworkSpec) -> None:
    space = load_space(search_run / "space.toml")
    network = build_network(searched).eval()
    network.load_state_dict(fitted_slices(slices_of_search(search_run, searched), network.state_dict()))
    tensors, _ = load_weights(search_run / "checkpoints" / "final.safetensors", "state")
    supernet = SuperNet(space, 1, 10)
    shared = {name[9:]: value for name, value in tensors.items() if name.startswith("supernet.")}
    supernet.load_state_dict(shared)
    for layer in (*network.modules(), *supernet.modules()):
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0  # which is not scaled along with the convolutions
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(images), supernet.eval()(images, searched), rtol=1e-4, atol=1e-5)


def test_convolutions_of_a_search_are_as_long_as_fresh_ones(search_run: Path, searched: NetworkSpec) -> None:
    fresh = build_network(searched).state_dict()
    weights = fitted_slices(slices_of_search(search_run, searched), fresh)
    normed = [name for name in weights if name.endswith("conv.weight")]
    assert len(normed) > 5
    for name in normed:
        assert not torch.equal(weights[name], fresh[name])
        torch.testing.assert_close(weights[name].norm(), fresh[name].norm())


def test_a_classifier_of_other_classes_is_left_out(search_run: Path, searched: NetworkSpec) -> None:
    fewer = replace(searched, num_classes=4)
    weights = fitted_slices(slices_of_search(search_run, fewer), build_network(fewer).state_dict())
    assert "stem.conv.weight" in weights and not [name for name in weights if name.startswith("classifier")]


def test_a_search_among_grey_images_gives_a_network_of_colours(search_run: Path, searched: NetworkSpec) -> None:
    colour = replace(searched, in_channels=3)
    grey, coloured = (
        fitted_slices(slices_of_search(search_run, spec), build_network(spec).state_dict())
        for spec in (searched, colour)
    )
    assert grey.keys() == coloured.keys()
    summed, single = coloured["stem.conv.weight"].sum(1, keepdim=True), grey["stem.conv.weight"]
    torch.testing.assert_close(summed / summed.norm(), single / single.norm())


def test_networks_that_a_search_has_no_weights_for(search_run: Path, train_run: Path, searched: NetworkSpec) -> None:
    foreign = load_network(find_network("fbnetv2-f1"))
    with pytest.raises(UserError, match="is not of the space tiny"):
        slices_of_search(search_run, foreign)
    with pytest.raises(UserError, match="search run is expected"):
        slices_of_search(train_run, searched)


def test_a_training_from_a_search_starts_ahead(search_run: Path, tmp_path: Path) -> None:
    network = search_run / "network.json"
    settings = LIGHT | {"learning_rate": 0.02, "ema_decay": 0.0, "warmup_epochs": 0.0}
    for name, start in (("fresh", None), ("searched", search_run)):
        run_train(network, train_config(tmp_path / name, from_search=start, **settings))
    fresh, begun = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("fresh", "searched"))
    assert begun[0]["loss"] < fresh[0]["loss"] - 0.3
    assert "strategy `fp-nas` in space `tiny`" in (tmp_path / "searched" / "README.md").read_text()


def test_statistics_come_from_batches_of_equal_size(
    search_run: Path, searched: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of batches of 40, 81 images leave a single one, which has no variance where a map is of one pixel; so do batches
    # of two.
    sizes: list[int] = []
    monkeypatch.setattr(
        "fpnas.initial_weights.recalibrate_batch_norm", lambda network, batches: sizes.extend(map(len, batches))
    )
    config = train_config(Path(), from_search=search_run, batch_size=40)
    starting_network(searched, load_data("digits", max_images=81), config)
    assert sizes == [27, 27, 27]
    sizes.clear()
    starting_network(searched, load_data("digits", max_images=81), replace(config, batch_size=2))
    assert sum(sizes) == 81 and min(sizes) >= 2


def test_fine_tuning_starts_from_the_model(train_run: Path, tmp_path: Path) -> None:
    model = fpnas.load(train_run)
    data = load_data("digits", max_images=200)
    config = train_config(tmp_path / "run", **LIGHT)
    network, _ = starting_network(model.network.spec, data, config, model)
    begun = network.state_dict()
    assert all(torch.equal(value, begun[name]) for name, value in model.network.state_dict().items())
    # Half of the rate's rise is over before a step could undo what is known.
    result = train(model.network.spec, data, replace(config, learning_rate=1e-6), initial=model)
    before = run_accuracy(model)
    assert abs(result.raw_top1 - before) < 3


def test_a_start_is_known_by_what_was_given(search_run: Path, searched: NetworkSpec, tmp_path: Path) -> None:
    """What is computed from it has other last bits on another machine, or by other threads, where a run may go on.

    Nothing about them is random, and whoever calls keeps their own random numbers.
    """
    data = load_data("digits", max_images=200)
    config = train_config(tmp_path / "run", from_search=search_run, **LIGHT | {"dropout": 0.3, "drop_path": 0.3})
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network, identity = starting_network(searched, data, config)
    again, same = starting_network(searched, data, config)
    assert torch.equal(torch.get_rng_state(), before)
    assert identity == same and identity
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    other, known = starting_network(searched, data, replace(config, batch_size=50))
    assert known == identity
    assert not torch.equal(other.state_dict()["stem.norm.running_var"], state["stem.norm.running_var"])
    given = slices_of_search(search_run, searched)
    assert identity == {"the weights to start from": digest_of(given.values())[:16]}


def test_weights_of_other_blocks(train_run: Path, tmp_path: Path) -> None:
    model = fpnas.load(train_run)
    spec, data = model.network.spec, load_data("digits", max_images=200)
    fewer = replace(spec, blocks=spec.blocks[:-1])
    config = train_config(tmp_path / "run", **LIGHT)
    for wanted, given in ((spec, fewer), (fewer, spec)):
        network = build_network(given)
        start = fpnas.model_folder.TrainedModel(network, model.preprocess)
        with pytest.raises(UserError, match=r"not of this network: tensor blocks\.\S+ is missing or another"):
            starting_network(wanted, data, config, start)


def run_accuracy(model: Any) -> float:
    from fpnas.training.evaluation import accuracy, normalised_batches

    data = load_data("digits", parts=("test",))
    assert data.test is not None
    preprocess = model.preprocess
    batches = normalised_batches(data.test, preprocess.mean, preprocess.std, torch.device("cpu"))
    return accuracy(model, batches).top1


def test_other_classes_and_channels(train_run: Path) -> None:
    model = fpnas.load(train_run)
    spec = replace(model.network.spec, in_channels=3, num_classes=2)
    weights = weights_from_model(model, spec, ("cat", "dog"))
    assert not [name for name in weights if name.startswith("classifier")]
    # Three equal channels are seen as the one was.
    grey = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network = build_network(spec).eval()
    assert network.load_state_dict(weights, strict=False).missing_keys == ["classifier.weight", "classifier.bias"]
    with torch.no_grad():
        seen = network.forward_features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(seen, model.network.forward_features(grey), rtol=1e-4, atol=1e-4)


def test_a_model_of_colours_looks_at_grey(train_run: Path) -> None:
    model = fpnas.load(train_run)
    colour = replace(model.network.spec, in_channels=3)
    network = build_network(colour).eval()
    network.load_state_dict(weights_from_model(model, colour, model.class_names))
    back = weights_from_model(
        fpnas.model_folder.TrainedModel(network, model.preprocess), model.network.spec, model.class_names
    )
    torch.testing.assert_close(back["stem.conv.weight"], model.network.stem.conv.weight.detach())


def test_fine_tuning_on_class_folders_by_the_command_line_s_way(train_run: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for part in ("train", "val"):
        for index, name in enumerate(("black cats", "weiße Hunde")):
            (photos / part / name).mkdir(parents=True)
            for number in range(12):
                shade = 255 * index
                Image.new("RGB", (10 + number, 9), (shade, shade, shade)).save(photos / part / name / f"{number}.jpg")
    config = train_config(tmp_path / "tuned", data=str(photos), epochs=2, batch_size=8, learning_rate=0.02)
    result = run_train(train_run, config)
    assert result.network.spec.num_classes == 2 and result.network.spec.in_channels == 3
    again = fpnas.load(tmp_path / "tuned")
    assert again.class_names == ("black cats", "weiße Hunde")
    assert "weights of another model" in (tmp_path / "tuned" / "README.md").read_text()
    with pytest.raises(UserError, match="--from-search"):
        run_train(train_run, replace(config, output=tmp_path / "other", from_search=tmp_path))


def test_a_student_that_only_listens_follows_its_teacher(train_run: Path, tmp_path: Path) -> None:
    """With all the weight on the teacher, labels do not matter."""
    data = load_data("digits", max_images=200)
    assert data.train is not None
    spec = load_network(network_file(tmp_path))
    results = []
    for shift in (0, 1):
        relabelled = replace(data, train=type(data.train)(data.train.images, (data.train.labels + shift) % 10))
        config = train_config(tmp_path / str(shift), teacher=str(train_run), distillation_weight=1.0, **LIGHT)
        results.append(train(spec, relabelled, config))
    assert torch.equal(results[0].network.classifier.weight, results[1].network.classifier.weight)
    plain = train(spec, data, train_config(tmp_path / "plain", **LIGHT))
    assert not torch.equal(plain.network.classifier.weight, results[0].network.classifier.weight)
