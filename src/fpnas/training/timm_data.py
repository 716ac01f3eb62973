"""Data sets by the names of timm's `create_dataset`: `torch/cifar10`, `hfds/...`, `wds/...`."""

import contextlib
import io
import itertools
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training import folders
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource, data_set

__all__ = ["TIMM_PREFIXES", "timm_data"]

TIMM_PREFIXES = ("torch", "hfds", "hfids", "tfds", "wds")
"""What a name starts with. timm takes anything else for a kind of folder, which hides a mistyped path."""


def timm_data(name: str, image_size: int, parts: tuple[str, ...]) -> DataSet:
    """A data set by timm's name, in memory where it fits; what it downloads goes to fpnas's cache.

    Args:
        name: as `create_dataset` takes it.
        image_size: side to deliver, pixels.
        parts: those that are needed, of "train" and "test".

    Raises:
        UserError: unknown to timm, a package or a download that fails, a part that is empty or cannot be held.
    """
    sources: dict[str, ImageSource | None] = {"train": None, "test": None}
    class_names: tuple[str, ...] = ()
    for part in parts:
        try:
            # What timm has to say about a missing package is printed; here it belongs into the one line.
            with contextlib.redirect_stdout(io.StringIO()):
                found = _create(name, part)
                source = _source(found, image_size)
        except Exception as error:  # timm, torchvision, and the packages behind them raise of every kind
            detail = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"--data {name}: timm cannot give its {part} part: {detail}") from None
        names = getattr(found, "classes", None) or range(int(source.labels.max()) + 1)
        class_names = max(class_names, tuple(map(str, names)), key=len)
        sources[part] = source
    return data_set(name, class_names, 3, image_size, **sources)


def _create(name: str, part: str) -> Any:
    from timm.data import create_dataset

    cache = Path(os.environ.get("FPNAS_CACHE", str(Path.home() / ".cache" / "fpnas"))) / "timm"
    cache.mkdir(parents=True, exist_ok=True)
    split = "train" if part == "train" else "validation"
    # Training in timm's sense would shuffle and repeat the data that are read in sequence.
    return create_dataset(name, root=str(cache), split=split, download=True, is_training=False)


def _source(found: Any, image_size: int) -> ImageSource:
    """The images of what timm found: decoded now, or, where they would not fit, when they are asked for."""

    def read(index: int) -> Tensor:
        return folders.decode(found[index][0], image_size, 3)

    most = folders.MEMORY_LIMIT // (3 * image_size**2)
    if hasattr(found, "__getitem__") and len(found) > most:
        known = getattr(found, "targets", None)
        labels = known if known is not None else [found[index][1] for index in range(len(found))]
        return folders.StreamedImages(read, torch.as_tensor(labels).long())
    # `range` for what is indexed: without it, iteration would only end at an IndexError that timm never raises.
    pairs = (found[index] for index in range(len(found))) if hasattr(found, "__getitem__") else iter(found)
    decoded = [(folders.decode(pair[0], image_size, 3), int(pair[1])) for pair in itertools.islice(pairs, most + 1)]
    if not decoded:
        raise ValueError("it is empty")
    if len(decoded) > most:
        raise ValueError(f"it is read in sequence and has more than the {most} images that fit into memory")
    if min(label for _, label in decoded) < 0:
        raise ValueError("it has images without a label")
    return ImagesInMemory(torch.stack([image for image, _ in decoded]), torch.tensor([label for _, label in decoded]))
