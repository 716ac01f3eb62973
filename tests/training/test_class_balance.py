"""Parts of the images by plain counting."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.training.class_balance import class_balanced_split, class_balanced_subset

UNEVEN = (7, 4, 1, 9, 2, 5)
"""Images of each class: odd and even numbers, and a class of one image."""


def shuffled_labels(counts: tuple[int, ...] = UNEVEN) -> Tensor:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]


@pytest.mark.parametrize("seed", range(5))
def test_halves_are_disjoint_cover_all_and_share_each_class(seed: int) -> None:
    labels = shuffled_labels()
    halves = class_balanced_split(labels, 0.5, seed)
    assert sorted(torch.cat(halves).tolist()) == list(range(len(labels)))
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    first, second = (Counter(labels[half].tolist()) for half in halves)
    assert all(abs(first[label] - second[label]) <= 1 for label in range(len(UNEVEN)))
    for half in halves:
        assert half.tolist() == sorted(half.tolist())


@pytest.mark.parametrize("share", [0.05, 0.1, 0.29, 0.7, 0.95])
def test_parts_have_their_share_of_each_class(share: float) -> None:
    labels = shuffled_labels((100, 31, 7, 50))
    parts = class_balanced_split(labels, share, seed=0)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))
    assert abs(len(parts[0]) - share * len(labels)) <= 1
    first = Counter(labels[parts[0]].tolist())
    assert all(abs(first[label] - share * count) <= 1 for label, count in enumerate((100, 31, 7, 50)))


def test_the_seed_alone_decides_the_halves() -> None:
    labels = shuffled_labels((50, 50))
    halves = []
    for seed, ambient in ((0, 0), (0, 1), (1, 0)):
        torch.manual_seed(ambient)
        halves.append(class_balanced_split(labels, 0.5, seed)[0])
    assert torch.equal(halves[0], halves[1]) and not torch.equal(halves[0], halves[2])


def test_every_image_comes_into_either_half() -> None:
    labels = shuffled_labels((6, 6))
    in_first = torch.zeros(len(labels))
    for seed in range(400):
        in_first[class_balanced_split(labels, 0.5, seed)[0]] += 1
    # Binomial(400, 1/2): standard deviation 10.
    assert ((in_first - 200).abs() < 45).all(), in_first


@pytest.mark.parametrize("count", range(len(UNEVEN), sum(UNEVEN)))
def test_subset_is_as_even_as_the_images_allow(count: int) -> None:
    labels = shuffled_labels()
    kept = class_balanced_subset(labels, count, seed=0)
    assert len(kept.unique()) == count and kept.tolist() == sorted(kept.tolist())
    taken = Counter(labels[kept].tolist())
    # Even means: whoever has less than the most, by more than one, has nothing left.
    most = max(taken.values())
    assert all(taken[label] >= min(available, most - 1) for label, available in enumerate(UNEVEN))


def test_subset_of_everything_and_of_too_few() -> None:
    labels = shuffled_labels()
    for count in (len(labels), len(labels) + 1, 10**12):
        assert torch.equal(class_balanced_subset(labels, count, seed=0), torch.arange(len(labels)))
    with pytest.raises(UserError, match=r"^--max-images 5: .* 6 classes; .*accepted$"):
        class_balanced_subset(labels, len(UNEVEN) - 1, seed=0)


def test_the_seed_decides_the_subset() -> None:
    labels = shuffled_labels((50, 50))
    first, again, other = (class_balanced_subset(labels, 20, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other
