"""Decoding ahead of the loop: it overlaps with what the caller does, ends with its stream, and reads what is needed."""

import itertools
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from pictures import class_folders
from torch import Tensor

from fpnas.runtime.processes import WHOLE, Share
from fpnas.training import folders, streams
from fpnas.training.batches import BatchStream, iterate
from fpnas.training.crops import Crop
from fpnas.training.load import load_data
from fpnas.training.pictures import read_image
from fpnas.training.streams import StreamedImages


def slow_images(count: int, milliseconds: float, decoded: list[int]) -> StreamedImages:
    """Images that take a while each, and note that they were asked for."""

    def read(index: int, crop: Crop | None = None) -> Tensor:
        decoded.append(index)
        time.sleep(milliseconds / 1000)
        return torch.full((1, 1, 1), index, dtype=torch.uint8)

    return StreamedImages(read, torch.zeros(count, dtype=torch.int64))


def wait_for(threads: int) -> None:
    """Let threads end, for 10 s at most."""
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads


def test_decoding_goes_on_while_the_caller_computes() -> None:
    decoded: list[int] = []
    batches = iterate(slow_images(64, 1, decoded), 8, workers=4)
    next(batches)
    deadline = time.monotonic() + 10
    while len(decoded) < 64 and time.monotonic() < deadline:
        time.sleep(0.01)  # the caller's own work
    # All 8 batches, of which 1 was taken: up to 2 for each thread are decoded ahead.
    assert sorted(decoded) == list(range(64))


def test_no_more_is_decoded_ahead_than_can_be_held() -> None:
    decoded: list[int] = []
    stream = BatchStream(slow_images(200, 0, decoded), torch.arange(200), 5, torch.Generator(), workers=2)
    stream.next()
    time.sleep(0.3)
    assert len(decoded) <= 5 * (1 + 2 * 2)


def test_a_stream_that_is_given_up_takes_its_threads_along() -> None:
    threads, decoded = threading.active_count(), list[int]()
    stream = BatchStream(slow_images(100, 2, decoded), torch.arange(100), 10, torch.Generator(), workers=1)
    stream.next()
    del stream
    wait_for(threads)
    # The first batch and the one that was under way; not the three that were ordered.
    assert len(decoded) <= 30


def test_a_loop_that_is_left_takes_its_threads_along() -> None:
    threads = threading.active_count()
    for _ in itertools.islice(iterate(slow_images(100, 1, []), 10, workers=3), 2):
        pass
    wait_for(threads)


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_an_image_is_repeated_within_its_batch(repeats: int) -> None:
    images = slow_images(30, 0, [])

    def batches(share: Share = WHOLE) -> list[list[int]]:
        generator = torch.Generator().manual_seed(1)
        stream = BatchStream(images, torch.arange(30), 6, generator, share=share, repeats=repeats)
        return [stream.next()[0].flatten().tolist() for _ in range(10)]

    whole = batches()
    for batch in whole:
        assert sorted(Counter(batch).values()) == [repeats] * (6 // repeats)
    # A pass is as long as without, and sees as many images fewer.
    for one_pass in (whole[:5], whole[5:]):
        assert len({index for batch in one_pass for index in batch}) == 30 // repeats
    assert whole[:5] != whole[5:]
    halves = [batches(Share(index, 2)) for index in (0, 1)]
    assert [first + second for first, second in zip(*halves, strict=True)] == whole


def test_only_the_given_generator_is_drawn_from() -> None:
    before = torch.get_rng_state()
    BatchStream(slow_images(20, 0, []), torch.arange(20), 5, torch.Generator(), workers=2).next()
    assert torch.equal(torch.get_rng_state(), before)


def test_images_too_large_to_hold_are_resized_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    held = load_data("digits", image_size=20, max_images=30)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", 30 * 20 * 20 - 1)
    made = load_data("digits", image_size=20, max_images=30)
    assert (held.mean, held.std, held.image_size) == (made.mean, made.std, made.image_size)
    assert held.train is not None and made.train is not None
    assert held.train.in_memory and not made.train.in_memory
    for one, other in zip(iterate(held.train, 8), iterate(made.train, 8, workers=2), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_images_outside_the_subset_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, train=20)
    read: list[Path] = []

    def noted(path: Path, image_size: int, in_channels: int, crop: Crop | None = None) -> Tensor:
        read.append(path)
        return read_image(path, image_size, in_channels, crop)

    monkeypatch.setattr(folders, "read_image", noted)
    load_data(str(tmp_path), image_size=10, max_images=6, parts=("train",))
    assert len(read) == 6
