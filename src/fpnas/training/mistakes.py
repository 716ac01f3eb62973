"""What a trained network gets wrong: which classes it takes for which, and its worst images."""

import base64
import io
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn

from fpnas.training.augment import normalise, to_device
from fpnas.training.batches import iterate
from fpnas.training.data import DataSet

__all__ = ["Mistakes", "WrongImage", "find_mistakes"]

_MOST_CLASSES = 100
_SIDE = 96
_WORST = 24


@dataclass(frozen=True)
class WrongImage:
    """A test image of another class than the network says.

    Attributes:
        index: in the test set.
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
    """Of a network on its test images.

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
def find_mistakes(model: nn.Module, dataset: DataSet, *, workers: int = 0) -> Mistakes:
    """Look at every test image once, on the processor.

    Args:
        model: gives logits (B, classes) of normalised images; left in eval mode.
        dataset: with test images.
        workers: threads that load images.
    """
    assert dataset.test is not None
    names = dataset.class_names
    model.eval()
    confusion = torch.zeros(len(names), len(names), dtype=torch.long)
    wrong: list[tuple[float, int, int, int]] = []
    first = 0
    for images, labels in iterate(dataset.test, 250, workers=workers):
        inputs = normalise(images, dataset.mean, dataset.std)
        probability_B, said_B = model(inputs.contiguous(memory_format=torch.channels_last)).softmax(1).max(1)
        labels = to_device(labels, None)
        confusion.index_put_((labels, said_B), torch.ones_like(labels), accumulate=True)
        for place in (said_B != labels).nonzero().flatten().tolist():
            wrong.append((-float(probability_B[place]), first + place, int(labels[place]), int(said_B[place])))
        wrong = sorted(wrong)[:_WORST]
        first += len(labels)
    worst = tuple(
        WrongImage(index, names[label], names[said], -surety, _png(dataset, index))
        for surety, index, label, said in wrong
    )
    return Mistakes(names, confusion.tolist() if len(names) <= _MOST_CLASSES else [], worst)


def _png(dataset: DataSet, index: int) -> str:
    assert dataset.test is not None
    pixels = dataset.test.batch(torch.tensor([index]))[0].permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
