"""Batches, ahead of the loop or not, against single look-ups."""

import math

import pytest
import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training.batches import BatchStream, iterate, spread
from fpnas.training.data import ImagesInMemory


def numbered(count: int) -> ImagesInMemory:
    """Images that hold their own index."""
    return ImagesInMemory(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(count) % 3)


class Streamed:
    """The same images, as if decoded from files."""

    in_memory = False

    def __init__(self, source: ImagesInMemory) -> None:
        self._source, self.labels = source, source.labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> Tensor:
        return self._source.batch(indices)


@pytest.mark.parametrize(("images", "batch_size"), [(12, 4), (13, 4), (7, 7), (9, 2)])
@pytest.mark.parametrize("workers", [0, 3])
def test_stream_gives_each_image_at_most_once_a_pass(images: int, batch_size: int, workers: int) -> None:
    chosen = torch.arange(20, 20 + images)
    source = numbered(60) if workers == 0 else Streamed(numbered(60))
    stream = BatchStream(source, chosen, batch_size, torch.Generator().manual_seed(0), workers)
    orders = []
    for _ in range(5):
        batches = [stream.next() for _ in range(images // batch_size)]
        assert all(len(pixels) == batch_size for pixels, _ in batches)
        order = torch.cat([pixels for pixels, _ in batches]).flatten().long()
        assert torch.equal(torch.cat([labels for _, labels in batches]), order % 3)
        assert len(order.unique()) == len(order) == images // batch_size * batch_size
        assert set(order.tolist()) <= set(chosen.tolist())
        orders.append(order.tolist())
    assert len(set(map(tuple, orders))) > 1


def test_threads_change_nothing() -> None:
    plain, ahead = (
        BatchStream(source, torch.arange(25), 4, torch.Generator().manual_seed(1), workers)
        for source, workers in ((numbered(25), 0), (Streamed(numbered(25)), 3))
    )
    for _ in range(40):
        (images, labels), (other_images, other_labels) = plain.next(), ahead.next()
        assert torch.equal(images, other_images) and torch.equal(labels, other_labels)


def test_batch_larger_than_the_images_is_refused_in_one_line() -> None:
    for option in ("--batch-size", "--architecture-batch-size"):
        with pytest.raises(UserError) as refusal:
            BatchStream(numbered(9), torch.arange(5), 6, torch.Generator(), option=option)
        assert str(refusal.value) == f"{option} 6: there are 5 images to draw from; that or less is accepted"


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("indices", [None, [4, 4, 0, 9, 2], list(range(24, -1, -1))])
def test_iterate_keeps_the_order_and_the_rest(indices: list[int] | None, workers: int) -> None:
    source = Streamed(numbered(25)) if workers else numbered(25)
    batches = list(iterate(source, 4, None if indices is None else torch.tensor(indices), workers))
    expected = list(range(25)) if indices is None else indices
    assert torch.cat([images for images, _ in batches]).flatten().tolist() == expected
    assert torch.cat([labels for _, labels in batches]).tolist() == [index % 3 for index in expected]
    sizes = [len(labels) for _, labels in batches]
    assert sizes == [4] * (len(expected) // 4) + [len(expected) % 4] * (len(expected) % 4 > 0)


@pytest.mark.parametrize(("images", "batch_size"), [(25, 4), (13, 4), (8, 4), (3, 4), (65, 64), (5, 1)])
def test_iterate_evenly(images: int, batch_size: int) -> None:
    batches = [labels for _, labels in iterate(numbered(images), batch_size, evenly=True)]
    sizes = [len(labels) for labels in batches]
    assert torch.cat(batches).tolist() == [index % 3 for index in range(images)]
    assert len(sizes) == math.ceil(images / batch_size) and max(sizes) - min(sizes) <= 1 and max(sizes) <= batch_size


def test_spread() -> None:
    assert (
        spread(10, 4).tolist() == [0, 3, 6, 9] and spread(3, 10).tolist() == [0, 1, 2] and spread(5, 1).tolist() == [0]
    )
    shuffled = spread(1000, 100, shuffled_for="a test")
    assert not torch.equal(shuffled, spread(1000, 100)) and torch.equal(shuffled.sort().values, spread(1000, 100))
    assert torch.equal(shuffled, spread(1000, 100, shuffled_for="a test"))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_source_comes_through(workers: int) -> None:
    class Broken(Streamed):
        def batch(self, indices: Tensor) -> Tensor:
            if 9 in indices:
                raise UserError("image 9")
            return super().batch(indices)

    batches = iterate(Broken(numbered(25)), 4, workers=workers)
    assert [len(next(batches)[1]) for _ in range(2)] == [4, 4]
    with pytest.raises(UserError, match="image 9"):
        list(batches)
