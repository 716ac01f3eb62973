"""Images for search and training: what `--data` names.

Images are held as uint8 in memory wherever they fit, so that a batch is one index operation.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fpnas.errors import UserError

__all__ = [
    "DataSet",
    "ImageSource",
    "ImagesInMemory",
    "check_data_set",
    "data_identity",
    "data_set",
    "download_folder",
    "usual_shift",
]


class ImageSource(Protocol):
    """Labelled images by index.

    Attributes:
        labels: class of each image, int64, shape (N,).
        in_memory: whether `batch` only indexes; else it decodes files and gains from threads.
        skipped: unreadable images so far, left out or replaced.
    """

    labels: Tensor
    in_memory: bool

    @property
    def skipped(self) -> int: ...

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Tensor:
        """Images at these indices, uint8, shape (B, C, H, W)."""
        ...


class ImagesInMemory:
    """Images held as one tensor.

    Args:
        images: uint8, shape (N, C, H, W).
        labels: int64, shape (N,).
        skipped: unreadable images that were left out.
    """

    in_memory = True

    def __init__(self, images: Tensor, labels: Tensor, skipped: int = 0) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
        self.images = images
        self.labels = labels
        self.skipped = skipped

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> Tensor:
        """Images at these indices, uint8, shape (B, C, H, W)."""
        return self.images[indices]


@dataclass(frozen=True)
class DataSet:
    """What `--data` names.

    Attributes:
        name: for messages and records.
        class_names: by label.
        in_channels: 1 or 3.
        image_size: side of the images, pixels.
        mean, std: of the training images, per channel, on a scale from 0 to 1.
        flip: whether a mirrored image is of the same class.
        shift: pixels an image may be shifted by in training.
        train, test: images; None for a part that was not asked for.
    """

    name: str
    class_names: tuple[str, ...]
    in_channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    shift: int
    train: ImageSource | None
    test: ImageSource | None

    @property
    def skipped(self) -> int:
        """Unreadable images so far, left out or replaced."""
        return sum(part.skipped for part in (self.train, self.test) if part is not None)


def check_data_set(dataset: DataSet) -> None:
    """UserError where training images of a data set that somebody made are not what they are said to be.

    One image is looked at, and all labels.
    """
    train = dataset.train
    if train is None or not len(train):
        raise UserError(f"data {dataset.name}: it has no training images")
    images, labels = train.batch(torch.tensor([0])), train.labels
    shape = (dataset.in_channels, dataset.image_size, dataset.image_size)
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
        found = f"{str(images.dtype).removeprefix('torch.')}, shape {tuple(images.shape[1:])}"
        raise UserError(f"data {dataset.name}: images of {found}; uint8, shape {shape} is accepted")
    if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= len(dataset.class_names):
        found = f"{str(labels.dtype).removeprefix('torch.')}, {int(labels.min())} to {int(labels.max())}"
        raise UserError(
            f"data {dataset.name}: labels of {found}; int64, 0 to {len(dataset.class_names) - 1} are accepted"
        )


def data_identity(dataset: DataSet) -> dict[str, str]:
    """Digests of what images there are, in which order, and of how they are looked at, by the name a user knows.

    Their pixels are judged by the statistics; those change where an image is replaced, so they are left out then.
    """
    parts = {name: part for name, part in (("train", dataset.train), ("test", dataset.test)) if part is not None}
    labels = {name: hashlib.sha256(part.labels.numpy().tobytes()).hexdigest() for name, part in parts.items()}
    about = (dataset.class_names, dataset.in_channels, dataset.image_size, dataset.flip, dataset.shift, labels)
    identity = {"--data": _digest(about)}
    if not dataset.skipped:
        identity["the pixels of --data"] = _digest((dataset.mean, dataset.std))
    return identity


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def download_folder() -> Path:
    """Where downloaded data are kept: the environment's FPNAS_CACHE, or `.cache/fpnas` at home."""
    return Path(os.environ.get("FPNAS_CACHE") or Path.home() / ".cache" / "fpnas")


def usual_shift(image_size: int) -> int:
    """Pixels that images of a size are shifted by in training, where nothing else is known."""
    return image_size // 14


def data_set(name: str, class_names: tuple[str, ...], in_channels: int, image_size: int, **others: Any) -> DataSet:
    """A data set with the usual augmentation, and statistics that hold until the images are looked at."""
    statistics = {"mean": (0.5,) * in_channels, "std": (0.5,) * in_channels}
    usual = {"flip": True, "shift": usual_shift(image_size)}
    return DataSet(name, class_names, in_channels, image_size, **(statistics | usual | others))
