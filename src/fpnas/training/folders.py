"""Class folders: `train/CLASS/image.jpg` and `val/CLASS/image.jpg`."""

import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fpnas.errors import UserError, first_line
from fpnas.training.crops import Crop, central_square
from fpnas.training.data import ImagesInMemory, ImageSource

__all__ = [
    "MEMORY_LIMIT",
    "FolderPart",
    "StreamedImages",
    "decode",
    "fit_memory",
    "load_images",
    "read_all",
    "read_image",
    "scan_folder",
]

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
MEMORY_LIMIT = 2 * 1024**3
"""Bytes of decoded images that are kept in memory; beyond it they are decoded batch by batch."""

MOST_REPLACEMENTS = 10
"""Where so many images of a class in a row cannot be read, it is the folder that is gone."""

FolderPart = list[tuple[Path, int]]

# Pillow's warnings on odd files (sizes, metadata) would stand beside the one line that a user gets. For good and
# not around each call: filters belong to the process, and images are read by several threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


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
    if not path.is_symlink():
        return
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        raise UserError(f"--data {root}: the link {path} leads nowhere") from None
    if not inside:
        raise UserError(f"--data {root}: the link {path} leads out of the folder; copy what it points to")


def _entries(folder: Path, root: Path) -> list[Path]:
    """What a folder holds, in order of name."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"--data {root}: {folder} cannot be read: {error.strerror}") from None


def _class_names(folder: Path, root: Path) -> tuple[str, ...]:
    _inside(folder, root)
    if not folder.is_dir():
        raise UserError(f"--data {root}: {folder.name}/ is missing; class folders in train/ and val/ are expected")
    names = []
    for entry in _entries(folder, root):
        if entry.name.startswith("."):
            continue
        _inside(entry, root)
        if entry.is_dir():
            names.append(entry.name)
    if not names:
        raise UserError(f"--data {root}: {folder.name}/ has no class folder in it")
    return tuple(names)


def _images(folder: Path, root: Path) -> list[Path]:
    paths = []
    for path in _entries(folder, root):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            _inside(path, root)
            paths.append(path)
    if not paths:
        raise UserError(f"--data {root}: class folder {folder} has no image in it")
    return paths


def decode(image: Image.Image, image_size: int, in_channels: int, crop: Crop | None = None) -> Tensor:
    """An image as uint8 (C, S, S): converted, its central square, or what a crop shows of it, resized to S x S."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose scale is not known")
    if image.mode.startswith("I"):
        # Pillow would cut 16 bits off at 255, and leave a white image.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    elif image.mode in ("P", "LA", "PA"):
        image = image.convert("RGBA")
    image = image.convert("RGB" if in_channels == 3 else "L")
    # In one step, so that of an image of one by a million pixels no enlargement is made.
    size, box = (image_size, image_size), (crop or central_square)(*image.size)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box), dtype=np.uint8)
    return torch.from_numpy(pixels.reshape(image_size, image_size, in_channels).copy()).permute(2, 0, 1)


def read_image(path: Path, image_size: int, in_channels: int, crop: Crop | None = None) -> Tensor:
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
            return decode(image, image_size, in_channels, crop)
    except UserError:
        raise
    except Exception as error:  # on a damaged file Pillow's readers raise of every kind
        raise UserError(f"image {path}: cannot be read: {first_line(error)}") from None


class Read(Protocol):
    """Gives the image at an index, uint8 (C, H, W); raises UserError for one that cannot be read."""

    def __call__(self, index: int, crop: Crop | None = None) -> Tensor: ...


