"""Where data are looked for, and images that only some of the ways of loading meet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import class_folders, idx_folder
from PIL import Image

from fpnas.errors import UserError
from fpnas.training import fashion_mnist, streams, timm_data
from fpnas.training.batches import iterate
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource
from fpnas.training.load import load_data
from fpnas.training.pictures import read_image
from fpnas.training.streams import StreamedImages

NAME = "torch/image_folder"
TIMM_LIMITS = [streams.MEMORY_LIMIT, 1]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Fashion-MNIST, and a cache of its own."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("FPNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FPNAS_DATA_DIR", raising=False)
    return tmp_path


def train_of(dataset: DataSet) -> ImageSource:
    assert dataset.train is not None
    return dataset.train


def test_the_nearest_fashion_mnist_is_taken(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fashion_mnist.fashion_mnist_folder() is None
    monkeypatch.setenv("FPNAS_DATA_DIR", str(nowhere / "given"))
    # From the last place to the first: each comes before those that were there.
    places = ["cache/fashion-mnist/FashionMNIST/raw", "cache/fashion-mnist", "debian", "given/fashion-mnist"]
    for number, place in enumerate(places):
        (nowhere / place).mkdir(parents=True, exist_ok=True)
        idx_folder(nowhere / place, train=30 + number)
        assert fashion_mnist.fashion_mnist_folder() == nowhere / place
        assert len(train_of(load_data("fashion-mnist"))) == 30 + number


def test_an_incomplete_folder_is_passed_over(nowhere: Path) -> None:
    (idx_folder(nowhere / "debian") / "t10k-labels-idx1-ubyte").unlink()
    (nowhere / "cache").mkdir()
    whole = idx_folder(nowhere / "cache" / "fashion-mnist")
    assert fashion_mnist.find_fashion_mnist() == whole


def test_relatives_have_no_clothes(nowhere: Path) -> None:
    folder = idx_folder(nowhere / "mnist")
    dataset = load_data(str(folder))
    assert dataset.name == str(folder) and dataset.class_names == tuple("0123456789") and not dataset.flip
    idx_folder(nowhere / "debian")
    assert load_data("fashion-mnist").class_names[0] == "T-shirt/top"  # as it was named


def test_a_place_that_may_not_be_looked_at_is_none(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "cache").mkdir()
    whole = idx_folder(nowhere / "cache" / "fashion-mnist")
    looked = fashion_mnist.idx_path

    def forbidden(folder: Path, part: str, kind: str) -> Path | None:
        if folder != whole:
            raise PermissionError(13, "Permission denied", str(folder))
        return looked(folder, part, kind)

    monkeypatch.setattr(fashion_mnist, "idx_path", forbidden)
    assert fashion_mnist.find_fashion_mnist() == whole


@pytest.mark.parametrize("method", ["is_file", "is_symlink"])
def test_a_folder_that_may_not_be_looked_into(nowhere: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    class_folders(nowhere / "photos")

    def forbidden(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, method, forbidden)
    with pytest.raises(UserError, match=r"^--data .*photos: Permission denied; accepted are digits"):
        load_data(str(nowhere / "photos"), image_size=8)


def test_a_download_that_fails_says_where_the_files_may_be_put(nowhere: Path) -> None:
    (nowhere / "cache").write_text("a file, in which no folder can be made")
    with pytest.raises(UserError) as error:
        load_data("fashion-mnist")
    message = str(error.value)
    assert "\n" not in message and str(nowhere / "cache" / "fashion-mnist") in message
    assert message.startswith("--data fashion-mnist: ")


def test_a_broken_download_gives_its_cause_in_one_line(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("Error downloading train-images:\nTried the mirror, got:\n  no route to host\n")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", broken)
    with pytest.raises(UserError, match=r"^--data fashion-mnist: .*Tried the mirror, got: no route to host\); put its"):
        load_data("fashion-mnist")


@pytest.mark.skipif(not fashion_mnist.DEBIAN_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_files_of_debian() -> None:
    dataset = load_data(str(fashion_mnist.DEBIAN_FOLDER))
    assert (dataset.name, dataset.class_names[9], dataset.flip) == ("fashion-mnist", "Ankle boot", True)
    for source, number in ((dataset.train, 6000), (dataset.test, 1000)):
        assert source is not None and source.labels.bincount().tolist() == [number] * 10
        assert source.batch(torch.tensor([0])).shape == (1, 1, 28, 28)


@pytest.mark.parametrize("name", ["n" * 300, "folder/" * 2000])
def test_a_name_that_is_too_long_for_a_path(name: str) -> None:
    with pytest.raises(UserError, match=r"^--data .*too long; accepted are digits"):
        load_data(name)


def test_floating_point_images_are_refused_and_not_made_black(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(path)
    with pytest.raises(UserError, match=r"float\.tiff: cannot be read: .*floating-point"):
        read_image(path, 8, 3)


def spoilt(cache: Path) -> Path:
    """Class folders where timm looks, the image of index 2 made unreadable."""
    class_folders(cache / "timm")
    path = cache / "timm" / "train" / "cat" / "2.png"
    path.write_bytes(b"no image")
    return path


class WithoutTargets:
    """A data set whose labels come with its images only, as those of `hfds/`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Any:
        return self._inner[index]


