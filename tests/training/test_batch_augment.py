"""What happens to a training batch, against direct computations; and that it depends on seed and step alone."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fpnas.errors import UserError
from fpnas.runtime.processes import Share
from fpnas.training.augment import normalise
from fpnas.training.batch_augment import AugmentOptions, BatchAugment, _posterize
from fpnas.training.data import DataSet
from fpnas.training.load import load_data

EVERYTHING = AugmentOptions(
    crop_scale=0.4, policy="rand-m9-mstd0.5", random_erasing=0.5, mixup=0.2, cutmix=1.0, label_smoothing=0.1
)


@pytest.fixture(scope="module", params=[1, 3])
def data(request: pytest.FixtureRequest) -> DataSet:
    digits = load_data("digits", image_size=16, max_images=200)
    statistics = {"mean": (0.3,) * request.param, "std": (0.25,) * request.param}
    return replace(digits, flip=True, shift=2, in_channels=request.param, **statistics)


def batch(data: DataSet, count: int = 16) -> tuple[Tensor, Tensor]:
    assert data.train is not None
    images = data.train.batch(torch.arange(count)).expand(-1, data.in_channels, -1, -1).contiguous()
    return images, data.train.labels[:count]


def augment(data: DataSet, options: AugmentOptions, *, seed: int = 0, share: Share | None = None) -> BatchAugment:
    return BatchAugment(data, options, seed=seed, share=share or Share())


def test_nothing_to_vary_is_normalisation_and_one_hot_labels(data: DataSet) -> None:
    images, labels = batch(data)
    inputs, targets = augment(data, AugmentOptions(flips_and_shifts=False))(images, labels, 0)
    assert torch.equal(inputs, normalise(images, data.mean, data.std))
    assert torch.equal(targets.argmax(1), labels) and torch.equal(targets.sum(1), torch.ones(16))
    smoothed = augment(data, AugmentOptions(label_smoothing=0.1))(images, labels, 0)[1]
    torch.testing.assert_close(smoothed.max(1).values, torch.full((16,), 0.91))
    torch.testing.assert_close(smoothed.min(1).values, torch.full((16,), 0.01))


@pytest.mark.parametrize(
    "changed",
    [
        {"crop_scale": 0.4},
        {"policy": "rand-m9-mstd0.5"},
        {"policy": "original"},
        {"policy": "augmix-m5-w4-d2"},
        {"random_erasing": 0.5},
        {"mixup": 0.2},
        {"cutmix": 1.0},
    ],
)
def test_each_varies_images_by_seed_and_step_alone(data: DataSet, changed: dict[str, object]) -> None:
    images, labels = batch(data)
    options = replace(AugmentOptions(flips_and_shifts=False), **changed)  # type: ignore[arg-type]
    before = images.clone()
    first = augment(data, options)(images, labels, 3)
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    again = augment(data, options)(images, labels, 3)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert torch.equal(images, before)
    assert first[0].shape == (16, data.in_channels, 16, 16) and first[0].isfinite().all()
    plain = normalise(images, data.mean, data.std)
    others = [augment(data, options)(images, labels, step)[0] for step in range(4, 12)]
    assert not torch.equal(others[0], others[1])
    assert not all(torch.equal(other, plain) for other in others)
    different = [augment(data, options, seed=1)(images, labels, step)[0] for step in range(4, 12)]
    assert not all(torch.equal(one, other) for one, other in zip(others, different, strict=True))


def test_mixed_targets_are_as_much_of_each_label_as_images_are(data: DataSet) -> None:
    # One class black, one white: what a pixel is says how much of it is mixed in.
    levels = torch.tensor([0] * 4 + [255] * 4, dtype=torch.uint8)
    images = levels.view(-1, 1, 1, 1).expand(8, data.in_channels, 16, 16).contiguous()
    labels = torch.tensor([0] * 4 + [1] * 4)
    low, high = ((value - data.mean[0]) / data.std[0] for value in (0.0, 1.0))
    for options in (AugmentOptions(False, mixup=1.0), AugmentOptions(False, cutmix=1.0)):
        for step in range(5):
            inputs, targets = augment(data, options)(images, labels, step)
            share = (inputs.mean((1, 2, 3)) - low) / (high - low)
            torch.testing.assert_close(share, targets[:, 1], rtol=0, atol=1e-4)
            torch.testing.assert_close(targets.sum(1), torch.ones(8))


def test_a_share_of_a_batch_is_given_what_it_would_be_in_the_whole(data: DataSet) -> None:
    images, labels = batch(data)
    options = AugmentOptions(crop_scale=0.5, policy="rand-m9-mstd0.5", label_smoothing=0.1)
    whole, targets = augment(data, options)(images, labels, 5)
    for index in (0, 1):
        share = Share(index, 2)
        part = share.of(16)
        inputs, given = augment(data, options, share=share)(images[part], labels[part], 5)
        assert torch.equal(inputs, whole[part]) and torch.equal(given, targets[part])


@pytest.mark.parametrize("changed", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_all_shares_of_a_batch_are_mixed_by_the_same_part(data: DataSet, changed: dict[str, float]) -> None:
    images, labels = batch(data)
    labels = torch.arange(16) % 10
    options = AugmentOptions(False, **changed)  # type: ignore[arg-type]
    parts: list[list[float]] = []
    for index in (0, 1):
        share = Share(index, 2)
        part = share.of(16)
        targets = [augment(data, options, share=share)(images[part], labels[part], step)[1] for step in range(6)]
        # A label and its partner's have what the images have of each other; where both are one, it has all.
        parts.append([float(target.max(1).values.min()) for target in targets])
    assert parts[0] == pytest.approx(parts[1]) and len(set(parts[0])) > 1


def test_all_together(data: DataSet) -> None:
    inputs, targets = augment(data, EVERYTHING)(*batch(data), 0)
    assert inputs.isfinite().all() and torch.allclose(targets.sum(1), torch.ones(16))


@pytest.mark.parametrize("policy", ["v0", "rand-m9-mstd2-inc1", "rand-m1-mstd0.5-n3", "augmix-m10-mstd3-d3"])
def test_policies_that_leave_no_bits(data: DataSet, policy: str) -> None:
    """Posterising to no bits is rare, and in these policies; an error would end a training after hours."""
    images, labels = batch(data, 16)
    varied = augment(data, AugmentOptions(False, policy=policy))
    assert all(varied(images, labels, step)[0].isfinite().all() for step in range(20))


def test_posterized_images(data: DataSet) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(pixels)
    for bits in range(9):
        assert np.array_equal(np.asarray(_posterize(image, bits)), pixels & (0xFF << (8 - bits) & 0xFF))


@pytest.mark.parametrize("policy", ["no-such", "rand-x9", "v7", "augmix-a0"])
def test_an_unknown_policy(data: DataSet, policy: str) -> None:
    with pytest.raises(UserError, match=f"--auto-augment {policy}: ") as error:
        augment(data, AugmentOptions(policy=policy))
    assert "\n" not in str(error.value)
