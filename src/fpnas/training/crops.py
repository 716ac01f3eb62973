"""Random resized crops: a part of an image, by area and shape, which then becomes as large as a network's input.

Source: Szegedy et al., "Going deeper with convolutions" (CVPR 2015), with the ranges that became usual. torchvision and
timm draw from generators that all threads share; these crops draw from one of their own, so that images can be cropped
where they are decoded.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Box", "Crop", "CropsOriginals", "central_square", "random_crops"]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

Crop = Callable[[int, int], Box]
"""What is to be seen of an image, by its width and height."""

_TRIES = 10
_LONGEST = 4 / 3


@runtime_checkable
class CropsOriginals(Protocol):
    """Images that can be cropped as they are in their files, before they become small squares."""

    def cropped(self, indices: Tensor, crops: Sequence[Crop]) -> Tensor:
        """Parts of the images at these indices, uint8, shape (B, C, S, S)."""
        ...


def central_square(width: int, height: int) -> Box:
    """The largest square in the middle of an image."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_crops(smallest: float, seeds: Sequence[int]) -> list[Crop]:
    """A crop for each seed, the same wherever and whenever it is computed.

    Args:
        smallest: share of an image's area that is seen at least.
        seeds: of the crops.
    """

    def crop_of(seed: int) -> Crop:
        return lambda width, height: _random_box(width, height, smallest, random.Random(seed))

    return [crop_of(seed) for seed in seeds]


def _random_box(width: int, height: int, smallest: float, generator: random.Random) -> Box:
    """A part of a share of the area from `smallest` to all, its sides at most 4 to 3, anywhere in the image."""
    spread = math.log(_LONGEST)
    for _ in range(_TRIES):
        area = width * height * generator.uniform(smallest, 1)
        shape = math.exp(generator.uniform(-spread, spread))
        across, down = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < across <= width and 0 < down <= height:
            left, top = generator.randint(0, width - across), generator.randint(0, height - down)
            return left, top, left + across, top + down
    # Of a very long image: as much of its middle as has that shape.
    widest, highest = min(width, height * _LONGEST), min(height, width * _LONGEST)
    middle = (width - widest) / 2, (height - highest) / 2
    return *middle, middle[0] + widest, middle[1] + highest
