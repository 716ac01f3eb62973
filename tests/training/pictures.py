"""Image files and IDX files for tests."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(height: int = 10, width: int = 10, seed: int = 0) -> NDArray[np.uint8]:
    """Random RGB pixels (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(path: Path, seed: int = 0, mode: str = "RGB", height: int = 10, width: int = 10) -> Path:
    """A random image in a file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(height, width, seed)).convert(mode).save(path)
    return path


def class_folders(root: Path, train: int = 4, val: int = 2, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Class folders of PNG files, every image another one."""
    for part, number in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            for index in range(number):
                picture(root / part / name / f"{index}.png", seed=1000 * label + 100 * (part == "val") + index)
    return root


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An array as an IDX file."""
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(root: Path, train: int = 30, test: int = 20, side: int = 6, zipped: bool = False) -> Path:
    """The four files of an IDX data set, labels 0 to 9 in turn."""
    root.mkdir(exist_ok=True)
    for name, number in (("train", train), ("t10k", test)):
        images = np.random.default_rng(number).integers(0, 256, (number, side, side), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        for file, array in ((f"{name}-images-idx3-ubyte", images), (f"{name}-labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            (root / (file + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return root
