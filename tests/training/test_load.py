"""What `--data` names: splits, sizes, statistics, IDX files whole and broken."""

import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import class_folders, idx_bytes, idx_folder, picture, pixels

from fpnas.errors import UserError
from fpnas.training import fashion_mnist, streams
from fpnas.training.batches import iterate
from fpnas.training.data import DataSet
from fpnas.training.load import load_data
from fpnas.training.pictures import read_image


def images_of(dataset: DataSet, part: str = "train") -> torch.Tensor:
    source = getattr(dataset, part)
    return torch.cat([images for images, _ in iterate(source, 100)])


def assert_statistics(dataset: DataSet, images: torch.Tensor) -> None:
    """Mean and deviation are those of these pixels, counted in float64."""
    values = images.double() / 255
    for channel in range(dataset.in_channels):
        assert dataset.mean[channel] == pytest.approx(values[:, channel].mean().item(), abs=1e-6)
        assert dataset.std[channel] == pytest.approx(values[:, channel].std(unbiased=False).item(), abs=1e-6)


def test_digits_are_all_split_evenly_and_in_shades() -> None:
    from sklearn.datasets import load_digits

    dataset = load_data("digits")
    assert dataset.train is not None and dataset.test is not None
    assert (dataset.in_channels, dataset.image_size, dataset.flip) == (1, 8, False)
    assert dataset.class_names == tuple("0123456789")
    assert (len(dataset.train), len(dataset.test)) == (1433, 364)
    for source, share in ((dataset.train, 0.8), (dataset.test, 0.2)):
        counts = source.labels.bincount(minlength=10)
        total = dataset.train.labels.bincount() + dataset.test.labels.bincount()
        assert ((counts - share * total).abs() <= 1).all()
    pixels, targets = load_digits(return_X_y=True)
    # Every image is there once, with its label: as a multiset of rows.
    rows = torch.cat([images_of(dataset), images_of(dataset, "test")]).flatten(1).double() * 16 / 255
    labels = torch.cat([dataset.train.labels, dataset.test.labels])
    found = sorted(zip(map(tuple, rows.round().int().tolist()), labels.tolist(), strict=True))
    assert found == sorted(zip(map(tuple, pixels.astype(int).tolist()), targets.tolist(), strict=True))
    assert_statistics(dataset, images_of(dataset))


@pytest.mark.parametrize("part", ["train", "test"])
def test_only_the_parts_asked_for(part: str) -> None:
    dataset = load_data("digits", parts=(part,))
    assert (dataset.train is None, dataset.test is None) == (part == "test", part == "train")


def test_max_images_is_a_balanced_subset_by_seed(tmp_path: Path) -> None:
    for name in ("digits", str(class_folders(tmp_path / "data", train=9))):
        subsets = [load_data(name, max_images=10, seed=seed, image_size=8) for seed in (0, 0, 1)]
        assert subsets[0].train is not None and subsets[0].test is not None
        counts = subsets[0].train.labels.bincount().tolist()
        assert len(subsets[0].train) == 10 and max(counts) - min(counts) <= 1
        first, again, other = map(images_of, subsets)
        assert torch.equal(first, again) and not torch.equal(first, other)
        assert_statistics(subsets[0], first)
        assert len(subsets[0].test) == len(load_data(name).test)
    with pytest.raises(UserError, match=r"--max-images 9: .* 10 classes"):
        load_data("digits", max_images=9)


def test_image_size_of_images_in_memory() -> None:
    plain, larger = load_data("digits"), load_data("digits", image_size=16)
    assert larger.image_size == 16 and images_of(larger).shape == (1433, 1, 16, 16)
    assert images_of(larger, "test").shape[2:] == (16, 16)
    assert torch.equal(images_of(load_data("digits", image_size=8)), images_of(plain))
    change = images_of(larger).double().mean((1, 2, 3)) - images_of(plain).double().mean((1, 2, 3))
    assert change.abs().max() < 8
    assert_statistics(larger, images_of(larger))


@pytest.mark.parametrize("streamed", [False, True])
def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    root = class_folders(tmp_path / "my images é", train=5, val=2)
    if streamed:
        monkeypatch.setattr(streams, "MEMORY_LIMIT", 1)
    for size, chosen, default in ((10, None, 10), (6, 6, 10)):
        dataset = load_data(str(root), image_size=chosen, default_image_size=default, workers=2)
        assert dataset.train is not None and dataset.test is not None
        assert dataset.train.in_memory is not streamed
        assert (dataset.class_names, dataset.in_channels, dataset.image_size) == (("cat", "dog"), 3, size)
        assert (len(dataset.train), len(dataset.test), dataset.skipped) == (10, 4, 0)
        for part, folder in (("train", "train"), ("test", "val")):
            paths = [
                root / folder / name / f"{i}.png" for name in ("cat", "dog") for i in range(5 - 3 * (part == "test"))
            ]
            expected = torch.stack([read_image(path, size, 3) for path in paths])
            assert torch.equal(images_of(dataset, part), expected)
        assert_statistics(dataset, images_of(dataset))
    whole = np.concatenate([pixels(seed=1000 * label + index) for label in range(2) for index in range(5)])
    assert load_data(str(root), image_size=10).mean == pytest.approx(whole.mean((0, 1)) / 255, abs=1e-6)


def test_statistics_are_of_the_training_images_alone(tmp_path: Path) -> None:
    root = class_folders(tmp_path, val=0)
    before = load_data(str(root), image_size=10, parts=("train",))
    class_folders(tmp_path, train=0, val=5)
    after = load_data(str(root), image_size=10)
    assert (before.mean, before.std) == (after.mean, after.std)
    assert before.test is None


