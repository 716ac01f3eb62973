"""From what `--data` names to a `DataSet`."""

import gzip
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fpnas.errors import UserError
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource, class_balanced_subset
from fpnas.training.folders import decode, load_images, scan_folder

__all__ = ["fashion_mnist_folder", "load_data"]

ACCEPTED = "digits, fashion-mnist, a folder with train/ and val/ class folders, or a name of timm such as torch/cifar10"
FASHION_MNIST_FOLDERS = (
    Path("/usr/share/datasets/fashion-mnist"),  # where Debian's package dataset-fashion-mnist puts it
    Path.home() / ".cache" / "fpnas" / "fashion-mnist",
    Path.home() / ".cache" / "fpnas" / "fashion-mnist" / "FashionMNIST" / "raw",  # where torchvision unpacks it
)
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
IDX_FILES = {"train": "train", "test": "t10k"}
_STATISTICS_SAMPLE = 5000


def load_data(
    name: str,
    *,
    image_size: int | None = None,
    default_image_size: int = 224,
    max_images: int | None = None,
    seed: int = 0,
    workers: int = 2,
    on_bad_image: str = "error",
    parts: tuple[str, ...] = ("train", "test"),
) -> DataSet:
    """The images that a name stands for.

    Args:
        name: `digits`, `fashion-mnist`, a folder, or a name that timm's `create_dataset` takes.
        image_size: side to deliver, pixels; the data's own when left out.
        default_image_size: side for data whose images come in all sizes.
        max_images: size of a class-balanced subset of the training images.
        seed: decides the subset.
        workers: threads that decode.
        on_bad_image: "error" or "skip".
        parts: those that are needed, of "train" and "test".

    Raises:
        UserError: unknown name, missing or unusable data.
    """
    folder = Path(name)
    if name == "digits":
        dataset = _digits()
    elif name == "fashion-mnist":
        dataset = _fashion_mnist(_find_fashion_mnist(), parts)
    elif folder.is_dir() and _idx_path(folder, "train", "images") is not None:
        dataset = _fashion_mnist(folder, parts)
    elif folder.is_dir() or name.startswith((".", "/", "~")):
        dataset = _class_folders(folder.expanduser(), image_size or default_image_size, workers, on_bad_image, parts)
    elif "/" in name:
        dataset = _timm(name, image_size or default_image_size, parts)
    else:
        raise UserError(f"--data {name}: unknown, and no folder of that name; accepted are {ACCEPTED}")
    dataset = _resized(dataset, image_size)
    train, test = (dataset.train, dataset.test)
    if train is not None:
        if max_images is not None:
            kept = class_balanced_subset(train.labels, max_images, seed)
            train = _subset(train, kept)
        if len(train.labels.unique()) < 2:
            raise UserError(f"--data {name}: the training images are of one class; two or more are needed")
        mean, std = _statistics(train)
        dataset = replace(dataset, mean=mean, std=std)
    return replace(
        dataset,
        train=train if "train" in parts else None,
        test=test if "test" in parts else None,
    )


class _Subset:
    """Some of the images of a source that isn't in memory."""

    def __init__(self, source: ImageSource, indices: Tensor) -> None:
        self._source, self._indices = source, indices
        self.labels, self.in_memory = source.labels[indices], source.in_memory

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, indices: Tensor) -> Tensor:
        return self._source.batch(self._indices[indices])


def _subset(source: ImageSource, indices: Tensor) -> ImageSource:
    if isinstance(source, ImagesInMemory):
        return ImagesInMemory(source.images[indices], source.labels[indices])
    return _Subset(source, indices)


