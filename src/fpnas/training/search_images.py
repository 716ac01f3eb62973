"""The two halves of the training images in a search: one for the weights, one to judge architectures by."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fpnas.runtime.processes import WHOLE, Share
from fpnas.runtime.setup import generator_for
from fpnas.training.augment import Augment, normalise, to_device
from fpnas.training.batches import Batch, BatchStream, iterate, spread
from fpnas.training.class_balance import class_balanced_split
from fpnas.training.data import DataSet
from fpnas.training.evaluation import JUDGED_BATCH

__all__ = ["SearchImages"]

CALIBRATION_IMAGES = 2048
JUDGED_IMAGES = 5000
FEW_IMAGES = 1024


class SearchImages:
    """Batches of both halves, normalised and on the device.

    Args:
        dataset: its training images are split, class by class; its test images are not touched.
        seed: decides the halves, the order and the augmentation.
        batch_size: images of a weight step.
        architecture_batch_size: images of an architecture step.
        device: where batches are delivered.
        workers: threads that load images which are not in memory.
        share: of each batch, that is delivered.

    Attributes:
        weight_half, architecture_half: indices of the training images.
        steps_per_epoch: full batches of the weight half.

    Raises:
        UserError: a batch is larger than its half.
    """

    def __init__(
        self,
        dataset: DataSet,
        *,
        seed: int,
        batch_size: int,
        architecture_batch_size: int,
        device: torch.device,
        workers: int,
        share: Share = WHOLE,
    ) -> None:
        assert dataset.train is not None
        self._dataset = dataset
        self._source = dataset.train
        self._device = device
        self._workers = workers
        self._share = share
        self.weight_half, self.architecture_half = class_balanced_split(self._source.labels, 0.5, seed)
        half = ", one half of the training images"
        self._weight_stream = BatchStream(
            self._source,
            self.weight_half,
            batch_size,
            generator_for(seed, "weight batches"),
            workers,
            part=half,
            share=share,
        )
        self._architecture_stream = BatchStream(
            self._source,
            self.architecture_half,
            architecture_batch_size,
            generator_for(seed, "architecture batches"),
            workers,
            option="--architecture-batch-size",
            part=half,
            share=share,
        )
        self._augment = Augment(dataset.flip, dataset.shift)
        self._augment_generator = generator_for(seed, "augment")
        self.steps_per_epoch = len(self.weight_half) // batch_size

    def _deliver(self, images: Tensor, labels: Tensor) -> Batch:
        normalised = normalise(images, self._dataset.mean, self._dataset.std, self._device)
        return normalised, to_device(labels, self._device)

    def weight_batch(self) -> Batch:
        """The next batch of the weight half, augmented: images (B, C, H, W) and labels (B,)."""
        images, labels = self._weight_stream.next()
        return self._deliver(self._augment(images, self._augment_generator, self._share), labels)

    def architecture_batch(self) -> Batch:
        """The next batch of the architecture half, as it is."""
        return self._deliver(*self._architecture_stream.next())

    def state_dict(self) -> dict[str, Any]:
        """How far both streams are, and the generator of the augmentation."""
        return {
            "weight_batches": self._weight_stream.taken,
            "architecture_batches": self._architecture_stream.taken,
            "augment_generator": self._augment_generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; before any batch was taken."""
        self._weight_stream.skip(state["weight_batches"])
        self._architecture_stream.skip(state["architecture_batches"])
        self._augment_generator.set_state(state["augment_generator"])

    def calibration_batches(self, *, few: bool = False) -> Iterator[Tensor]:
        """Images of the weight half for batch-norm statistics, the same at every call.

        In batches as equal as can be (`iterate`).

        Args:
            few: whether fewer images will do.
        """
        for batch in self._spread(self.weight_half, FEW_IMAGES if few else CALIBRATION_IMAGES, 256):
            yield batch[0]

    def judged_batches(self, share: Share = WHOLE, *, few: bool = False) -> Iterator[Batch]:
        """Images of the architecture half that an accuracy during search is measured on, the same at every call.

        Args:
            share: of the batches, to be delivered.
            few: whether fewer images will do.
        """
        return self._spread(self.architecture_half, FEW_IMAGES if few else JUDGED_IMAGES, JUDGED_BATCH, share)

    def _spread(self, half: Tensor, count: int, batch_size: int, share: Share = WHOLE) -> Iterator[Batch]:
        # Shuffled: a batch of one class has statistics of its own.
        chosen = half[spread(len(half), count, shuffled_for="spread")]
        for images, labels in iterate(self._source, batch_size, chosen, self._workers, share, evenly=True):
            yield self._deliver(images, labels)
