"""Parts of the training recipe, each against a direct computation: average, schedule, precision, augmentation."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import network_file, train_config
from torch import Tensor

import fpnas.train_loop
import fpnas.training.batch_augment
from fpnas.errors import UserError
from fpnas.model_folder import load
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.runtime.checkpoint import Checkpoints
from fpnas.runtime.metrics import read_metrics
from fpnas.train import TrainResult, train
from fpnas.train_config import TrainConfig
from fpnas.training.augment import normalise
from fpnas.training.data import DataSet, ImagesInMemory
from fpnas.training.load import load_data
from fpnas.training.optim import warm_up_cosine

LIGHT: dict[str, Any] = {"epochs": 2, "batch_size": 40}
STEPS = 2 * (200 // 40)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load_data("digits", max_images=200)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> NetworkSpec:
    return load_network(network_file(tmp_path_factory.mktemp("network")))


def weights(result: TrainResult) -> dict[str, Tensor]:
    return dict(result.network.state_dict())


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("limit", [0.5, 0.995])
def test_the_result_is_the_average_of_all_weights_and_statistics(
    spec: NetworkSpec, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    states: list[dict[str, Tensor]] = []

    class Recorded(fpnas.train_loop.ModelEmaV3):
        def update(self, model: torch.nn.Module, step: int | None = None) -> None:
            states.append({name: value.clone() for name, value in model.state_dict().items()})
            super().update(model, step)

    monkeypatch.setattr(fpnas.train_loop, "ModelEmaV3", Recorded)
    result = train(spec, data, train_config(tmp_path, ema_decay=limit, **LIGHT))
    assert len(states) == STEPS == int(states[-1]["stem.norm.num_batches_tracked"])
    for name, value in weights(result).items():
        if not value.is_floating_point():
            assert torch.equal(value, states[-1][name])
            continue
        average = states[0][name].double()
        for step, state in enumerate(states):
            # timm's warm-up: 0 is kept at first, then 1 - n^(-2/3) up to the limit.
            keep = min(limit, 1 - max(1, step) ** (-2 / 3))
            average = keep * average + (1 - keep) * state[name].double()
        torch.testing.assert_close(value.double(), average, rtol=1e-4, atol=1e-6, msg=name)


def test_accuracies_of_averaged_and_raw_weights(spec: NetworkSpec, data: DataSet, tmp_path: Path) -> None:
    raw, averaged = (train(spec, data, train_config(tmp_path, ema_decay=decay, **LIGHT)) for decay in (0.0, 0.99))
    # The average only watches: the weights under it are those of a training without one.
    assert raw.top1 == raw.raw_top1 == averaged.raw_top1
    assert not equal(weights(raw), weights(averaged))


def test_recorded_rates_and_losses_are_those_of_the_schedule(train_run: Path) -> None:
    records = read_metrics(train_run / "metrics.jsonl")
    config, epochs = TrainConfig("digits", train_run), len(records)
    steps = (records[-1]["step"] + 1) / epochs
    for record in records:
        assert record["step"] == record["epoch"] * steps - 1
        factor = warm_up_cosine(record["step"] / (epochs * steps), config.warmup_epochs / epochs)
        assert record["learning_rate"] == config.learning_rate * factor
    # A smoothed loss cannot fall under the entropy of the smoothed label.
    share = config.label_smoothing / 10
    correct = 1 - 9 * share
    floor = -correct * math.log(correct) - 9 * share * math.log(share)
    assert records[0]["loss"] < 2.5 and records[-1]["loss"] > floor
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_rates_of_the_exponential_schedule(spec: NetworkSpec, data: DataSet, tmp_path: Path) -> None:
    options = {"epochs": 3, "batch_size": 40, "schedule": "exponential", "decay_rate": 0.5, "warmup_epochs": 1.0}
    train(spec, data, train_config(tmp_path / "run", learning_rate=0.1, **options), write=True)
    rates = [record["learning_rate"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    # Of the last of 5 steps of each epoch.
    assert rates == pytest.approx([0.1 * 4 / 5, 0.1 * 0.5, 0.1 * 0.5**2])


@pytest.mark.parametrize("changed", [{"dropout": 0.5}, {"drop_path": 0.5}])
def test_what_is_left_out_is_drawn_by_the_seed_alone(
    spec: NetworkSpec, data: DataSet, tmp_path: Path, changed: dict[str, float]
) -> None:
    results = []
    for ambient in (0, 1):
        torch.manual_seed(ambient)
        results.append(weights(train(spec, data, train_config(tmp_path, **changed, **LIGHT))))
    assert equal(*results)
    # The start is the same: what differs is what was left out.
    assert not equal(results[0], weights(train(spec, data, train_config(tmp_path, **LIGHT))))


def test_a_reloaded_network_gives_the_trained_one_s_logits_to_the_bit(
    spec: NetworkSpec, data: DataSet, tmp_path: Path
) -> None:
    result = train(spec, data, train_config(tmp_path / "run", **LIGHT), write=True)
    trained = load(str(tmp_path / "run"))
    assert data.test is not None
    images = normalise(data.test.batch(torch.arange(64)), trained.preprocess.mean, trained.preprocess.std)
    with torch.no_grad():
        assert torch.equal(trained.network(images), result.network(images))


def test_bfloat16_is_for_the_forward_pass_alone(
    spec: NetworkSpec, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[bool] = []
    accuracy = fpnas.train_loop.accuracy
    monkeypatch.setattr(
        fpnas.train_loop,
        "accuracy",
        lambda *arguments: (judged.append(torch.is_autocast_enabled("cpu")), accuracy(*arguments))[1],
    )
    half, full = (train(spec, data, train_config(tmp_path, precision=name, **LIGHT)) for name in ("bf16", "fp32"))
    assert judged and not any(judged)
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in half.network.parameters())
    assert not equal(weights(half), weights(full))
    # Only rounding tells them apart: both moved from the start in the same direction.
    config = train_config(tmp_path, learning_rate=1e-9, **LIGHT)
    start = train(spec, data, config).network.classifier.weight.detach().flatten()
    moved = [result.network.classifier.weight.detach().flatten() - start for result in (half, full)]
    assert torch.cosine_similarity(*moved, dim=0) > 0.8


def test_images_are_augmented_as_the_data_allow(
    spec: NetworkSpec, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[bool, int]] = []

    class Recorded(fpnas.training.batch_augment.Augment):
        def __init__(self, flip: bool, shift: int) -> None:
            made.append((flip, shift))
            super().__init__(flip, shift)

    monkeypatch.setattr(fpnas.training.batch_augment, "Augment", Recorded)
    movable = replace(data, flip=True, shift=1)
    plain = train(spec, movable, train_config(tmp_path, augment=False, **LIGHT))
    assert made == []
    augmented = train(spec, movable, train_config(tmp_path, **LIGHT))
    assert made == [(True, 1)] and not equal(weights(plain), weights(augmented))
    assert equal(weights(plain), weights(train(spec, data, train_config(tmp_path, **LIGHT))))


def test_a_training_that_diverged_left_no_result(spec: NetworkSpec, data: DataSet, tmp_path: Path) -> None:
    # Far fewer steps than an epoch has are enough to notice.
    repeated = replace(data, train=ImagesInMemory(*_repeated(data, 200)))
    config = train_config(tmp_path / "run", learning_rate=1000.0, batch_size=40, warmup_epochs=0)
    message = r"step (\d+): the loss is (nan|-?inf) at rate .*; a new run with a lower --learning-rate may help"
    with pytest.raises(FloatingPointError, match=message):
        train(spec, repeated, config, write=True)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert not left & {"result.json", "model.safetensors", "network.json", "config.json", "README.md"}
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == []
    with pytest.raises(UserError, match="a finished fpnas train is expected"):
        load(tmp_path / "run")
    # A checkpoint is due after every step: none is written of weights that are lost.
    often = replace(config, output=tmp_path / "often", checkpoint_every=0.0)
    with pytest.raises(
        FloatingPointError, match=r"step \d+: the loss is .* is the last checkpoint; a new run"
    ) as failure:
        train(spec, repeated, often, write=True)
    kept = list(Checkpoints(tmp_path / "often" / "checkpoints", "train").whole([]))
    assert len(kept) == 2 and all(checkpoint.state["loss_sum"].isfinite() for checkpoint in kept)
    assert str(failure.value).startswith(f"step {kept[0].step}: ")


def _repeated(data: DataSet, times: int) -> tuple[Tensor, Tensor]:
    assert data.train is not None
    images = data.train.batch(torch.arange(len(data.train)))
    return images.repeat(times, 1, 1, 1), data.train.labels.repeat(times)


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("seed", -1, "from 0"),
        ("epochs", 0, "from 1"),
        ("warmup_epochs", 21.0, "from 0 to 20"),
        ("batch_size", 1, "from 2"),
        ("learning_rate", 0.0, "from 1e-09"),
        ("learning_rate", float("nan"), "from 1e-09"),
        ("weight_decay", -1e-4, "from 0 to 1"),
        ("label_smoothing", 1.0, "from 0 to 0.999"),
        ("ema_decay", 1.0, "from 0 to 0.999999"),
        ("max_images", 0, "from 1"),
        ("image_size", 0, "from 1"),
        ("workers", -1, "from 0"),
        ("threads", 0, "from 1"),
        ("decay_rate", 1.01, "from 0.1 to 1"),
        ("crop_scale", 0.0, "from 0.01 to 1"),
        ("random_erasing", 1.1, "from 0 to 1"),
        ("mixup", -0.1, "from 0"),
        ("cutmix", float("nan"), "from 0"),
        ("repeats", 0, "from 1 to 16"),
        ("dropout", 1.0, "from 0 to 0.99"),
        ("drop_path", -0.1, "from 0 to 0.99"),
        ("distillation_weight", 1.5, "from 0 to 1"),
        ("distillation_temperature", 0.0, "from 0.01"),
        ("schedule", "linear", "one of cosine, exponential"),
        ("optimizer", "adam", "one of sgd, rmsprop"),
        ("precision", "fp8", "one of fp32, bf16"),
        ("device", "tpu", "one of auto, cpu, cuda"),
        ("on_bad_image", "ignore", "one of error, skip"),
    ],
)
def test_a_senseless_value_is_named(field: str, value: Any, accepted: str) -> None:
    sound = TrainConfig("digits", Path("run"))
    sound.validate()
    with pytest.raises(UserError) as caught:
        replace(sound, **{field: value}).validate()
    message = str(caught.value)
    option = "--" + field.replace("_", "-")
    assert message.startswith(option) and str(value) in message and accepted in message, message


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_batches_that_what_is_asked_for_cannot_divide(mixing: str) -> None:
    sound = TrainConfig("digits", Path("run"))
    replace(sound, batch_size=6, repeats=3, **{mixing: 0.2}).validate()
    with pytest.raises(UserError, match=r"--batch-size 9: --mixup and --cutmix work on pairs"):
        replace(sound, batch_size=9, repeats=3, **{mixing: 0.2}).validate()
    with pytest.raises(UserError, match=r"--batch-size 9: is not a multiple of --repeats 2"):
        replace(sound, batch_size=9, repeats=2).validate()
