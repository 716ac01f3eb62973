"""Batches of images and labels: once through in order, or shuffled without an end.

What has to be decoded is decoded ahead of the loop by threads.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.runtime.processes import WHOLE, Share
from fpnas.runtime.setup import generator_for
from fpnas.training.data import ImageSource

__all__ = ["Batch", "BatchStream", "iterate", "spread"]

Batch = tuple[Tensor, Tensor]

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
    evenly: bool = False,
) -> Iterator[Batch]:
    """Batches of images and labels in order, the last one smaller; of all images or those at `indices`.

    Args:
        source: the images.
        batch_size: images of a batch, at most.
        indices: those to go through; all when left out.
        workers: threads that decode ahead.
        share: of the batches, not of each batch.
        evenly: whether as many batches have sizes that differ by one at most: for statistics, in which each has the
            same weight, and a single image has no variance where a map is of one pixel.
    """
    indices = torch.arange(len(source)) if indices is None else indices
    number = max(1, math.ceil(len(indices) / batch_size))
    batches = indices.tensor_split(number) if evenly else indices.split(batch_size)
    return _batches(source, enumerate(batches[share.index :: share.count]), workers)


def spread(count: int, most: int, *, shuffled_for: str | None = None) -> Tensor:
    """Indices spread over all of `count`, `most` of them at most.

    Args:
        count: how many there are.
        most: how many are wanted.
        shuffled_for: a purpose; with one they are in an order that it decides, the same at every call. Images often
            lie in order of their classes.
    """
    indices = torch.linspace(0, count - 1, min(count, most)).long()
    if shuffled_for is None:
        return indices
    return indices[torch.randperm(len(indices), generator=generator_for(0, shuffled_for))]


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


def check_batch_size(batch_size: int, images: int, option: str = "--batch-size", part: str = "") -> None:
    """UserError for a batch that is larger than what there is to draw from, as `BatchStream` has it."""
    if batch_size > images:
        raise UserError(
            f"{option} {batch_size}: there are {images} images to draw from{part}; that or less is accepted"
        )


class BatchStream:
    """Endless full batches, reshuffled for every pass.

    Args:
        source: the images.
        indices: those to draw from.
        batch_size: images of a batch; the rest of a pass is dropped.
        generator: decides the order.
        workers: threads that decode ahead.
        option: what sets the batch size, for the message.
        part: of the training images, that the indices are, for the message too.
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
        part: str = "",
        share: Share = WHOLE,
        repeats: int = 1,
        load: Load | None = None,
    ) -> None:
        check_batch_size(batch_size, len(indices), option, part)
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
