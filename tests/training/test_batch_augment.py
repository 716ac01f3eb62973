"""What happens to a training batch, against direct computations; and that it depends on seed and step alone."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor

from fpnas.errors import UserError
from fpnas.runtime.processes import Share
from fpnas.training import streams
from fpnas.training.augment import normalise
from fpnas.training.batch_augment import AugmentOptions, BatchAugment
from fpnas.training.batches import BatchStream
from fpnas.training.crops import random_crops
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource
from fpnas.training.load import load_data
from fpnas.training.policies import Policy, _posterize

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


def augment(
    data: DataSet, options: AugmentOptions, *, seed: int = 0, share: Share | None = None
) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]:
    """As a training does it with images in memory."""
    by = BatchAugment(data, options, seed=seed, share=share or Share())

    def augmented(images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if by.varies_pictures:
            images = by.load(ImagesInMemory(images, labels), step, torch.arange(len(images)))
        return by(images, labels, step)

    return augmented


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


POLICIES = ("original", "v0", "rand-m9-mstd0.5-inc1", "augmix-m5-w4-d2")


def test_at_the_end_images_are_as_they_are(data: DataSet) -> None:
    images, labels = batch(data)
    plain = augment(data, AugmentOptions(flips_and_shifts=False, label_smoothing=0.1))(images, labels, 0)
    both = [augment(data, replace(EVERYTHING, end=5))(images, labels, step) for step in (4, 5)]
    whole = augment(data, EVERYTHING)(images, labels, 4)
    for value, mine, before, without in zip(plain, both[1], both[0], whole, strict=True):
        assert torch.equal(mine, value) and torch.equal(before, without) and not torch.equal(before, value)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_timm_s(data: DataSet, policy: str) -> None:
    """Given the same draws, timm's own module gives the same images from the generators that all share."""
    images, labels = batch(data)
    builders = {"rand": auto_augment.rand_augment_transform, "augmix": auto_augment.augment_and_mix_transform}
    build = builders.get(policy.partition("-")[0], auto_augment.auto_augment_transform)
    fill = tuple(round(255 * value) for value in data.mean)
    theirs = build(policy, {"translate_const": int(16 * 0.45), "img_mean": fill if len(fill) > 1 else fill[0]})
    ours = Policy(policy, 16, data.mean)
    for seed, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        picture = Image.fromarray(image[:, :, 0] if data.in_channels == 1 else image)
        random.seed(seed)
        np.random.seed(seed)
        assert np.array_equal(np.asarray(ours(picture, seed)), np.asarray(theirs(picture)))
    assert labels.numel() == 16


@pytest.mark.parametrize("policy", POLICIES)
def test_threads_do_not_disturb_each_other(data: DataSet, policy: str) -> None:
    assert data.train is not None
    images, labels = batch(data)
    by = BatchAugment(data, AugmentOptions(crop_scale=0.3, policy=policy), seed=3)
    source = ImagesInMemory(images, labels)
    expected = [by.load(source, step, torch.arange(16)) for step in range(12)]
    python, numpy, own = random.getstate(), np.random.get_state()[1], torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda step: by.load(source, step, torch.arange(16)), range(12)))
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert python == random.getstate() and torch.equal(own, torch.get_rng_state())
    assert np.array_equal(numpy, np.random.get_state()[1])


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


@pytest.mark.parametrize("policy", ["no-such", "rand-x9", "v7", "augmix-a0", "rand-m9-foo", "rand-m", "original-mstd"])
def test_an_unknown_policy(data: DataSet, policy: str) -> None:
    with pytest.raises(UserError, match=f"--auto-augment {policy}: ") as error:
        augment(data, AugmentOptions(policy=policy))
    assert "\n" not in str(error.value)


class Photographs:
    """Class folders of images in many sizes, streamed."""

    def __init__(self, root: Path) -> None:
        for label in (0, 1):
            for index in range(8):
                width, height = 20 + 7 * index, 90 - 8 * index
                across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
                pixels = np.stack([across, down, np.full_like(across, 100 * label)], 2).astype(np.uint8)
                folder = root / "train" / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{index}.png")
        self.data = load_data(str(root), image_size=32, parts=("train",), workers=0)
        assert self.data.train is not None and not self.data.train.in_memory
        self.source: ImageSource = self.data.train


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Photographs:
    """Whose pixels say where in the original they were: red from left to right, green from top to bottom."""
    monkeypatch.setattr(streams, "MEMORY_LIMIT", 0)
    return Photographs(tmp_path)


