"""All that happens to a training batch between the data and the network: timm's augmentations, seeded step by step.

timm draws from the global generators of Python, NumPy and PyTorch. Here they are seeded for every step and put back
after it, so that a run that goes on from a checkpoint does what it would have done.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from timm.data import Mixup
from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor

from fpnas.errors import UserError, first_line
from fpnas.runtime.processes import WHOLE, Share
from fpnas.runtime.setup import generator_for, library_randomness
from fpnas.training.augment import Augment, normalise, to_device
from fpnas.training.data import DataSet

__all__ = ["AugmentOptions", "BatchAugment"]


@dataclass(frozen=True)
class AugmentOptions:
    """How training images are varied; the defaults are flips and shifts alone.

    Attributes:
        flips_and_shifts: where the data allow them.
        crop_scale: smallest share of an image's area that a random crop shows; 1 for no crops.
        policy: timm's AutoAugment, RandAugment or AugMix string, e.g. `rand-m9-mstd0.5`; empty for none.
        random_erasing: probability that a rectangle of an image is overwritten.
        mixup, cutmix: alpha of the Beta distribution that images are mixed by; 0 for none.
        label_smoothing: share of the label that is spread over all classes.
    """

    flips_and_shifts: bool = True
    crop_scale: float = 1.0
    policy: str = ""
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0


class BatchAugment:
    """Batches of stored images to a network's inputs and targets.

    Args:
        dataset: whose statistics, flips and shifts count.
        options: how images are varied.
        seed: of the run.
        device: of the inputs.
        share: of every batch, that this process is given.

    Raises:
        UserError: a policy that timm does not know.
    """

    def __init__(
        self,
        dataset: DataSet,
        options: AugmentOptions,
        *,
        seed: int,
        device: torch.device | None = None,
        share: Share = WHOLE,
    ) -> None:
        self._dataset = dataset
        self._options = options
        self._seed = seed
        self._device = device
        self._share = share
        self._moves = Augment(dataset.flip, dataset.shift) if options.flips_and_shifts else None
        self._pictures = _picture_transforms(options, dataset)
        self._erase = (
            RandomErasing(options.random_erasing, mode="pixel", device=device or "cpu")
            if options.random_erasing
            else None
        )
        self._mix = (
            Mixup(
                options.mixup,
                options.cutmix,
                label_smoothing=options.label_smoothing,
                num_classes=len(dataset.class_names),
            )
            if options.mixup or options.cutmix
            else None
        )

    def __call__(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Normalised inputs (B, C, H, W) and targets, probabilities (B, classes), of a training step.

        Args:
            images: uint8, shape (B, C, H, W).
            labels: shape (B,).
            step: decides, with the seed of the run, all that is random.
        """
        generator = generator_for(self._seed, "augment", step)
        if self._moves is not None:
            images = self._moves(images, generator, self._share)
        if self._pictures:
            images = self._transformed(images, generator, step)
        inputs = normalise(images, self._dataset.mean, self._dataset.std, self._device)
        labels = to_device(labels, self._device)
        if self._erase is not None:
            # Every process has its own images, and so its own rectangles.
            with library_randomness(self._seed, "erasing", step, self._share.index):
                inputs = self._erase(inputs)
        if self._mix is not None:
            # All processes mix by the same share; partners are those of the process.
            with library_randomness(self._seed, "mixing", step):
                return self._mix(inputs, labels)
        return inputs, self._smoothed(labels)

    def _smoothed(self, labels: Tensor) -> Tensor:
        classes = len(self._dataset.class_names)
        smoothing = self._options.label_smoothing
        return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes

    def _transformed(self, images: Tensor, generator: torch.Generator, step: int) -> Tensor:
        """Images through Pillow, each by a seed of its own, wherever it is computed."""
        count = len(images)
        seeds = torch.randint(2**31, (count * self._share.count,), generator=generator)
        seeds = seeds[self._share.of(count * self._share.count)]
        results = torch.empty_like(images)
        with library_randomness(self._seed, "pictures", step):
            for index, (image, seed) in enumerate(zip(images, seeds.tolist(), strict=True)):
                # Transforms of pictures draw from these two; to seed PyTorch's, too, takes a hundred times as long.
                random.seed(seed)
                np.random.seed(seed)
                picture = _to_picture(image)
                for transform in self._pictures:
                    picture = transform(picture)
                results[index] = _from_picture(picture, image.shape[0])
        return results


def _to_picture(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _from_picture(picture: Image.Image, channels: int) -> Tensor:
    pixels = np.array(picture, dtype=np.uint8).reshape(picture.height, picture.width, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _picture_transforms(options: AugmentOptions, dataset: DataSet) -> list[Any]:
    """timm's transforms of single images, in order."""
    size = dataset.image_size
    transforms: list[Any] = []
    if options.crop_scale < 1:
        transforms.append(
            RandomResizedCropAndInterpolation(size, scale=(options.crop_scale, 1.0), interpolation="bilinear")
        )
    if options.policy:
        mean = tuple(round(255 * value) for value in dataset.mean)
        settings = {"translate_const": int(size * 0.45), "img_mean": mean[0] if len(mean) == 1 else mean}
        kind = options.policy.partition("-")[0]
        builders = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
        blank = Image.new("L" if dataset.in_channels == 1 else "RGB", (size, size))
        try:
            policy = builders.get(kind, auto_augment_transform)(options.policy, settings)
            for operation in _operations(policy):
                if operation.name.startswith("Posterize"):
                    operation.aug_fn = _posterize
            # Some of what timm takes for a policy fails on every image.
            with library_randomness("policy"):
                policy(blank)
            transforms.append(policy)
        except (AssertionError, KeyError, ValueError) as error:
            raise UserError(
                f"--auto-augment {options.policy}: timm does not know it ({first_line(error) or 'no such policy'}); "
                "original, v0, rand-m9-mstd0.5 or augmix-m5-w4-d2 are accepted"
            ) from None
    return transforms


def _operations(policy: Any) -> Iterator[Any]:
    """The single operations of timm's AutoAugment, RandAugment or AugMix."""
    return chain.from_iterable(policy.policy) if hasattr(policy, "policy") else iter(policy.ops)


def _posterize(image: Image.Image, bits: int, **others: Any) -> Image.Image:
    """The image with so many bits of each pixel; black with none, which newer versions of Pillow refuse.

    Some of timm's policies ask for that, `v0` among them, and leave it to Pillow.
    """
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)