def _statistics(source: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, scale 0 to 1, over a spread of the images."""
    count = min(len(source), _STATISTICS_SAMPLE if source.in_memory else 500)
    images = source.batch(torch.linspace(0, len(source) - 1, count).long()).double() / 255
    mean = images.mean((0, 2, 3))
    # A constant channel must not divide by zero.
    std = images.std((0, 2, 3), unbiased=False).clamp(min=1 / 255)
    return tuple(round(v, 6) for v in mean.tolist()), tuple(round(v, 6) for v in std.tolist())


def _resized(dataset: DataSet, image_size: int | None) -> DataSet:
    """The data at another side, for data that is held in memory at its own."""
    if image_size is None or image_size == dataset.image_size:
        return dataset

    def resize(source: ImageSource | None) -> ImageSource | None:
        if not isinstance(source, ImagesInMemory):
            return source
        values = interpolate(source.images.float(), size=(image_size, image_size), mode="bilinear", antialias=True)
        return ImagesInMemory(values.round().clamp(0, 255).to(torch.uint8), source.labels)

    return replace(
        dataset,
        image_size=image_size,
        train=resize(dataset.train),
        test=resize(dataset.test),
        shift=_usual_shift(image_size),
    )


def _usual_shift(image_size: int) -> int:
    return image_size // 14


def _data_set(name: str, class_names: tuple[str, ...], in_channels: int, image_size: int, **others: Any) -> DataSet:
    statistics = {"mean": (0.5,) * in_channels, "std": (0.5,) * in_channels}
    usual = {"flip": True, "shift": _usual_shift(image_size)}
    return DataSet(name, class_names, in_channels, image_size, **(statistics | usual | others))


def _digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; every fifth image of a class is for testing."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    images = torch.from_numpy(np.round(pixels * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(targets).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        test[torch.nonzero(labels == label).flatten()[::5]] = True
    return _data_set(
        "digits",
        tuple(str(digit) for digit in range(10)),
        1,
        8,
        flip=False,
        shift=0,
        train=ImagesInMemory(images[~test], labels[~test]),
        test=ImagesInMemory(images[test], labels[test]),
    )


def _idx_path(folder: Path, part: str, kind: str) -> Path | None:
    suffix = "images-idx3-ubyte" if kind == "images" else "labels-idx1-ubyte"
    for ending in ("", ".gz"):
        path = folder / f"{IDX_FILES[part]}-{suffix}{ending}"
        if path.is_file():
            return path
    return None


def _read_idx(path: Path) -> Tensor:
    """The array in an IDX file (type byte 8, unsigned bytes), gzipped or not."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise UserError(f"{path}: not an IDX file of unsigned bytes")
    rank = data[3]
    start = 4 + 4 * rank
    if len(data) < start:
        raise UserError(f"{path}: truncated")
    shape = struct.unpack(f">{rank}I", data[4:start])
    if len(data) - start != int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"{path}: truncated: {len(data) - start} bytes for an array of shape {shape}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def fashion_mnist_folder() -> Path | None:
    """Where Fashion-MNIST lies on this machine; None where it doesn't."""
    for folder in FASHION_MNIST_FOLDERS:
        if all(_idx_path(folder, part, kind) for part in IDX_FILES for kind in ("images", "labels")):
            return folder
    return None


def _find_fashion_mnist() -> Path:
    found = fashion_mnist_folder()
    if found is not None:
        return found
    from torchvision.datasets import FashionMNIST

    cache = FASHION_MNIST_FOLDERS[1]
    try:
        FashionMNIST(str(cache), train=True, download=True)
    except (OSError, RuntimeError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--data fashion-mnist: not found and not to be downloaded ({detail}); put its four IDX files into "
            f"{cache}, or give the folder that holds them"
        ) from None
    return cache / "FashionMNIST" / "raw"


def _fashion_mnist(folder: Path, parts: tuple[str, ...]) -> DataSet:
    sources: dict[str, ImageSource | None] = {"train": None, "test": None}
    size = 28
    for part in {"train", *parts}:
        arrays = {}
        for kind in ("images", "labels"):
            path = _idx_path(folder, part, kind)
            if path is None:
                raise UserError(f"--data {folder}: the {part} {kind} of an IDX data set are missing")
            arrays[kind] = _read_idx(path)
        images, labels = arrays["images"], arrays["labels"].long()
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.shape[1] != images.shape[2]:
            raise UserError(f"--data {folder}: {part}: square images and as many labels are expected")
        if labels.max() >= len(FASHION_MNIST_CLASSES):
            raise UserError(f"--data {folder}: {part}: label {int(labels.max())}: 0 to 9 are accepted")
        size = images.shape[1]
        sources[part] = ImagesInMemory(images[:, None], labels)
    return _data_set("fashion-mnist", FASHION_MNIST_CLASSES, 1, size, **sources)


def _class_folders(root: Path, image_size: int, workers: int, on_bad_image: str, parts: tuple[str, ...]) -> DataSet:
    wanted = tuple("train" if part == "train" else "val" for part in parts)
    class_names, files = scan_folder(root, wanted)
    sources: dict[str, ImageSource | None] = {"train": None, "val": None}
    skipped = 0
    for part in wanted:
        source, left_out = load_images(files[part], image_size, 3, workers=workers, on_bad_image=on_bad_image)
        sources[part] = source
        skipped += left_out
    return _data_set(
        str(root), class_names, 3, image_size, train=sources["train"], test=sources["val"], skipped=skipped
    )


def _timm(name: str, image_size: int, parts: tuple[str, ...]) -> DataSet:
    """A data set by timm's name; its images are decoded into memory."""
    from timm.data import create_dataset

    cache = Path(os.environ.get("FPNAS_CACHE", str(Path.home() / ".cache" / "fpnas"))) / "timm"
    sources: dict[str, ImageSource | None] = {"train": None, "test": None}
    class_names: tuple[str, ...] = ()
    for part in parts:
        try:
            split = "train" if part == "train" else "validation"
            found = create_dataset(name, root=str(cache), split=split, download=True, is_training=part == "train")
            pairs = [(decode(image, image_size, 3), int(label)) for image, label in found]
        except (OSError, RuntimeError, ValueError, AssertionError, ImportError, KeyError, TypeError) as error:
            detail = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"--data {name}: timm cannot give it: {detail}; accepted are {ACCEPTED}") from None
        if not pairs:
            raise UserError(f"--data {name}: the {part} part is empty")
        labels = torch.tensor([label for _, label in pairs])
        sources[part] = ImagesInMemory(torch.stack([image for image, _ in pairs]), labels)
        names = getattr(found, "classes", None) or [str(label) for label in range(int(labels.max()) + 1)]
        class_names = max(class_names, tuple(map(str, names)), key=len)
    return _data_set(name, class_names, 3, image_size, **sources)
