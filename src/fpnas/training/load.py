"""From what `--data` names to a `DataSet`."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fpnas.errors import UserError
from fpnas.runtime.setup import generator_for
from fpnas.training import folders
from fpnas.training.batches import iterate, spread
from fpnas.training.class_balance import class_balanced_split, class_balanced_subset
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource, data_set, usual_shift
from fpnas.training.fashion_mnist import fashion_mnist, fashion_mnist_folder, idx_folder, idx_path
from fpnas.training.streams import StreamedImages, fit_memory
from fpnas.training.timm_data import TIMM_PREFIXES, timm_data

__all__ = ["fashion_mnist_folder", "load_data"]

ACCEPTED = "digits, fashion-mnist, a folder with train/ and val/ class folders, or a name of timm such as torch/cifar10"
_STATISTICS_SAMPLE = 5000
_STREAMED_STATISTICS_SAMPLE = 500
_STATISTICS_BATCH = 64


def load_data(
    name: str,
    *,
    image_size: int | None = None,
    default_image_size: int | None = 224,
    max_images: int | None = None,
    hold_out: float = 0.0,
    seed: int = 0,
    workers: int = 2,
    on_bad_image: str = "error",
    parts: tuple[str, ...] = ("train", "test"),
) -> DataSet:
    """The images that a name stands for.

    Args:
        name: `digits`, `fashion-mnist`, a folder, or a name that timm's `create_dataset` takes.
        image_size: side to deliver, pixels; the data's own when left out.
        default_image_size: side for data whose images come in all sizes; with None one has to be given for these.
        max_images: size of a class-balanced subset of the training images.
        hold_out: share of the training images, of every class the same, that take the place of the test images, which
            are not looked at then; none when 0.
        seed: decides the subset and what is held out.
        workers: threads that decode.
        on_bad_image: "error" or "skip".
        parts: those that are needed, of "train" and "test".

    Raises:
        UserError: unknown name, missing or unusable data.
    """
    if hold_out:
        parts = ("train",)
    try:
        dataset = _named(name, image_size, default_image_size, max_images, seed, workers, on_bad_image, parts)
    except OSError as error:  # a name too long for a path, a folder that may not be looked into
        raise UserError(f"--data {name}: {error.strerror or error}; accepted are {ACCEPTED}") from None
    train, test = dataset.train if "train" in parts else None, dataset.test if "test" in parts else None
    if train is not None:
        if max_images is not None:
            train = _subset(train, class_balanced_subset(train.labels, max_images, seed))
        if hold_out:
            train, test = _held_out(train, hold_out, seed)
        if len(train.labels.unique()) < 2:
            raise UserError(f"--data {name}: the training images are of one class; two or more are needed")
    if image_size is not None and image_size != dataset.image_size:
        dataset = replace(dataset, image_size=image_size, shift=usual_shift(image_size))
        train, test = _resized(train, image_size), _resized(test, image_size)
    if train is not None:
        mean, std = _statistics(train)
        dataset = replace(dataset, mean=mean, std=std)
    return replace(dataset, train=train, test=test)


def _named(
    name: str,
    image_size: int | None,
    default_image_size: int | None,
    max_images: int | None,
    seed: int,
    workers: int,
    on_bad_image: str,
    parts: tuple[str, ...],
) -> DataSet:
    """What a name stands for, as it is there; arguments as those of `load_data`."""
    folder = Path(os.path.expanduser(name))
    is_folder = folder.is_dir()
    if name == "digits":
        return _digits()
    if name == "fashion-mnist":
        return fashion_mnist(parts)
    if is_folder and idx_path(folder, "train", "images") is not None:
        return idx_folder(folder, parts)
    if is_folder:
        size = _side(name, image_size, default_image_size)
        # The subset comes first: what is left out need not be read.
        return _class_folders(folder, size, workers, on_bad_image, parts, max_images, seed)
    if name.split("/")[0] in TIMM_PREFIXES and "/" in name:
        size = _side(name, image_size, default_image_size)
        return timm_data(name, size, parts, workers=workers, on_bad_image=on_bad_image)
    raise UserError(f"--data {name}: unknown, and no folder of that name; accepted are {ACCEPTED}")


def _side(name: str, given: int | None, default: int | None) -> int:
    """Of images that come in all sizes. Raises UserError where nothing says which."""
    side = given or default
    if side is None:
        raise UserError(
            f"--image-size: is needed: the images of --data {name} come in all sizes, and so do the networks"
        )
    return side


class _Resized:
    """Images of a source at another side, made whenever they are asked for."""

    in_memory = False

    def __init__(self, source: ImageSource, image_size: int) -> None:
        self._source, self._image_size = source, image_size
        self.labels = source.labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def skipped(self) -> int:
        return self._source.skipped

    def batch(self, indices: Tensor) -> Tensor:
        """Images at these indices, uint8, shape (B, C, S, S)."""
        size = (self._image_size, self._image_size)
        values = interpolate(self._source.batch(indices).float(), size=size, mode="bilinear", antialias=True)
        return values.round().clamp(0, 255).to(torch.uint8)


def _resized(source: ImageSource | None, image_size: int) -> ImageSource | None:
    """Images at another side, in memory where they fit."""
    if source is None:
        return None
    resized = _Resized(source, image_size)
    channels = source.batch(torch.tensor([0])).shape[1]
    if not fit_memory(len(source), (channels, image_size, image_size)):
        return resized
    # In pieces: as floating-point numbers they would take four times the room.
    pieces = [resized.batch(indices) for indices in torch.arange(len(source)).split(1000)]
    return ImagesInMemory(torch.cat(pieces), source.labels, source.skipped)


def _subset(source: ImageSource, indices: Tensor, *, counts: bool = True) -> ImageSource:
    """Some of the images; of several subsets one counts what is left out already."""
    if len(indices) == len(source):  # class folders are cut before they are read
        return source
    left_out = source.skipped if counts else 0
    if isinstance(source, ImagesInMemory):
        return ImagesInMemory(source.images[indices], source.labels[indices], left_out)
    assert isinstance(source, StreamedImages), source
    return source.part(indices, left_out=left_out)


def _held_out(train: ImageSource, share: float, seed: int) -> tuple[ImageSource, ImageSource]:
    """The training images without those that are held out, and those."""
    # Not the halves of a search with this seed: its weights have learned from one of them.
    own_seed = generator_for(seed, "held out").initial_seed()
    held, kept = class_balanced_split(train.labels, share, own_seed)
    classes = len(train.labels.unique())
    if not len(held) or len(train.labels[kept].unique()) < classes:
        raise UserError(
            f"--hold-out {share}: {len(held)} of {len(train)} training images, of {classes} classes, would be held "
            "out; one or more, and not all of a class, is accepted"
        )
    return _subset(train, kept), _subset(train, held, counts=False)


def _statistics(source: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, scale 0 to 1, over a spread of the images."""
    indices = spread(len(source), _STATISTICS_SAMPLE if source.in_memory else _STREAMED_STATISTICS_SAMPLE)
    pixels = 0
    total = squares = torch.zeros((), dtype=torch.int64)
    # In pieces of whole numbers: exact, and thousands of large images in float64 would take gigabytes.
    for images, _ in iterate(source, _STATISTICS_BATCH, indices):
        values = images.long()
        pixels += values[:, 0].numel()
        total = total + values.sum((0, 2, 3))
        squares = squares + values.square().sum((0, 2, 3))
    mean = total.double() / pixels / 255
    variance = (squares.double() - total.double().square() / pixels).clamp(min=0) / pixels
    # A constant channel must not divide by zero.
    std = (variance.sqrt() / 255).clamp(min=1 / 255)
    return tuple(round(v, 6) for v in mean.tolist()), tuple(round(v, 6) for v in std.tolist())


