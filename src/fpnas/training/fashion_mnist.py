"""Fashion-MNIST: where it lies; and IDX files, its own and those of its relatives."""

import contextlib
import gzip
import hashlib
import math
import os
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource, data_set, download_folder

__all__ = ["fashion_mnist", "fashion_mnist_folder", "find_fashion_mnist", "idx_folder", "idx_path"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""
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
_ITS_LABELS = {
    "train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
"""SHA-256 of the labels of each part, a byte each."""
IDX_FILES = {"train": "train", "test": "t10k"}
_MOST_BYTES = 2**30
"""A small gzip file can hold more than any memory."""


def idx_path(folder: Path, part: str, kind: str) -> Path | None:
    """The file with a part's images or labels; None where it is missing."""
    suffix = "images-idx3-ubyte" if kind == "images" else "labels-idx1-ubyte"
    for ending in ("", ".gz"):
        path = folder / f"{IDX_FILES[part]}-{suffix}{ending}"
        if path.is_file():
            return path
    return None


def _read_idx(path: Path) -> Tensor:
    """The array in an IDX file (type byte 8, unsigned bytes), gzipped or not."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise UserError(f"{path}: more than {_MOST_BYTES} bytes; Fashion-MNIST has 47 million")
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise UserError(f"{path}: not an IDX file of unsigned bytes")
    rank = data[3]
    if not 1 <= rank <= 3:
        raise UserError(f"{path}: an array of {rank} dimensions; 1 for labels and 3 for images are accepted")
    start = 4 + 4 * rank
    if len(data) < start:
        raise UserError(f"{path}: truncated")
    shape = struct.unpack(f">{rank}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise UserError(f"{path}: truncated: {len(data) - start} bytes for an array of shape {shape}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def _places() -> tuple[Path, ...]:
    """Where Fashion-MNIST is looked for, in this order; the last is where torchvision unpacks it."""
    given, cache = os.environ.get("FPNAS_DATA_DIR"), download_folder() / "fashion-mnist"
    chosen = (Path(given) / "fashion-mnist",) if given else ()
    return (*chosen, DEBIAN_FOLDER, cache, cache / "FashionMNIST" / "raw")


def fashion_mnist_folder() -> Path | None:
    """Where Fashion-MNIST lies on this machine; None where it doesn't.

    `$FPNAS_DATA_DIR/fashion-mnist` comes before Debian's place, and that before what was downloaded.
    """
    for folder in _places():
        with contextlib.suppress(OSError):  # a place that may not be looked at is none
            if all(idx_path(folder, part, kind) for part in IDX_FILES for kind in ("images", "labels")):
                return folder
    return None


def find_fashion_mnist() -> Path:
    """Where Fashion-MNIST lies, after a download where needed.

    Raises:
        UserError: not there and not to be downloaded; says where its files may be put.
    """
    found = fashion_mnist_folder()
    if found is not None:
        return found
    from torchvision.datasets import FashionMNIST

    *_, cache, unpacked = _places()
    try:
        # Its lines and progress are not for standard output, where a command's JSON goes.
        with contextlib.redirect_stdout(sys.stderr):
            FashionMNIST(str(cache), train=True, download=True)
    except Exception as error:  # a broken connection raises of several kinds
        detail = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"--data fashion-mnist: not found and not to be downloaded ({detail}); put its four IDX files into "
            f"{cache}, or give the folder that holds them"
        ) from None
    return unpacked


def fashion_mnist(parts: tuple[str, ...]) -> DataSet:
    """Fashion-MNIST, the parts that are asked for. Raises UserError as `find_fashion_mnist` and `idx_folder`."""
    found = idx_folder(find_fashion_mnist(), parts)
    return replace(found, name="fashion-mnist", class_names=FASHION_MNIST_CLASSES, flip=True)


def idx_folder(folder: Path, parts: tuple[str, ...]) -> DataSet:
    """The parts that are asked for of the IDX files in a folder.

    They do not say what their classes are. Those of Fashion-MNIST are known by their labels; others are numbers, and
    may be characters, which are not mirrored.

    Raises:
        UserError: a missing, truncated or unfitting file, by name.
    """
    sources: dict[str, ImageSource | None] = {"train": None, "test": None}
    size = 0
    for part in parts:
        arrays = {}
        for kind in ("images", "labels"):
            path = idx_path(folder, part, kind)
            if path is None:
                raise UserError(f"--data {folder}: the {part} {kind} of an IDX data set are missing")
            arrays[kind] = _read_idx(path)
        images, labels = arrays["images"], arrays["labels"].long()
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.shape[1] != images.shape[2]:
            raise UserError(f"--data {folder}: {part}: square images and as many labels are expected")
        if not images.numel():
            raise UserError(f"--data {folder}: {part}: no images in it")
        if labels.max() >= len(FASHION_MNIST_CLASSES):
            raise UserError(f"--data {folder}: {part}: label {int(labels.max())}: 0 to 9 are accepted")
        if size not in (0, images.shape[1]):
            raise UserError(f"--data {folder}: {part}: images of {images.shape[1]} pixels a side; train has {size}")
        size = images.shape[1]
        sources[part] = ImagesInMemory(images[:, None], labels)
    if all(_digest(source) == _ITS_LABELS[part] for part, source in sources.items() if source is not None):
        return data_set("fashion-mnist", FASHION_MNIST_CLASSES, 1, size, **sources)
    numbers = tuple(map(str, range(len(FASHION_MNIST_CLASSES))))
    return data_set(str(folder), numbers, 1, size, flip=False, **sources)


def _digest(source: ImageSource) -> str:
    return hashlib.sha256(source.labels.to(torch.uint8).numpy().tobytes()).hexdigest()
