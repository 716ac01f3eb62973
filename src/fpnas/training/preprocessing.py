"""What turns an image into a trained network's input, and its logits into classes; as it stands in files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from fpnas.checks import check_number, shown
from fpnas.errors import UserError
from fpnas.training.augment import normalise
from fpnas.training.data import DataSet
from fpnas.training.pictures import decode, read_image

__all__ = ["Preprocessing"]

_INTERPOLATION = "bilinear"


@dataclass(frozen=True)
class Preprocessing:
    """How a network was given its training images.

    Attributes:
        image_size: side, pixels.
        in_channels: 1 or 3.
        mean, std: of the training images, per channel, on a scale from 0 to 1.
        class_names: by the index of the logit.
    """

    image_size: int
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]

    def __call__(self, image: str | os.PathLike[str] | Image.Image) -> Tensor:
        """An image as the network takes it: its central square, resized and normalised, shape (1, C, S, S).

        Raises:
            UserError: a file that is no whole image.
        """
        if isinstance(image, Image.Image):
            pixels = decode(image, self.image_size, self.in_channels)
        else:
            pixels = read_image(Path(image), self.image_size, self.in_channels)
        return normalise(pixels[None], self.mean, self.std)

    def check_fits(self, dataset: DataSet, data: str) -> None:
        """Raises UserError where a data set, `--data` as it was named, is not of these classes and channels."""
        # Data without names have numbers, up to the highest label that is there: a test part alone may have fewer.
        found = dataset.class_names
        counted = found == tuple(map(str, range(len(found))))
        if found != self.class_names and not (counted and found == self.class_names[: len(found)]):
            raise UserError(f"--data {data}: its classes are not those the model was trained on")
        if dataset.in_channels != self.in_channels:
            raise UserError(f"--data {data}: {dataset.in_channels} channels; the network takes {self.in_channels}")

    def to_json(self) -> dict[str, Any]:
        """In the words of timm's `pretrained_cfg`."""
        return {
            "input_size": [self.in_channels, self.image_size, self.image_size],
            "interpolation": _INTERPOLATION,
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(self.mean),
            "std": list(self.std),
            "num_classes": len(self.class_names),
            "label_names": list(self.class_names),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str) -> "Preprocessing":
        """What `to_json` gave.

        Args:
            content: may have other fields, too.
            where: opens the messages.

        Raises:
            UserError: a field is missing or not what can be worked with.
        """
        size = content.get("input_size")
        known = isinstance(size, list) and len(size) == 3 and all(type(value) is int for value in size)
        channels, side, other = size if known and size else (0, 0, 0)
        if channels not in (1, 3) or not 1 <= side == other <= 4096:
            raise UserError(
                f"{where}: input_size = {shown(size)}: [channels, side, side] with 1 or 3 channels is accepted"
            )
        if content.get("interpolation") != _INTERPOLATION:
            raise UserError(f"{where}: interpolation = {shown(content.get('interpolation'))}: bilinear is accepted")
        names = content.get("label_names")
        if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: label_names: a list of two or more names is expected")
        # A deviation that divides: what is under 1/255 is a constant channel, and was raised to that in training.
        mean, std = (
            tuple(check_number({field: value}, field, low, 1e6, where) for value in values)
            for field, low, values in (
                ("mean", -1e6, _of_channels(content, "mean", channels, where)),
                ("std", 1e-6, _of_channels(content, "std", channels, where)),
            )
        )
        return cls(side, channels, mean, std, tuple(names))


def _of_channels(content: Mapping[str, Any], field: str, channels: int, where: str) -> list[Any]:
    value = content.get(field)
    if not isinstance(value, list) or len(value) != channels:
        raise UserError(f"{where}: {field}: a list of {channels} is expected")
    return value
