"""Data sets by the names of timm's `create_dataset`: `torch/cifar10`, `hfds/...`, `wds/...`."""

import contextlib
import io
import itertools
import os
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from fpnas.errors import UserError, first_line
from fpnas.training import streams
from fpnas.training.crops import Crop
from fpnas.training.data import DataSet, ImagesInMemory, ImageSource, data_set, download_folder
from fpnas.training.pictures import decode

__all__ = ["TIMM_PREFIXES", "timm_data"]

TIMM_PREFIXES = ("torch", "hfds", "hfids", "tfds", "wds")
"""What a name starts with. timm takes anything else for a kind of folder, which hides a mistyped path."""


def timm_data(
    name: str, image_size: int, parts: tuple[str, ...], *, workers: int = 1, on_bad_image: str = "error"
) -> DataSet:
    """A data set by timm's name, in memory where it fits; what it downloads goes to fpnas's cache.

    Args:
        name: as `create_dataset` takes it.
        image_size: side to deliver, pixels.
        parts: those that are needed, of "train" and "test".
        workers: threads that decode.
        on_bad_image: "error" or "skip"; of data that are read in sequence timm leaves a bad image out either way.

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
                if isinstance(found, IterableDataset):
                    source = _in_sequence(found, image_size)
                else:
                    source = _by_index(found, name, image_size, workers=workers, on_bad_image=on_bad_image)
            if not len(source):
                raise ValueError("no image of it can be read" if len(found) else "it is empty")
            if source.labels.min() < 0:
                raise ValueError("it has images without a label")
        except UserError:
            raise
        except Exception as error:  # timm, torchvision, and the packages behind them raise of every kind
            raise UserError(f"--data {name}: timm cannot give its {part} part: {first_line(error)}") from None
        class_names = max(class_names, _class_names(found, source), key=len)
        sources[part] = source
    return data_set(name, class_names, 3, image_size, **sources)


def _create(name: str, part: str) -> Any:
    from timm.data import create_dataset

    cache = download_folder() / "timm"
    cache.mkdir(parents=True, exist_ok=True)
    prefix, _, rest = name.partition("/")
    # Shards are where their name says; what else timm knows it downloads, or finds in the cache.
    root = os.path.expanduser(rest) if prefix == "wds" else str(cache)
    failures = []
    for split in ("train",) if part == "train" else ("validation", "test"):
        try:
            # Training in timm's sense would shuffle and repeat the data that are read in sequence.
            found = create_dataset(name, root=root, split=split, download=True, is_training=False)
        except Exception as error:  # the hub's data sets have splits of any name; of every kind, as in `timm_data`
            failures.append(error)
            continue
        reader: Any = getattr(found, "reader", None)
        if isinstance(found, IterableDataset) and hasattr(reader, "dist_num_replicas"):
            # Every process holds all images; timm would give each a share.
            reader.dist_rank, reader.dist_num_replicas = 0, 1
        return found
    raise failures[0]


def _class_names(found: Any, source: ImageSource) -> tuple[str, ...]:
    """Names of the classes as the data have them, else the numbers up to the highest label that is there."""
    if names := getattr(found, "classes", None):
        return tuple(map(str, names))
    numbers = getattr(getattr(found, "reader", None), "class_to_idx", None) or {}
    if sorted(numbers.values()) == [*range(len(numbers))] and len(numbers) > int(source.labels.max()):
        return tuple(map(str, sorted(numbers, key=numbers.__getitem__)))
    return tuple(map(str, range(int(source.labels.max()) + 1)))


def _sample(found: Any, index: int) -> tuple[Image.Image, int]:
    """An image and its label, -1 for none.

    timm's own data sets are asked for the file: in place of an image that cannot be read they give the next one.
    """
    reader = getattr(found, "reader", None)
    image, label, *_ = found[index] if reader is None else reader[index]
    return image if reader is None else Image.open(image), -1 if label is None else int(label)


def _by_index(found: Any, name: str, image_size: int, *, workers: int, on_bad_image: str) -> ImageSource:
    """The images of data with an index."""
    known = getattr(found, "targets", None)
    labels = torch.zeros(len(found), dtype=torch.int64) if known is None else torch.as_tensor(known).long()

    def read(index: int, crop: Crop | None = None) -> Tensor:
        try:
            image, label = _sample(found, index)
            pixels = decode(image, image_size, 3, crop)
        except Exception as error:  # on a damaged file Pillow's readers raise of every kind
            raise UserError(f"--data {name}: image {index}: {first_line(error)}") from None
        if known is None:
            labels[index] = label
        return pixels

    shape, skip_bad = (3, image_size, image_size), on_bad_image == "skip"
    if not streams.fit_memory(len(found), shape) and known is not None:
        return streams.StreamedImages(read, labels, replace_bad=skip_bad)
    # Labels that are not known beforehand come with the images.
    return streams.read_all(read, labels, shape, workers=workers, skip_bad=skip_bad)


def _in_sequence(found: Any, image_size: int) -> ImageSource:
    """The images of data that can only be gone through."""
    most = streams.MEMORY_LIMIT // (3 * image_size**2)
    pairs = itertools.islice(iter(found), most + 1)
    decoded = [(decode(image, image_size, 3), int(label)) for image, label in pairs]
    if len(decoded) > most:
        raise ValueError(f"it is read in sequence and has more than the {most} images that fit into memory")
    if not decoded:
        raise ValueError("it is empty")
    return ImagesInMemory(torch.stack([image for image, _ in decoded]), torch.tensor([label for _, label in decoded]))