def _digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; every fifth image of a class is for testing."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    images = torch.from_numpy(np.round(pixels * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(targets).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        test[torch.nonzero(labels == label).flatten()[::5]] = True
    return data_set(
        "digits",
        tuple(str(digit) for digit in range(10)),
        1,
        8,
        flip=False,
        shift=0,
        train=ImagesInMemory(images[~test], labels[~test]),
        test=ImagesInMemory(images[test], labels[test]),
    )


def _class_folders(
    root: Path,
    image_size: int,
    workers: int,
    on_bad_image: str,
    parts: tuple[str, ...],
    max_images: int | None,
    seed: int,
) -> DataSet:
    """Class folders; of the training images only a subset is read where one is asked for."""
    wanted = tuple("train" if part == "train" else "val" for part in parts)
    class_names, files = folders.scan_folder(root, wanted)
    if max_images is not None and "train" in files:
        labels = torch.tensor([label for _, label in files["train"]])
        kept = class_balanced_subset(labels, max_images, seed).tolist()
        files["train"] = [files["train"][index] for index in kept]
    sources: dict[str, ImageSource | None] = {"train": None, "val": None}
    for part in wanted:
        sources[part] = folders.load_images(files[part], image_size, 3, workers=workers, on_bad_image=on_bad_image)
    return data_set(str(root), class_names, 3, image_size, train=sources["train"], test=sources["val"])