class StreamedImages:
    """Images decoded whenever they are asked for.

    Args:
        read: gives an image, or what a crop shows of it.
        labels: int64, shape (N,).
        replace_bad: put the next readable image of its class in the place of one that cannot be read; a batch keeps its
            size, and what comes after it its place.
        left_out: unreadable images that are not among these.
    """

    in_memory = False

    def __init__(self, read: Read, labels: Tensor, *, replace_bad: bool = False, left_out: int = 0) -> None:
        self._read = read
        self._replace_bad = replace_bad
        self._left_out = left_out
        self._bad: set[int] = set()
        self.labels = labels

    @property
    def skipped(self) -> int:
        """Unreadable images so far, each counted once."""
        return self._left_out + len(self._bad)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> Tensor:
        """Images at these indices, uint8, shape (B, C, H, W).

        Raises:
            UserError: one cannot be read, nor can those that would replace it.
        """
        return torch.stack([self._readable(index) for index in indices.tolist()])

    def cropped(self, indices: Tensor, crops: Sequence[Crop]) -> Tensor:
        """What the crops show of the images at these indices, uint8, shape (B, C, H, W).

        Raises:
            UserError: as `batch`.
        """
        return torch.stack([self._readable(index, crop) for index, crop in zip(indices.tolist(), crops, strict=True)])

    def _readable(self, index: int, crop: Crop | None = None) -> Tensor:
        try:
            return self._read(index, crop)
        except UserError as error:
            if not self._replace_bad:
                raise
            self._bad.add(index)
            last = error
        members = torch.nonzero(self.labels == self.labels[index]).flatten()
        position = int(torch.searchsorted(members, index))
        others = members.roll(-position - 1)[: min(MOST_REPLACEMENTS, len(members) - 1)].tolist()
        for other in others:
            try:
                return self._read(other, crop)
            except UserError as error:
                self._bad.add(other)
                last = error
        raise UserError(f"{last}; nor can {len(others)} others of its class be read")


def fit_memory(count: int, image_shape: tuple[int, int, int]) -> bool:
    """Whether so many images of a shape (C, H, W) are kept in memory."""
    return count * math.prod(image_shape) <= MEMORY_LIMIT


def read_all(
    read: Read, labels: Tensor, image_shape: tuple[int, int, int], *, workers: int, skip_bad: bool
) -> ImageSource:
    """Every image read once: into memory where they fit, else only to know which can be read.

    Args:
        read: gives an image.
        labels: int64, shape (N,); looked at after the reading.
        image_shape: (C, H, W).
        workers: threads, where that is more than there are cores.
        skip_bad: leave out what cannot be read.
    """
    count = len(labels)
    fits = fit_memory(count, image_shape)
    images = torch.empty((count if fits else 0, *image_shape), dtype=torch.uint8)

    def readable(index: int) -> bool:
        try:
            image = read(index)
        except UserError:
            if not skip_bad:
                raise
            return False
        if fits:
            images[index] = image
        return True

    with ThreadPoolExecutor(max(1, workers, os.cpu_count() or 1)) as pool:
        whole = torch.tensor(list(pool.map(readable, range(count))), dtype=torch.bool)
    left_out = int((~whole).sum())
    if not fits:
        kept = whole.nonzero().flatten().tolist()

        def read_kept(index: int, crop: Crop | None = None) -> Tensor:
            return read(kept[index], crop)

        return StreamedImages(read_kept, labels[whole], replace_bad=skip_bad, left_out=left_out)
    return ImagesInMemory(images[whole], labels[whole], left_out) if left_out else ImagesInMemory(images, labels)


def load_images(
    files: FolderPart, image_size: int, in_channels: int, *, workers: int, on_bad_image: str
) -> ImageSource:
    """The images of files, in memory where they fit.

    Raises:
        UserError: an unreadable image, unless `on_bad_image` is "skip"; no readable image at all.
    """
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    shape = (in_channels, image_size, image_size)

    def read(index: int, crop: Crop | None = None) -> Tensor:
        return read_image(files[index][0], image_size, in_channels, crop)

    skip_bad = on_bad_image == "skip"
    if not fit_memory(len(files), shape):
        return StreamedImages(read, labels, replace_bad=skip_bad)
    source = read_all(read, labels, shape, workers=workers, skip_bad=skip_bad)
    if not len(source):
        raise UserError(f"image {files[0][0]}: neither this nor any other image can be read")
    return source
