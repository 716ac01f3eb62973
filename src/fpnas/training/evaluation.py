"""Accuracy of a network, and the batch-norm statistics it needs before any accuracy is reported."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from fpnas.runtime.processes import WHOLE, Processes, Share
from fpnas.training.augment import normalise, to_device
from fpnas.training.batches import Batch, iterate
from fpnas.training.data import ImageSource

__all__ = ["JUDGED_BATCH", "Accuracy", "accuracy", "cross_entropy", "normalised_batches", "recalibrate_batch_norm"]

JUDGED_BATCH = 500
"""Images of a batch that an accuracy is measured on."""


@dataclass(frozen=True)
class Accuracy:
    """Share of images whose class is the network's first, or among its first five, in percent."""

    top1: float
    top5: float
    images: int


def normalised_batches(
    source: ImageSource,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    workers: int = 0,
    share: Share = WHOLE,
) -> Iterator[Batch]:
    """Batches of all images in order, or a share of the batches, ready for a network."""
    for images, labels in iterate(source, JUDGED_BATCH, workers=workers, share=share):
        yield normalise(images, mean, std, device), to_device(labels, device)


@torch.no_grad()
def accuracy(model: nn.Module, batches: Iterable[Batch], processes: Processes | None = None) -> Accuracy:
    """Accuracy in eval mode; the model's mode is restored.

    Args:
        model: gives logits (B, classes).
        batches: normalised images (B, C, H, W) and labels (B,), on the model's device.
        processes: that share the work: each is given some of the batches, and all have the accuracy on all of them.

    Raises:
        ValueError: there is no image.
    """
    was_training = model.training
    model.eval()
    first = five = images = 0
    for inputs, labels in batches:
        logits = model(inputs)
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
        hits = ranked == labels[:, None]
        first += int(hits[:, 0].sum())
        five += int(hits.any(dim=1).sum())
        images += len(labels)
    model.train(was_training)
    if processes:
        first, five, images = processes.sum_(torch.tensor([first, five, images])).tolist()
    if not images:
        raise ValueError("accuracy of no images")
    return Accuracy(100 * first / images, 100 * five / images, images)


@torch.no_grad()
def cross_entropy(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Mean cross-entropy in eval mode, nats, summed in float64; the model's mode is restored.

    Args:
        model: gives logits (B, classes).
        batches: normalised images (B, C, H, W) and labels (B,), on the model's device; one image or more in all.
    """
    was_training = model.training
    model.eval()
    total, images = 0.0, 0
    for inputs, labels in batches:
        total += F.cross_entropy(model(inputs).double(), labels, reduction="sum").item()
        images += len(labels)
    model.train(was_training)
    return total / images


@torch.no_grad()
def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running statistics by the mean over these batches; weights and mode stay as they are.

    Weights that were trained under other widths have no statistics of this network's (FBNetV2, OFA and others
    recalibrate for the same reason). Nothing is random: dropout and stochastic depth, which would spread what they
    leave, are off.

    Args:
        model: with batch norm layers.
        batches: normalised images (B, C, H, W).
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    was_training = model.training
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean, every batch the same weight
    model.train()
    for dropping in (layer for layer in model.modules() if isinstance(layer, nn.Dropout | DropPath)):
        dropping.eval()
    for images in batches:
        model(images)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)
