"""Training a tiny network on digits: it learns, repeats itself, and is the same after reloading."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from finished_runs import network_file, repeatable_metrics, train_config
from refusals import SOUND_IMAGES, image_folder

from fpnas.cost import network_cost
from fpnas.errors import UserError
from fpnas.model_folder import load
from fpnas.network_file import load_network
from fpnas.predict import evaluate_model
from fpnas.report.page import write_report
from fpnas.runtime.metrics import read_metrics
from fpnas.runtime.weights import load_weights
from fpnas.train import fit_to_data, run_train, train
from fpnas.training.load import load_data

STEPS_PER_EPOCH = 1433 // 64


def test_it_learns_digits(train_run: Path) -> None:
    result = json.loads((train_run / "result.json").read_text())
    assert result["top1"] > 90 and result["top5"] > result["top1"] and result["images"] == 364
    cost = network_cost(load_network(train_run / "network.json"))
    assert (result["macs"], result["params"]) == (cost.macs, cost.params)


def test_the_record_has_every_epoch(train_run: Path) -> None:
    records = read_metrics(train_run / "metrics.jsonl")
    assert [(r["step"], r["epoch"]) for r in records] == [(STEPS_PER_EPOCH * e - 1, e) for e in range(1, 6)]
    assert records[-1]["loss"] < records[0]["loss"]
    assert records[-1]["learning_rate"] < records[1]["learning_rate"]
    result = json.loads((train_run / "result.json").read_text())
    assert (records[-1]["test_top1"], records[-1]["test_top5"]) == (result["top1"], result["top5"])


def test_accuracy_is_measured_as_often_as_asked(train_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_train(network_file(tmp_path), train_config(run, evaluate_every=2))
    every, some = (read_metrics(path / "metrics.jsonl") for path in (train_run, run))
    left_out = ("seconds", "test_top1", "test_top5")
    for epoch, (one, other) in enumerate(zip(every, some, strict=True), 1):
        dropped = left_out[:1] if epoch in (2, 4, 5) else left_out
        assert {k: v for k, v in one.items() if k not in dropped} == {k: v for k, v in other.items() if k != "seconds"}
    results = [json.loads((path / "result.json").read_text()) | {"seconds": 0} for path in (train_run, run)]
    assert results[0] == results[1]
    weights = [load_weights(path / "model.safetensors", "")[0] for path in (train_run, run)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_evaluation_of_the_reloaded_run_is_equal_to_the_bit(train_run: Path) -> None:
    result = json.loads((train_run / "result.json").read_text())
    measured = evaluate_model(train_run, "digits", device="cpu", workers=0)
    assert (measured.top1, measured.top5, measured.images) == (result["top1"], result["top5"], result["images"])


def test_what_is_written_is_what_was_trained(train_run: Path) -> None:
    trained = load(train_run)
    data = load_data("digits")
    assert (trained.preprocess.mean, trained.preprocess.std, trained.class_names) == (
        data.mean,
        data.std,
        data.class_names,
    )
    assert not trained.network.training
    parameters = sum(p.numel() for p in trained.network.parameters())
    assert parameters == network_cost(trained.network.spec).params


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_the_same_seed_repeats_the_training(tmp_path: Path, optimizer: str) -> None:
    file = network_file(tmp_path)
    light = {"epochs": 2, "max_images": 200, "batch_size": 40, "optimizer": optimizer, "learning_rate": 0.01}
    for ambient, name in enumerate(("first", "second")):
        torch.manual_seed(ambient)
        run_train(file, train_config(tmp_path / name, **light))
    run_train(file, train_config(tmp_path / "other", seed=1, **light))
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    assert repeatable_metrics(first) == repeatable_metrics(second) != repeatable_metrics(other)
    weights = [load_weights(run / "model.safetensors", "")[0] for run in (first, second, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())


def test_the_first_step_is_that_of_the_optimizer(tmp_path: Path) -> None:
    # Without warm-up, average, smoothing and decay, one step is gradient descent from the seeded weights.
    data = load_data("digits", max_images=50)
    spec = load_network(network_file(tmp_path))
    options = {"epochs": 1, "warmup_epochs": 0, "batch_size": 50, "weight_decay": 0.0, "label_smoothing": 0.0}
    results = [
        train(spec, data, train_config(tmp_path, ema_decay=0, learning_rate=rate, **options)).network
        for rate in (1e-9, 1e-3, 2e-3)
    ]
    start, once, twice = (network.classifier.weight.detach() for network in results)
    assert (once - start).abs().max() > 1e-5
    torch.testing.assert_close(twice - start, 2 * (once - start), rtol=1e-2, atol=1e-7)


def test_the_last_epochs_may_see_images_as_they_are(tmp_path: Path) -> None:
    file = network_file(tmp_path)
    light = {"epochs": 3, "max_images": 200, "batch_size": 40, "learning_rate": 0.01, "crop_scale": 0.4}
    kinds = {"varied": {}, "one": {"plain_epochs": 1}, "all": {"plain_epochs": 3}, "plain": {"crop_scale": 1.0}}
    for name, options in kinds.items():
        run_train(file, train_config(tmp_path / name, **light | options))
    varied, one, everything, plain = (repeatable_metrics(tmp_path / name) for name in kinds)
    assert everything == plain and plain[0] != varied[0]
    assert one[:2] == varied[:2] and one[2] != varied[2]


def test_data_and_network_of_any_name(tmp_path: Path) -> None:
    data = image_folder(tmp_path / os.fsdecode(b"caf\xe9"), **SOUND_IMAGES)
    network = network_file(tmp_path).rename(tmp_path / os.fsdecode(b"net\xe9.json"))
    config = train_config(tmp_path / "run", data=str(data), image_size=8, epochs=1, batch_size=4)
    run_train(network, config)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "net\ufffd.json" in card and "caf\ufffd" in card and (tmp_path / "run" / "result.json").exists()
    write_report([tmp_path / "run"], tmp_path / "page.html")
    assert "caf\ufffd" in (tmp_path / "page.html").read_text()
    with pytest.raises(UserError, match="is not UTF-8"):
        run_train(network, replace(config, output=data / "run"))


def test_averaged_weights_lag_behind(tmp_path: Path) -> None:
    data = load_data("digits", max_images=200)
    spec = load_network(network_file(tmp_path))
    light = {"epochs": 1, "batch_size": 40, "learning_rate": 0.01}
    raw, averaged = (train(spec, data, train_config(tmp_path, ema_decay=decay, **light)).network for decay in (0, 0.9))
    start = train(spec, data, train_config(tmp_path, **light | {"learning_rate": 1e-9, "ema_decay": 0})).network
    distance = [(network.classifier.weight - start.classifier.weight).norm() for network in (averaged, raw)]
    assert 0 < distance[0] < distance[1]


def test_a_network_is_fitted_to_its_data(tmp_path: Path) -> None:
    spec = load_network(network_file(tmp_path, published={"macs": 5}))
    assert fit_to_data(spec, load_data("digits")).published == spec.published == {"macs": 5}
    data = replace(load_data("digits"), in_channels=3, image_size=20, class_names=("a", "b"))
    fitted = fit_to_data(spec, data)
    assert (fitted.in_channels, fitted.num_classes, fitted.input_size) == (3, 2, 20)
    assert fitted.blocks[0].in_size == 20 and not fitted.published
    assert [block.channels for block in fitted.blocks] == [block.channels for block in spec.blocks]


@pytest.mark.parametrize(
    "changed",
    [{"image_size": 3}, {"batch_size": 1434}, {"epochs": 0}, {"optimizer": "none"}, {"data": "absent"}],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, changed: dict) -> None:
    file = network_file(tmp_path)
    with pytest.raises(UserError) as error:
        run_train(file, train_config(tmp_path / "run", **changed))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"teacher": "no_such_model"}, "--teacher no_such_model"),
        ({"auto_augment": "no-such-policy"}, "no-such-policy"),
        ({"from_search": Path("no such run")}, "run no such run: no such directory"),
        ({"image_size": 3}, "image size 3: .* at least 4 pixels"),
    ],
)
def test_what_is_refused_before_any_image_is_loaded(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_train(network_file(tmp_path), train_config(tmp_path / "run", data="missing data", **changed))


def test_a_model_folder_does_not_start_from_a_search(train_run: Path, search_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--from-search: the network has weights of its own"):
        run_train(train_run, train_config(tmp_path / "run", data="missing data", from_search=search_run))


def test_an_occupied_directory_is_refused(train_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another run"):
        run_train(network_file(tmp_path), train_config(train_run))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    config = train_config(tmp_path, learning_rate=1e3, max_images=300, batch_size=10, augment=False, epochs=20)
    spec = load_network(network_file(tmp_path))
    data = load_data("digits", max_images=300)
    data.train.images[:] = 255
    # Weights that are not a number from the start.
    with pytest.raises(FloatingPointError, match="lower"):
        train(spec, replace(data, mean=(float("nan"),)), config)


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    spec = load_network(network_file(tmp_path))
    light = train_config(tmp_path / "run", epochs=1, max_images=100, batch_size=50)
    result = train(spec, load_data("digits", max_images=100), light)
    assert not (tmp_path / "run").exists() and not result.network.training


def test_calling_leaves_the_callers_random_numbers(tmp_path: Path) -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    spec = load_network(network_file(tmp_path))
    train(spec, load_data("digits", max_images=100), train_config(tmp_path, epochs=1, batch_size=50))
    assert torch.equal(torch.rand(3), expected)
