"""What a trained network gets wrong: which classes it takes for which, and its worst images."""

import base64
import io
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from fpnas.runtime.processes import Processes
from fpnas.training.augment import normalise
from fpnas.training.batches import iterate
from fpnas.training.data import DataSet
from fpnas.training.pictures import to_picture

__all__ = ["Mistakes", "WrongImage", "find_mistakes"]

_MOST_CLASSES = 100
_SIDE = 96
_WORST = 24
_BATCH = 250

_Wrong = tuple[float, int, int, int]
"""Probability, negative so that the surest come first; index of the image; label; class that was said."""


@dataclass(frozen=True)
class WrongImage:
    """A test image, or one held out in its place, of another class than the network says.

    Attributes:
        index: among them.
        label, taken_for: class names.
        probability: of the wrong class.
        png: the image, base64.
    """

    index: int
    label: str
    taken_for: str
    probability: float
    png: str


@dataclass(frozen=True)
class Mistakes:
    """Of a network on its test images, or those held out in their place.

    Attributes:
        class_names: by label.
        confusion: images by their class (row) and the one said (column); empty for more than 100 classes.
        worst: the wrong images it is surest about, surest first.
    """

    class_names: tuple[str, ...]
    confusion: list[list[int]]
    worst: tuple[WrongImage, ...]

    def to_json(self) -> dict[str, Any]:
        """As `mistakes.json` of a run holds it."""
        return asdict(self)


@torch.no_grad()
def find_mistakes(
    model: nn.Module,
    dataset: DataSet,
    *,
    device: torch.device | None = None,
    workers: int = 0,
    processes: Processes | None = None,
) -> Mistakes:
    """Look at every test image once.

    Args:
        model: gives logits (B, classes) of normalised images; left in eval mode.
        dataset: with test images.
        device: of the model.
        workers: threads that load images.
        processes: that share the work: each looks at some of the batches, and all have the mistakes on all of them.
    """
    assert dataset.test is not None
    processes = processes or Processes()
    share, names = processes.share, dataset.class_names
    counted = len(names) <= _MOST_CLASSES
    confusion = torch.zeros((len(names),) * 2 if counted else (0, 0), dtype=torch.long)
    wrong: list[_Wrong] = []
    model.eval()
    for number, (images, labels) in enumerate(iterate(dataset.test, _BATCH, workers=workers, share=share)):
        first = (number * share.count + share.index) * _BATCH
        inputs = normalise(images, dataset.mean, dataset.std, device)
        probability_B, said_B = (values.cpu() for values in model(inputs).softmax(1).max(1))
        labels = labels.cpu()
        if counted:
            confusion.index_put_((labels, said_B), torch.ones_like(labels), accumulate=True)
        for place in (said_B != labels).nonzero().flatten().tolist():
            wrong.append((-float(probability_B[place]), first + place, int(labels[place]), int(said_B[place])))
        wrong = sorted(wrong)[:_WORST]
    if counted:
        processes.sum_(confusion)
    worst = tuple(
        WrongImage(index, names[label], names[said], -surety, _png(dataset, index))
        for surety, index, label, said in _worst_of_all(wrong, processes)
    )
    return Mistakes(names, confusion.tolist(), worst)


def _worst_of_all(wrong: list[_Wrong], processes: Processes) -> list[_Wrong]:
    """The surest of what all processes found."""
    rows = torch.full((_WORST, 4), torch.inf, dtype=torch.float64)
    if wrong:
        rows[: len(wrong)] = torch.tensor(wrong, dtype=torch.float64)
    found = sorted(row for row in processes.gather(rows).tolist() if row[0] < torch.inf)
    return [(surety, int(index), int(label), int(said)) for surety, index, label, said in found[:_WORST]]


def _png(dataset: DataSet, index: int) -> str:
    assert dataset.test is not None
    picture = to_picture(dataset.test.batch(torch.tensor([index]))[0])
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
