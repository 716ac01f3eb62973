"""Parts of labelled images that have every class evenly."""

import torch
from torch import Tensor

from fpnas.errors import UserError

__all__ = ["class_balanced_split", "class_balanced_subset"]


def _shuffled_classes(labels: Tensor, seed: int) -> list[Tensor]:
    """Indices of each class that occurs, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    members = (torch.nonzero(labels == label).flatten() for label in labels.unique())
    return [indices[torch.randperm(len(indices), generator=generator)] for indices in members]


def class_balanced_split(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Two parts that have the same share of each class; what a class has in excess of it counts for the next one.

    Args:
        labels: shape (N,).
        share: of the first part.
        seed: decides who goes where.

    Returns:
        Sorted, disjoint indices that together cover all images.
    """
    first, second, excess = [], [], 0.0
    for indices in _shuffled_classes(labels, seed):
        due = len(indices) * share + excess
        middle = int(due)
        excess = due - middle
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