@pytest.fixture(params=[True, False], ids=["targets", "without targets"])
def cache(request: pytest.FixtureRequest, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timm finds class folders, with labels known beforehand or not."""
    if not request.param:
        create = timm_data._create
        monkeypatch.setattr(timm_data, "_create", lambda name, part: WithoutTargets(create(name, part)))
    return nowhere / "cache"


@pytest.mark.parametrize("limit", TIMM_LIMITS)
def test_labels_of_timm_are_those_of_the_images(cache: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    class_folders(cache / "timm")
    monkeypatch.setattr(streams, "MEMORY_LIMIT", limit)
    source = train_of(load_data(NAME, default_image_size=7))
    assert source.labels.tolist() == [0] * 4 + [1] * 4 and source.in_memory == (limit > 1)


@pytest.mark.parametrize("limit", TIMM_LIMITS)
def test_a_bad_image_of_timm_is_named_in_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    spoilt(cache)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", limit)
    with pytest.raises(UserError) as error:
        # Streamed, it may only be met when its batch is asked for.
        list(iterate(train_of(load_data(NAME, default_image_size=7)), 3, workers=2))
    assert str(error.value).startswith(f"--data {NAME}: image 2: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("limit", TIMM_LIMITS)
def test_bad_images_of_timm_are_left_out_and_counted(cache: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    bad = spoilt(cache)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", limit)
    dataset = load_data(NAME, default_image_size=7, on_bad_image="skip")
    source = train_of(dataset)
    images = torch.cat([images for images, _ in iterate(source, 3, workers=2)])
    paths = sorted((cache / "timm" / "train").rglob("*.png"))
    if isinstance(source, StreamedImages) and hasattr(timm_data._create(NAME, "train"), "targets"):
        # Only then is its label known without it, and the next of its class can stand in for it.
        assert source.labels.tolist() == [0] * 4 + [1] * 4
        paths[paths.index(bad)] = paths[paths.index(bad) + 1]
    else:
        assert source.labels.tolist() == [0] * 3 + [1] * 4
        paths.remove(bad)
    assert torch.equal(images, torch.stack([read_image(path, 7, 3) for path in paths]))
    assert dataset.skipped == 1


def test_timm_without_one_readable_image(cache: Path) -> None:
    for path in class_folders(cache / "timm").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"--data {NAME}: .*no image of it can be read"):
        load_data(NAME, default_image_size=7, on_bad_image="skip")


def test_images_and_labels_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 images and 2 labels"):
        ImagesInMemory(torch.zeros(3, 1, 2, 2), torch.zeros(2))
