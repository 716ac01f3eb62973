"""timm's AutoAugment, RandAugment and AugMix for single images, by a seed for each and for several threads at once.

timm draws from the global generators of Python and NumPy, which all threads share. Here its module is loaded once more
for every policy, and given generators of its own.
"""

import importlib.util
import random
from collections.abc import Iterator
from itertools import chain
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from fpnas.errors import UserError, first_line

__all__ = ["Policy"]

_BUILDERS = {"rand": "rand_augment_transform", "augmix": "augment_and_mix_transform"}


class Policy:
    """A policy of timm, for one thread.

    Args:
        text: as timm writes it, e.g. `original`, `rand-m9-mstd0.5`.
        image_size: side of the images, pixels.
        mean: of the images, per channel, on a scale from 0 to 1; fills what a rotation or shift brings into view.

    Raises:
        UserError: timm does not know it, or cannot do it.
    """

    def __init__(self, text: str, image_size: int, mean: tuple[float, ...]) -> None:
        self._python, self._numpy = random.Random(), np.random.RandomState()
        timm = _module_of_its_own(self._python, self._numpy)
        colour = tuple(round(255 * value) for value in mean)
        settings = {"translate_const": int(image_size * 0.45), "img_mean": colour[0] if len(colour) == 1 else colour}
        build = getattr(timm, _BUILDERS.get(text.partition("-")[0], "auto_augment_transform"))
        try:
            self._transform = build(text, settings)
            for operation in _operations(self._transform):
                if operation.name.startswith("Posterize"):
                    operation.aug_fn = _posterize
            # Some of what timm takes for a policy fails on every image.
            self(Image.new("L" if len(mean) == 1 else "RGB", (image_size, image_size)), 0)
        except (AssertionError, KeyError, ValueError) as error:
            raise UserError(
                f"--auto-augment {text}: timm does not know it ({first_line(error)}); "
                "original, v0, rand-m9-mstd0.5 or augmix-m5-w4-d2 are accepted"
            ) from None
        _check_sections(text)

    def __call__(self, picture: Image.Image, seed: int) -> Image.Image:
        """A picture varied; the seed, under 2**32, decides how."""
        self._python.seed(seed)
        self._numpy.seed(seed)
        varied: Image.Image = self._transform(picture)
        return varied


def _check_sections(text: str) -> None:
    """Raises UserError for a part that timm would pass over: it has no number, and names no set of transforms."""
    name, *sections = text.split("-")
    for section in sections:
        named = name == "rand" and section.startswith("t")
        if not named and not any(character.isdigit() for character in section):
            raise UserError(
                f"--auto-augment {text}: timm passes over '{section}'; parts like m9, n2 or mstd0.5 are accepted"
            )


def _module_of_its_own(python: random.Random, numpy: np.random.RandomState) -> ModuleType:
    """timm's module of policies anew, drawing from these generators where it names `random` and `np.random`."""
    spec = importlib.util.find_spec("timm.data.auto_augment")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(random=python, np=SimpleNamespace(**vars(np) | {"random": numpy}))
    return module


def _operations(transform: Any) -> Iterator[Any]:
    """The single operations of timm's AutoAugment, RandAugment or AugMix."""
    return chain.from_iterable(transform.policy) if hasattr(transform, "policy") else iter(transform.ops)


def _posterize(image: Image.Image, bits: int, **others: Any) -> Image.Image:
    """The image with so many bits of each pixel; black with none, which newer versions of Pillow refuse.

    Some of timm's policies ask for that, `v0` among them, and leave it to Pillow.
    """
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)
