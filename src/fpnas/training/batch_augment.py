"""All that happens to a training batch between the data and the network, decided by the run's seed and the step.

What Pillow and timm do to single images is done by the threads that load them, with a seed for each. timm's erasing and
mixing of whole batches draw from the global generators of Python, NumPy and PyTorch, which are seeded for the step and
put back after it. So a run that goes on from a checkpoint does what it would have done, by any number of threads.
"""

import math
import threading
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from fpnas.runtime.processes import WHOLE, Share
from fpnas.runtime.setup import generator_for, library_randomness
from fpnas.training.augment import Augment, normalise, to_device
from fpnas.training.crops import Crop, CropsOriginals, random_crops
from fpnas.training.data import DataSet, ImageSource
from fpnas.training.pictures import from_pictures, to_picture
from fpnas.training.policies import Policy

__all__ = ["AugmentOptions", "BatchAugment"]


@dataclass(frozen=True)
class AugmentOptions:
    """How training images are varied; the defaults are flips and shifts alone.

    Attributes:
        flips_and_shifts: where the data allow them; crops take the place of shifts.
        crop_scale: smallest share of an image's area that a random crop shows; 1 for no crops.
        policy: timm's AutoAugment, RandAugment or AugMix string, e.g. `rand-m9-mstd0.5`; empty for none.
        random_erasing: probability that a rectangle of an image is overwritten.
        mixup, cutmix: alpha of the Beta distribution that images are mixed by; 0 for none.
        label_smoothing: share of the label that is spread over all classes.
        end: first step whose images are as they are, with the label smoothing alone; none when left out.
    """

    flips_and_shifts: bool = True
    crop_scale: float = 1.0
    policy: str = ""
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    end: float = math.inf


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
        self._crops = options.crop_scale < 1
        shift = 0 if self._crops else dataset.shift
        self._moves = Augment(dataset.flip, shift) if options.flips_and_shifts else None
        self._by_thread = threading.local()
        if options.policy:
            self._policy()
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

    @property
    def varies_pictures(self) -> bool:
        """Whether images are varied one by one, by `load`; that is worth threads for those in memory, too."""
        return self._crops or bool(self._options.policy)

    def load(self, source: ImageSource, step: int, indices: Tensor) -> Tensor:
        """Images of a training step, cropped and varied by the policy, uint8, shape (B, C, S, S); for any thread.

        Originals are cropped where the source has them, and else the squares that are in memory.

        Args:
            source: of the images.
            step: decides, with the seed of the run, all that is random.
            indices: of this process's share of the batch.
        """
        if step >= self._options.end:
            return source.batch(indices)
        whole = len(indices) * self._share.count
        # Drawn for the whole batch, so that each image becomes what it would there.
        drawn = torch.randint(2**31, (2, whole), generator=generator_for(self._seed, "pictures", step))
        crop_seeds, policy_seeds = drawn[:, self._share.of(whole)].tolist()
        crops = random_crops(self._options.crop_scale, crop_seeds) if self._crops else []
        if crops and isinstance(source, CropsOriginals):
            pictures, crops = [to_picture(image) for image in source.cropped(indices, crops)], []
        else:
            pictures = [to_picture(image) for image in source.batch(indices)]
        if crops:
            pictures = [_cropped(picture, crop) for picture, crop in zip(pictures, crops, strict=True)]
        if self._options.policy:
            policy = self._policy()
            pictures = [policy(picture, seed) for picture, seed in zip(pictures, policy_seeds, strict=True)]
        return from_pictures(pictures)

    def __call__(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Normalised inputs (B, C, H, W) and targets, probabilities (B, classes), of a training step.

        Args:
            images: uint8, shape (B, C, H, W); of `load` where pictures are varied.
            labels: shape (B,).
            step: decides, with the seed of the run, all that is random.
        """
        varied = step < self._options.end
        if varied and self._moves is not None:
            images = self._moves(images, generator_for(self._seed, "augment", step), self._share)
        inputs = normalise(images, self._dataset.mean, self._dataset.std, self._device)
        labels = to_device(labels, self._device)
        if varied and self._erase is not None:
            # Every process has its own images, and so its own rectangles.
            with library_randomness(self._seed, "erasing", step, self._share.index):
                inputs = self._erase(inputs)
        if varied and self._mix is not None:
            # All processes mix by the same share; partners are those of the process.
            with library_randomness(self._seed, "mixing", step):
                return self._mix(inputs, labels)
        return inputs, self._smoothed(labels)

    def _smoothed(self, labels: Tensor) -> Tensor:
        classes = len(self._dataset.class_names)
        smoothing = self._options.label_smoothing
        return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes

    def _policy(self) -> Policy:
        """The policy of this thread."""
        if not hasattr(self._by_thread, "policy"):
            self._by_thread.policy = Policy(self._options.policy, self._dataset.image_size, self._dataset.mean)
        policy: Policy = self._by_thread.policy
        return policy


def _cropped(picture: Image.Image, crop: Crop) -> Image.Image:
    """What a crop shows of a picture, as large as the picture is."""
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=crop(*picture.size))
