"""Class folders: `train/CLASS/image.jpg` and `val/CLASS/image.jpg`."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training.data import ImagesInMemory, ImageSource

__all__ = ["FolderPart", "StreamedImages", "load_images", "scan_folder"]

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
MEMORY_LIMIT = 2 * 1024**3
"""Bytes of decoded images that are kept in memory; beyond it they are decoded batch by batch."""

FolderPart = list[tuple[Path, int]]


def scan_folder(root: Path, parts: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, FolderPart]]:
    """Class names, and the files of each part with their labels, in order of name.

    Args:
        root: the folder that holds `train/` and `val/`.
        parts: those that are needed, of "train" and "val"; `train` is always read, for the classes.

    Raises:
        UserError: a missing, empty or one-class folder, an empty class, a class of val that train lacks, a link
            that leads out of the folder.
    """
    if not root.is_dir():
        raise UserError(f"--data {root}: no such folder")
    names = _class_names(root / "train", root)
    if len(names) < 2:
        raise UserError(f"--data {root}: train/ has the one class {names[0]!r}; two or more classes are needed")
    files = {}
    if (root / "val").is_dir() or "val" in parts:
        for name in _class_names(root / "val", root):
            if name not in names:
                raise UserError(f"--data {root}: class {name!r} of val/ is missing in train/")
    for part in parts:
        present = names if part == "train" else _class_names(root / part, root)
        files[part] = [(path, names.index(name)) for name in present for path in _images(root / part / name, root)]
    return names, files


def _inside(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"--data {root}: the link {path} leads out of the folder; copy what it points to")


def _class_names(folder: Path, root: Path) -> tuple[str, ...]:
    _inside(folder, root)
    if not folder.is_dir():
        raise UserError(f"--data {root}: {folder.name}/ is missing; class folders in train/ and val/ are expected")
    names = []
    for entry in sorted(folder.iterdir()):
        _inside(entry, root)
        if entry.is_dir() and not entry.name.startswith("."):
            names.append(entry.name)
    if not names:
        raise UserError(f"--data {root}: {folder.name}/ has no class folder in it")
    return tuple(names)


def _images(folder: Path, root: Path) -> list[Path]:
    paths = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            _inside(path, root)
            paths.append(path)
    if not paths:
        raise UserError(f"--data {root}: class folder {folder} has no image in it")
    return paths


def decode(image: Image.Image, image_size: int, in_channels: int) -> Tensor:
    """An image as uint8 (C, S, S): converted, its shorter side resized to S, the centre taken."""
    if image.mode in ("P", "LA", "PA"):
        image = image.convert("RGBA")
    image = image.convert("RGB" if in_channels == 3 else "L")
    scale = image_size / min(image.size)
    width, height = (max(image_size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - image_size) // 2, (height - image_size) // 2
    pixels = np.asarray(image.crop((left, top, left + image_size, top + image_size)), dtype=np.uint8)
    return torch.from_numpy(pixels.reshape(image_size, image_size, in_channels).copy()).permute(2, 0, 1)


def read_image(path: Path, image_size: int, in_channels: int) -> Tensor:
    """The image in a file, decoded.

    Raises:
        UserError: not a whole image, or one of absurd size.
    """
    try:
        with Image.open(path) as image:
            # Pillow warns from its limit on and refuses from twice that; the limit is the limit.
            limit = Image.MAX_IMAGE_PIXELS or 0
            if limit and image.width * image.height > limit:
                raise UserError(f"image {path}: {image.width} x {image.height} pixels; at most {limit} are accepted")
            return decode(image, image_size, in_channels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"image {path}: cannot be read: {detail}") from None


class StreamedImages:
    """Images decoded whenever they are asked for.

    Args:
        read: gives the image at an index, uint8 (C, H, W).
        labels: int64, shape (N,).
    """

    in_memory = False

    def __init__(self, read: Callable[[int], Tensor], labels: Tensor) -> None:
        self._read = read
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> Tensor:
        """Images at these indices, uint8, shape (B, C, H, W)."""
        return torch.stack([self._read(index) for index in indices.tolist()])


def load_images(
    files: FolderPart, image_size: int, in_channels: int, *, workers: int, on_bad_image: str
) -> tuple[ImageSource, int]:
    """The images of files, in memory where they fit, and the number of those left out.

    Raises:
        UserError: an unreadable image, unless `on_bad_image` is "skip"; no readable image at all.
    """
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)

    def read(index: int) -> Tensor:
        return read_image(files[index][0], image_size, in_channels)

    if len(files) * in_channels * image_size**2 > MEMORY_LIMIT:
        return StreamedImages(read, labels), 0
    images = torch.empty((len(files), in_channels, image_size, image_size), dtype=torch.uint8)

    def fill(index: int) -> bool:
        try:
            images[index] = read(index)
        except UserError:
            if on_bad_image == "error":
                raise
            return False
        return True

    with ThreadPoolExecutor(max(1, workers, os.cpu_count() or 1)) as pool:
        whole = torch.tensor(list(pool.map(fill, range(len(files)))), dtype=torch.bool)
    if not whole.any():
        raise UserError(f"image {files[0][0]}: neither this nor any other image can be read")
    return ImagesInMemory(images[whole], labels[whole]), int((~whole).sum())