def test_streamed_images_are_cropped_as_they_are_in_their_files(photographs: Photographs) -> None:
    by = BatchAugment(photographs.data, AugmentOptions(False, crop_scale=0.08), seed=1)
    found = by.load(photographs.source, 5, torch.arange(16))
    assert found.shape == (16, 3, 32, 32) and found.dtype == torch.uint8
    red, green = (found[:, channel].float() for channel in (0, 1))
    # Each is a part of its original from edge to edge, and some reach what the central square leaves out.
    assert (red[:, :, -1] > red[:, :, 0]).all() and (green[:, -1] > green[:, 0]).all()
    squares = photographs.source.batch(torch.arange(16)).float()
    outside = [
        found[index, channel].float().amax() > squares[index, channel].amax() + 3
        for index in range(16)
        for channel in (0, 1)
    ]
    assert any(outside)
    # The share of the area that is seen, by the ranges of both colours.
    seen = ((red[:, :, -1] - red[:, :, 0]).mean(1) * (green[:, -1] - green[:, 0]).mean(1)) / 255**2
    assert 0.04 < seen.min() < 0.3 and 0.5 < seen.max() <= 1.01


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_stream_is_varied_alike_by_any_number_of_threads_and_processes(
    photographs: Photographs, workers: int, in_memory: bool
) -> None:
    source = photographs.source
    if in_memory:
        source = ImagesInMemory(source.batch(torch.arange(16)), source.labels)
    options = AugmentOptions(crop_scale=0.2, policy="rand-m9-mstd0.5", label_smoothing=0.1)

    def stream(share: Share, threads: int, skipped: int = 0) -> list[Tensor]:
        by = BatchAugment(photographs.data, options, seed=2, share=share)
        generator = torch.Generator().manual_seed(4)
        batches = BatchStream(
            source, torch.arange(16), 4, generator, threads, share=share, load=partial(by.load, source)
        )
        batches.skip(skipped)
        return [by(*batches.next(), step)[0] for step in range(skipped, 10)]

    whole = stream(Share(), 0)
    assert not torch.equal(whole[0], whole[4])
    for index in (0, 1):
        share = Share(index, 2)
        for one, other in zip(stream(share, workers), whole, strict=True):
            assert torch.equal(one, other[share.of(4)])
    assert all(torch.equal(*pair) for pair in zip(stream(Share(), workers, skipped=3), whole[3:], strict=True))


def test_crops_are_spread_as_they_should_be() -> None:
    boxes = [crop(300, 200) for crop in random_crops(0.08, list(range(2000)))]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 300 and 0 <= top < bottom <= 200
    areas = sorted((right - left) * (bottom - top) / 60_000 for left, top, right, bottom in boxes)
    shapes = [(right - left) / (bottom - top) for left, top, right, bottom in boxes]
    # The largest of 4 to 3 in an image of 3 to 2 has eight ninths of it.
    assert 0.079 < areas[0] < 0.1 and 0.85 < areas[-1] < 8 / 9
    assert 0.73 < min(shapes) < 0.8 and 1.25 < max(shapes) < 1.36
    # Small ones, that always fit, lie anywhere; wide as often as high.
    small = [box for box in boxes if (box[2] - box[0]) * (box[3] - box[1]) < 0.2 * 60_000]
    middles = np.array([((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in small])
    assert np.abs(middles.mean(0) - (150, 100)).max() < 8
    assert 0.45 < np.mean([shape > 1 for shape in shapes]) < 0.65
    assert boxes == [crop(300, 200) for crop in random_crops(0.08, list(range(2000)))]


@pytest.mark.parametrize(("width", "height"), [(1000, 10), (10, 1000), (1, 1), (1, 50)])
def test_crops_of_very_long_images(width: int, height: int) -> None:
    for crop in random_crops(1.0, list(range(20))):
        left, top, right, bottom = crop(width, height)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert 3 / 4 - 1e-9 <= (right - left) / (bottom - top) <= 4 / 3 + 1e-9


def test_crops_take_the_place_of_shifts(data: DataSet) -> None:
    white = torch.full((16, data.in_channels, 16, 16), 255, dtype=torch.uint8)
    labels = torch.zeros(16, dtype=torch.int64)
    for scale, moved in ((1.0, True), (0.5, False)):
        inputs = augment(data, AugmentOptions(crop_scale=scale))(white, labels, 0)[0]
        assert bool((inputs < inputs.max()).any()) == moved