@pytest.mark.parametrize("streamed", [False, True])
def test_skipped_images_are_counted_in_both_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    if streamed:
        monkeypatch.setattr(streams, "MEMORY_LIMIT", 1)
    class_folders(tmp_path)
    for place in ("train/cat/1.png", "val/dog/0.png"):
        (tmp_path / place).write_bytes(b"no image")
    dataset = load_data(str(tmp_path), image_size=10, on_bad_image="skip")
    assert dataset.train is not None and dataset.test is not None
    left = (8, 4) if streamed else (7, 3)
    assert (len(dataset.train), len(dataset.test)) == left
    assert (len(images_of(dataset)), len(images_of(dataset, "test"))) == left
    assert dataset.skipped == 2


def test_a_class_whose_images_are_all_unreadable(tmp_path: Path) -> None:
    class_folders(tmp_path)
    for path in (tmp_path / "train" / "cat").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="one class"):
        load_data(str(tmp_path), image_size=10, on_bad_image="skip")


def test_images_of_one_colour_have_a_deviation_above_zero(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        path = picture(tmp_path / "train" / name / "0.png")
        path.write_bytes(picture(tmp_path / "grey.png", height=1, width=1).read_bytes())
    assert min(load_data(str(tmp_path), image_size=4, parts=("train",)).std) > 0


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files(tmp_path: Path, zipped: bool) -> None:
    dataset = load_data(str(idx_folder(tmp_path / "idx", zipped=zipped)))
    assert dataset.train is not None and dataset.test is not None
    assert (dataset.in_channels, dataset.image_size, len(dataset.class_names)) == (1, 6, 10)
    for part, number in (("train", 30), ("test", 20)):
        expected = np.random.default_rng(number).integers(0, 256, (number, 6, 6), dtype=np.uint8)
        assert np.array_equal(images_of(dataset, part)[:, 0].numpy(), expected)
        assert getattr(dataset, part).labels.tolist() == [index % 10 for index in range(number)]
    assert_statistics(dataset, images_of(dataset))


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"


def ones(*shape: int) -> bytes:
    return idx_bytes(np.ones(shape, np.uint8))


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        (TRAIN_IMAGES, lambda data: data[:-1], TRAIN_IMAGES),
        (TRAIN_IMAGES, lambda data: data[:9], TRAIN_IMAGES),
        (TRAIN_IMAGES, lambda data: b"", TRAIN_IMAGES),
        (TRAIN_IMAGES, lambda data: data + b"\0", TRAIN_IMAGES),
        (TRAIN_IMAGES, lambda data: b"\0\0\x0d" + data[3:], TRAIN_IMAGES),
        (TRAIN_IMAGES, lambda data: gzip.compress(data), TRAIN_IMAGES),
        (TRAIN_LABELS, lambda data: data[:-1], TRAIN_LABELS),
        (TRAIN_LABELS, lambda data: ones(29), "as many labels"),
        (TRAIN_LABELS, lambda data: ones(30, 1), "labels"),
        (TRAIN_LABELS, lambda data: idx_bytes(np.full(30, 10, np.uint8)), "label 10"),
        (TRAIN_IMAGES, lambda data: ones(30, 4, 5), "square"),
        (TRAIN_IMAGES, lambda data: ones(*[1] * 40), "40 dimensions"),
        (TRAIN_IMAGES, lambda data: b"\0\0\x08\0" + b"1", "0 dimensions"),
        # Sides whose product is 0 in 64 bits.
        (TRAIN_IMAGES, lambda data: b"\0\0\x08\3" + (b"\0\0\0\x10" + b"\x80\0\0\0" * 2), TRAIN_IMAGES),
        (TRAIN_IMAGES, lambda data: b"\0\0\x08\3" + bytes([0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0]), "no images"),
        (TEST_IMAGES, lambda data: ones(20, 5, 5), "5 pixels a side; train has 6"),
        (TRAIN_IMAGES, lambda data: ones(30, 36), "square"),
        (TEST_IMAGES, lambda data: data[: len(data) // 2], TEST_IMAGES),
    ],
)
def test_broken_idx_file(tmp_path: Path, file: str, change, named: str) -> None:
    path = idx_folder(tmp_path) / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError) as error:
        load_data(str(tmp_path))
    assert named in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_broken_zipped_idx_file(tmp_path: Path) -> None:
    path = idx_folder(tmp_path, zipped=True) / f"{TRAIN_IMAGES}.gz"
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:40] + b"\xff" * 40 + whole[80:], b"no zip"):
        path.write_bytes(data)
        with pytest.raises(UserError, match=TRAIN_IMAGES):
            load_data(str(tmp_path))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux's /proc has files that cannot be read")
def test_an_idx_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = idx_folder(tmp_path) / TRAIN_IMAGES
    path.unlink()
    path.symlink_to("/proc/self/mem")
    with pytest.raises(UserError) as error:
        load_data(str(tmp_path))
    assert str(error.value) == f"{path}: cannot be read: {os.strerror(errno.EIO)}"


def test_idx_files_without_an_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        load_data(str(idx_folder(tmp_path, train=0)))


def test_missing_idx_file(tmp_path: Path) -> None:
    (idx_folder(tmp_path) / TEST_IMAGES).unlink()
    with pytest.raises(UserError, match=r"test images .* missing"):
        load_data(str(tmp_path))


@pytest.mark.parametrize("name", ["nothing-known", "", "./absent", "/absent/too", "~no such user", "absent/folder"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(UserError) as error:
        load_data(name)
    assert f"--data {name}" in str(error.value) and "\n" not in str(error.value)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = idx_folder(tmp_path / "idx", zipped=True)
    monkeypatch.setattr(fashion_mnist, "_MOST_BYTES", 500)
    with pytest.raises(UserError, match=r"ubyte\.gz: more than 500 bytes"):
        load_data(str(folder))
