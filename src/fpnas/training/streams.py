"""Images that are read one by one: into memory where they fit, else whenever they are asked for."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training.crops import Crop
from fpnas.training.data import ImagesInMemory, ImageSource

__all__ = ["MEMORY_LIMIT", "StreamedImages", "fit_memory", "read_all"]

MEMORY_LIMIT = 2 * 1024**3
"""Bytes of decoded images that are kept in memory; beyond it they are decoded batch by batch."""

MOST_REPLACEMENTS = 10
"""Where so many images of a class in a row cannot be read, it is the folder that is gone."""


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

    def part(self, indices: Tensor, *, left_out: int) -> "StreamedImages":
        """Some of them, which replace one another alone; of what is left out already, it counts so many."""
        places = indices.tolist()

        def read(index: int, crop: Crop | None = None) -> Tensor:
            return self._read(places[index], crop)

        return StreamedImages(read, self.labels[indices], replace_bad=self._replace_bad, left_out=left_out)

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
