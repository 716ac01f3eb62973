"""Accuracy against a direct count; recalibrated statistics against those of the activations."""

import pytest
import torch
from sampled import uniform_specs
from timm.layers import DropPath
from torch import Tensor, nn

from fpnas.nn.network import build_network
from fpnas.space_file import load_space
from fpnas.training.evaluation import accuracy, cross_entropy, recalibrate_batch_norm


def batches_of(images: int, size: int = 8, batch: int = 6, classes: int = 10) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, 1, size, size, generator=generator) * 2 + 1
    labels = torch.randint(classes, (images,), generator=generator)
    return list(zip(pixels.split(batch), labels.split(batch), strict=True))


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_accuracy_counts_the_first_and_the_first_five(classes: int) -> None:
    torch.manual_seed(0)  # one model in two hundred is never right
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    batches = batches_of(50, classes=classes)
    first = five = 0
    for images, labels in batches:
        for logits, label in zip(model(images).tolist(), labels.tolist(), strict=True):
            better = sum(value > logits[label] for value in logits)
            first += better < 1
            five += better < 5
    measured = accuracy(model, batches)
    assert (measured.top1, measured.top5, measured.images) == (100 * first / 50, 100 * five / 50, 50)
    assert 0 < first < 50 or classes == 2


def test_cross_entropy_is_the_mean_over_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.5))
    batches = batches_of(50)  # the last batch is smaller
    losses = [
        -logits.log_softmax(0)[label].item()
        for images, labels in batches
        for logits, label in zip(model[:2](images).double(), labels.tolist(), strict=True)
    ]
    assert cross_entropy(model, batches) == pytest.approx(sum(losses) / 50, rel=1e-12) and model.training


@pytest.mark.parametrize("mode", [True, False])
def test_accuracy_judges_in_eval_mode_and_restores_the_mode(mode: bool) -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)).train(mode)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    accuracy(model, batches_of(20))
    assert model.training == mode
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        accuracy(nn.Flatten(), [])


@pytest.mark.parametrize("mode", [True, False])
def test_recalibrated_statistics_are_the_mean_of_the_batches(mode: bool) -> None:
    torch.manual_seed(0)
    model = build_network(uniform_specs(load_space("tiny"), 1, seed=4)[0]).train(mode)
    norms = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    batches = [images for images, _ in batches_of(20)]
    seen: dict[str, list[Tensor]] = {name: [] for name in norms}
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: seen[name].append(given[0].detach()))
        for name, layer in norms.items()
    ]
    with torch.no_grad():
        judge = build_network(model.spec).train()
        judge.load_state_dict(model.state_dict())
    parameters = {name: value.clone() for name, value in model.named_parameters()}
    recalibrate_batch_norm(model, batches)
    for hook in hooks:
        hook.remove()
    assert len(norms) > 5
    for name, layer in norms.items():
        assert len(seen[name]) == len(batches) == 4
        mean = torch.stack([values.mean((0, 2, 3)) for values in seen[name]]).mean(0)
        variance = torch.stack([values.var((0, 2, 3)) for values in seen[name]]).mean(0)
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(layer.running_var, variance, rtol=1e-4, atol=1e-6)
        assert layer.momentum == 0.1 and layer.training == mode
    assert model.training == mode
    assert all(torch.equal(value, parameters[name]) for name, value in model.named_parameters())
    # The activations that were seen are those of batch statistics, not of the old running ones.
    expected = judge.stem(batches[0])
    torch.testing.assert_close(
        model.train().stem(batches[0]), expected, rtol=1e-5, atol=1e-5, msg="the stem's output has changed"
    )


def test_recalibration_draws_nothing() -> None:
    spec = uniform_specs(load_space("tiny"), 1, seed=4)[0]
    torch.manual_seed(0)
    plain, dropping = build_network(spec), build_network(spec, drop_rate=0.5, drop_path_rate=0.5)
    number = len(spec.blocks)
    rates = [(index, getattr(block, "drop_path", None)) for index, block in enumerate(dropping.blocks, start=1)]
    dropped = [(index, layer.drop_prob) for index, layer in rates if isinstance(layer, DropPath)]
    assert dropped and all(rate == pytest.approx(0.5 * index / number) for index, rate in dropped)
    dropping.load_state_dict(plain.state_dict())
    batches = [images for images, _ in batches_of(20)]
    recalibrate_batch_norm(plain, batches)
    before = torch.get_rng_state()
    recalibrate_batch_norm(dropping, batches)
    assert torch.equal(torch.get_rng_state(), before)
    expected = plain.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in dropping.state_dict().items())


def test_recalibration_forgets_the_old_statistics() -> None:
    norm = nn.BatchNorm2d(1)
    model = nn.Sequential(norm)
    batches = [images for images, _ in batches_of(20)]
    results = []
    for old in (0.0, 1e6):
        norm.running_mean.fill_(old)
        recalibrate_batch_norm(model, batches)
        results.append(norm.running_mean.clone())
    assert torch.equal(*results)
