"""Class folders: `train/CLASS/image.jpg` and `val/CLASS/image.jpg`."""

from pathlib import Path

import torch
from torch import Tensor

from fpnas.checks import is_text
from fpnas.errors import UserError
from fpnas.training.crops import Crop
from fpnas.training.data import ImageSource
from fpnas.training.pictures import read_image
from fpnas.training.streams import StreamedImages, fit_memory, read_all

__all__ = ["FolderPart", "load_images", "scan_folder"]

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
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
    label = {name: number for number, name in enumerate(names)}  # of 20,000 classes, not looked for per image
    files = {}
    if (root / "val").is_dir() or "val" in parts:
        for name in _class_names(root / "val", root):
            if name not in label:
                raise UserError(f"--data {root}: class {name!r} of val/ is missing in train/")
    for part in parts:
        present = names if part == "train" else _class_names(root / part, root)
        files[part] = [(path, label[name]) for name in present for path in _images(root / part / name, root)]
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
            if not is_text(entry.name):
                raise UserError(
                    f"--data {root}: class folder {entry.name!r}: its name is not UTF-8, as the names of classes have "
                    "to be; rename it"
                )
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
