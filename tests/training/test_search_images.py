"""The two halves of a search: who is drawn from which, what is augmented, what is looked at again and again."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training.data import DataSet, ImagesInMemory
from fpnas.training.search_images import SearchImages

CPU = torch.device("cpu")


def data(count: int = 90) -> DataSet:
    """Images of the one value that is their index, so that what is delivered tells who it is."""
    images = (torch.arange(count) % 256).to(torch.uint8).view(-1, 1, 1, 1).expand(count, 1, 4, 4).contiguous()
    source = ImagesInMemory(images, torch.arange(count) // (count // 3))
    return DataSet("numbered", ("a", "b", "c"), 1, 4, (0.0,), (1 / 255,), False, 0, source, None)


def search_images(dataset: DataSet, **options: int) -> SearchImages:
    sound = {"seed": 0, "batch_size": 10, "architecture_batch_size": 8, "workers": 0}
    return SearchImages(dataset, device=CPU, **sound | options)


def numbers(images: Tensor) -> list[int]:
    assert images.dtype == torch.float32 and images.shape[1:] == (1, 4, 4)
    return images[:, 0, 0, 0].round().long().tolist()


def test_batches_come_from_their_half() -> None:
    images = search_images(data())
    weight_half, architecture_half = images.weight_half.tolist(), images.architecture_half.tolist()
    assert sorted(weight_half + architecture_half) == list(range(90)) and images.steps_per_epoch == 4
    for half, next_batch, size in (
        (weight_half, images.weight_batch, 10),
        (architecture_half, images.architecture_batch, 8),
    ):
        seen: set[int] = set()
        for _ in range(40):
            pixels, labels = next_batch()
            drawn = numbers(pixels)
            assert len(drawn) == size and labels.tolist() == [number // 30 for number in drawn]
            seen |= set(drawn)
        assert seen == set(half)


def test_only_the_weight_half_is_augmented() -> None:
    dataset = replace(data(), shift=2)
    images = search_images(dataset)
    # What is shifted in is 0: images are no longer of one value.
    assert any((images.weight_batch()[0].flatten(1).amin(1) == 0).sum() > 2 for _ in range(5))
    for batch in (images.architecture_batch()[0], *images.calibration_batches(), next(images.judged_batches())[0]):
        assert torch.equal(batch, batch[:, :, :1, :1].expand_as(batch))


def test_calibration_and_judgement_are_the_same_at_every_call_and_of_their_half() -> None:
    images = search_images(data())
    for _ in range(2):
        assert sorted(numbers(torch.cat(list(images.calibration_batches())))) == images.weight_half.tolist()
        judged = list(images.judged_batches())
        assert sorted(numbers(torch.cat([pixels for pixels, _ in judged]))) == images.architecture_half.tolist()
        images.weight_batch()
    first, again = (torch.cat(list(images.calibration_batches())) for _ in range(2))
    assert torch.equal(first, again)
    assert numbers(first) != sorted(numbers(first))


@pytest.mark.parametrize("count", [514, 516, 1026, 1536, 6000])
def test_calibration_batches_are_of_equal_size(count: int) -> None:
    # 514 images: a half of 257, of which batches of 256 leave a single one.
    images = search_images(data(count))
    sizes = [len(batch) for batch in images.calibration_batches()]
    assert sum(sizes) == min(2048, len(images.weight_half))
    assert max(sizes) <= 256 and max(sizes) - min(sizes) < len(sizes)


def test_the_seed_decides_halves_and_order() -> None:
    drawn = []
    for seed in (0, 0, 1):
        images = search_images(data(), seed=seed)
        drawn.append([numbers(images.weight_batch()[0]) for _ in range(3)])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"batch_size": 46}, "--batch-size 46"), ({"architecture_batch_size": 46}, "--architecture-batch-size 46")],
)
def test_batch_larger_than_its_half(options: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=f"^{named}: there are 45 images"):
        search_images(data(), **options)
