"""Names of timm's `create_dataset`, with what it finds on the disk, and what it cannot give."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pictures import class_folders, picture
from PIL import Image
from timm.data import ImageDataset
from torch.utils.data import IterableDataset

from fpnas.errors import UserError
from fpnas.training import streams, timm_data
from fpnas.training.batches import iterate
from fpnas.training.data import DataSet
from fpnas.training.load import load_data
from fpnas.training.pictures import read_image

NAME = "torch/image_folder"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timm finds class folders."""
    monkeypatch.setenv("FPNAS_CACHE", str(tmp_path))
    return tmp_path / "timm"


def images_of(dataset: DataSet, part: str) -> torch.Tensor:
    return torch.cat([images for images, _ in iterate(getattr(dataset, part), 3, workers=2)])


@pytest.mark.parametrize("limit", [streams.MEMORY_LIMIT, 1])
def test_images_of_timm_equal_those_of_folders(cache: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    class_folders(cache, train=4, val=2)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", limit)
    by_timm, by_folder = (load_data(name, default_image_size=7) for name in (NAME, str(cache)))
    assert by_timm.class_names == by_folder.class_names == ("cat", "dog")
    assert (by_timm.in_channels, by_timm.image_size) == (3, 7)
    assert (by_timm.mean, by_timm.std) == (by_folder.mean, by_folder.std)
    for part, number in (("train", 8), ("test", 4)):
        source = getattr(by_timm, part)
        assert source.in_memory == (limit > 1) and len(source) == number
        assert torch.equal(source.labels, getattr(by_folder, part).labels)
        assert torch.equal(images_of(by_timm, part), images_of(by_folder, part))


def test_one_class_is_refused(cache: Path) -> None:
    class_folders(cache, classes=("cat",))
    with pytest.raises(UserError, match=f"--data {NAME}: the training images are of one class"):
        load_data(NAME, default_image_size=7)


def test_max_images_of_streamed_images(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(cache, train=6)
    whole = load_data(NAME, default_image_size=7, max_images=5, seed=3)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", 1)
    streamed = load_data(NAME, default_image_size=7, max_images=5, seed=3)
    assert torch.equal(images_of(whole, "train"), images_of(streamed, "train"))
    assert whole.train is not None and streamed.train is not None
    assert torch.equal(whole.train.labels, streamed.train.labels) and len(streamed.train) == 5


class InSequence(IterableDataset[Any]):
    """A stand-in for what timm reads from shards: it can be gone through, and that is all."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Any:
        return ((Image.open(path), label) for path, label in zip(self._paths, itertools.cycle([0, 1])))


def test_data_that_are_read_in_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [picture(tmp_path / f"{index}.png", seed=index) for index in range(5)]
    monkeypatch.setattr(timm_data, "_create", lambda name, part: InSequence(paths))
    dataset = load_data("wds/pictures", default_image_size=7)
    assert torch.equal(images_of(dataset, "train"), torch.stack([read_image(path, 7, 3) for path in paths]))
    assert dataset.train is not None and dataset.train.labels.tolist() == [0, 1, 0, 1, 0]
    monkeypatch.setattr(streams, "MEMORY_LIMIT", 4 * 3 * 7 * 7)
    with pytest.raises(UserError, match=r"--data wds/pictures: .* more than the 4 images that fit"):
        load_data("wds/pictures", default_image_size=7)
    monkeypatch.setattr(timm_data, "_create", lambda name, part: InSequence([]))
    with pytest.raises(UserError, match="empty"):
        load_data("wds/pictures", default_image_size=7)


def test_the_test_part_may_have_either_name_and_shards_lie_where_they_are_said_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def create_dataset(name: str, root: str, split: str, **options: Any) -> str:
        asked.append((name, root, split))
        if split not in ("train", "test"):
            raise ValueError(f"no split {split}")
        if "absent" in name:
            raise OSError("no such data")
        return split

    monkeypatch.setattr("timm.data.create_dataset", create_dataset)
    assert [timm_data._create("hfds/pets", part) for part in ("train", "test")] == ["train", "test"]
    assert [split for *_, split in asked] == ["train", "validation", "test"]
    with pytest.raises(ValueError, match="no split validation"):  # the first reason is the one
        timm_data._create("hfds/absent", "test")
    timm_data._create(f"wds/{tmp_path}/shards", "train")
    assert asked[-1][1] == f"{tmp_path}/shards"


def test_data_in_sequence_are_whole_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sequence(IterableDataset[Any]):
        """As timm makes one where processes have joined: a share of the shards for each."""

        reader = SimpleNamespace(dist_rank=1, dist_num_replicas=2)

        def __iter__(self) -> Iterator[Any]:
            return iter(())

    monkeypatch.setattr("timm.data.create_dataset", lambda name, **options: Sequence())
    reader = timm_data._create("wds/shards", "train").reader
    assert (reader.dist_rank, reader.dist_num_replicas) == (0, 1)


class Reader:
    """A stand-in for timm's reader of a hub's data set: files with labels, and names of all classes."""

    def __init__(self, paths: list[Path], class_to_idx: dict[str, int]) -> None:
        self._paths = paths
        self.class_to_idx = class_to_idx

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._paths[index].open("rb"), index % 2

    def __len__(self) -> int:
        return len(self._paths)


def test_classes_that_have_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [picture(tmp_path / f"{index}.png", seed=index) for index in range(4)]
    names = {"dog": 1, "cat": 0, "eel": 2}
    monkeypatch.setattr(timm_data, "_create", lambda name, part: ImageDataset("", reader=Reader(paths, names)))
    dataset = load_data("hfds/pets", default_image_size=7)
    assert dataset.class_names == ("cat", "dog", "eel")
    assert dataset.test is not None and dataset.test.labels.tolist() == [0, 1, 0, 1]


def test_a_bad_image_is_not_replaced_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [picture(tmp_path / f"{index}.png", seed=index) for index in range(6)]
    paths[2].write_bytes(b"no image")
    reader = Reader(paths, {"cat": 0, "dog": 1})
    monkeypatch.setattr(timm_data, "_create", lambda name, part: ImageDataset("", reader=reader))
    with pytest.raises(UserError, match="--data hfds/pets: image 2: cannot identify image file"):
        load_data("hfds/pets", default_image_size=7)
    dataset = load_data("hfds/pets", default_image_size=7, on_bad_image="skip")
    assert dataset.skipped == 2 and dataset.train is not None and dataset.train.labels.tolist() == [0, 1, 1, 0, 1]
    expected = [read_image(path, 7, 3) for path in paths if path != paths[2]]
    assert torch.equal(images_of(dataset, "train"), torch.stack(expected))


@pytest.mark.parametrize("name", ["torch/no_such_data", "torch/image_folder", "torch/", "hfds/no/such"])
def test_what_timm_cannot_give(
    cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where the package isn't installed
    with pytest.raises(UserError) as error:
        load_data(name)
    message = str(error.value)
    assert f"--data {name}: timm cannot give" in message and "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_path_that_is_mistyped_is_no_name_of_timm(cache: Path) -> None:
    # timm would take it for a kind of folder, and read whatever lies in its cache.
    class_folders(cache)
    with pytest.raises(UserError, match="--data photos/pets: unknown"):
        load_data("photos/pets")
