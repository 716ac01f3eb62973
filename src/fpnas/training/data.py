"""Images for search and training: what `--data` names, in class-balanced parts and in batches.

Images are held as uint8 in memory wherever they fit, so that a batch is one index operation; folders too large for
that are decoded ahead of the loop by threads.
"""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.runtime.processes import WHOLE, Share

__all__ = [
    "Batch",
    "BatchStream",
    "DataSet",
    "ImageSource",
    "ImagesInMemory",
    "class_balanced_halves",
    "class_balanced_subset",
    "data_identity",
    "data_set",
    "download_folder",
    "iterate",
    "usual_shift",
]

Batch = tuple[Tensor, Tensor]


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


def _shuffled_classes(labels: Tensor, seed: int) -> list[Tensor]:
    """Indices of each class that occurs, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    members = (torch.nonzero(labels == label).flatten() for label in labels.unique())
    return [indices[torch.randperm(len(indices), generator=generator)] for indices in members]


def class_balanced_halves(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Two halves that share each class evenly; the odd images of classes go to the halves in turn.

    Args:
        labels: shape (N,).
        seed: decides who goes where.

    Returns:
        Sorted, disjoint indices that together cover all images.
    """
    first, second, odd = [], [], 0
    for indices in _shuffled_classes(labels, seed):
        middle = (len(indices) + odd) // 2
        odd = (odd + len(indices)) % 2
        first.append(indices[:middle])
        second.append(indices[middle:])
    return torch.cat(first).sort().values, torch.cat(second).sort().values


def class_balanced_subset(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of a subset that has every class as evenly as the images allow.

    Raises:
        UserError: fewer images than classes are asked for.
    """
    if count >= len(labels):
        return torch.arange(len(labels))
    classes = _shuffled_classes(labels, seed)
    if count < len(classes):
        raise UserError(f"--max-images {count}: the data have {len(classes)} classes; that many or more are accepted")
    taken = [0] * len(classes)
    remaining = count
    while remaining:
        open_classes = [index for index, members in enumerate(classes) if taken[index] < len(members)]
        share = max(1, remaining // len(open_classes))
        for index in open_classes[:remaining]:
            more = min(share, len(classes[index]) - taken[index], remaining)
            taken[index] += more
            remaining -= more
    return torch.cat([members[:number] for members, number in zip(classes, taken, strict=True)]).sort().values


Load = Callable[[int, Tensor], Tensor]
"""Images (B, C, H, W) of a batch, by its number in the stream and the indices in it; called by several threads."""


def _batches(
    source: ImageSource, index_batches: Iterator[tuple[int, Tensor]], workers: int, load: Load | None = None
) -> Iterator[Batch]:
    """Batches for lists of indices, decoded ahead by threads where there is something to decode."""
    if load is None:
        load, workers = lambda number, indices: source.batch(indices), 0 if source.in_memory else workers
    if workers == 0:
        for number, indices in index_batches:
            yield load(number, indices), source.labels[indices]
        return
    pool = ThreadPoolExecutor(workers)
    pending: deque[tuple[Tensor, Future[Tensor]]] = deque()
    try:
        for number, indices in index_batches:
            pending.append((indices, pool.submit(load, number, indices)))
            if len(pending) > 2 * workers:
                ready, future = pending.popleft()
                yield future.result(), source.labels[ready]
        for ready, future in pending:
            yield future.result(), source.labels[ready]
    finally:
        # Who stops early, as an endless stream always does, need not wait for what is still to be decoded.
        pool.shutdown(wait=False, cancel_futures=True)


def iterate(
    source: ImageSource,
    batch_size: int,
    indices: Tensor | None = None,
    workers: int = 0,
    share: Share = WHOLE,
) -> Iterator[Batch]:
    """Batches of images and labels in order, the last one smaller; of all images or those at `indices`.

    A share is of the batches, not of each batch.
    """
    indices = torch.arange(len(source)) if indices is None else indices
    return _batches(source, enumerate(indices.split(batch_size)[share.index :: share.count]), workers)


def _passes(
    indices: Tensor, batch_size: int, generator: torch.Generator, share: Share, repeats: int
) -> Iterator[tuple[int, Tensor]]:
    """Numbers and indices of a share of full batches without an end, in another order for every pass."""
    # No method of the stream: that would refer back to it, and its threads would outlive it.
    full = len(indices) // batch_size * batch_size
    numbers = itertools.count()
    while True:
        order = indices[torch.randperm(len(indices), generator=generator)].repeat_interleave(repeats)
        for batch in order[:full].split(batch_size):
            yield next(numbers), batch[share.of(batch_size)]


class BatchStream:
    """Endless full batches, reshuffled for every pass.

    Args:
        source: the images.
        indices: those to draw from.
        batch_size: images of a batch; the rest of a pass is dropped.
        generator: decides the order.
        workers: threads that decode ahead.
        option: what sets the batch size, for the message.
        share: of each batch, that is delivered.
        repeats: times that an image is in its batch, each time varied anew (repeated augmentation, Hoffer et al.,
            2020); a pass is as long as without, and sees that share of the images.
        load: makes the images of a batch, ahead by the threads; when left out they are the source's, and images in
            memory are taken when they are asked for.

    Attributes:
        taken: batches so far.

    Raises:
        UserError: a batch is larger than what there is to draw from.
    """

    def __init__(
        self,
        source: ImageSource,
        indices: Tensor,
        batch_size: int,
        generator: torch.Generator,
        workers: int = 0,
        option: str = "--batch-size",
        share: Share = WHOLE,
        repeats: int = 1,
        load: Load | None = None,
    ) -> None:
        if batch_size > len(indices):
            raise UserError(
                f"{option} {batch_size}: there are {len(indices)} images to draw from; that or less is accepted"
            )
        self.taken = 0
        self._index_batches = _passes(indices, batch_size, generator, share, repeats)
        self._iterator = _batches(source, self._index_batches, workers, load)

    def next(self) -> Batch:
        """The next batch: uint8 images (B, C, H, W) and labels (B,)."""
        self.taken += 1
        return next(self._iterator)

    def skip(self, batches: int) -> None:
        """Leave out the first batches, without loading them; before any was taken."""
        if self.taken:
            raise ValueError(f"skip after {self.taken} batches: only a fresh stream can skip")
        self.taken = batches
        for _ in range(batches):
            next(self._index_batches)
