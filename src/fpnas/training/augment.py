"""From stored images to a network's input: random flips and shifts on whole batches, then normalisation."""

import torch
from torch import Tensor

from fpnas.runtime.processes import WHOLE, Share

__all__ = ["Augment", "normalise", "to_device"]


def to_device(values: Tensor, device: torch.device | None) -> Tensor:
    """Values on a device; to a CUDA device from pinned memory, so that the copy runs beside what is computed there."""
    if device is not None and device.type == "cuda" and not values.is_cuda:
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def normalise(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | None = None
) -> Tensor:
    """uint8 images (B, C, H, W) as float32 with mean 0 and deviation 1 per channel, channels last, on the device."""
    # Channels last before the conversion, and in place after it: large batches are bound by memory traffic.
    values = to_device(images, device).contiguous(memory_format=torch.channels_last).float()
    scale = torch.tensor(std, device=device).view(1, -1, 1, 1) * 255
    offset = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
    return values.sub_(offset).div_(scale)


class Augment:
    """Random horizontal flips and shifts, each image its own, in one gather for the batch.

    Args:
        flip: whether half of the images are mirrored.
        shift: the most pixels an image moves, in both directions; what comes into view is 0.
    """

    def __init__(self, flip: bool, shift: int) -> None:
        self.flip = flip
        self.shift = shift

    def __call__(self, images: Tensor, generator: torch.Generator, share: Share = WHOLE) -> Tensor:
        """Augmented images.

        Args:
            images: uint8, shape (B, C, H, W).
            generator: one for the CPU. It draws for the whole batch, so that each image becomes what it would there.
            share: of the batch, that the images are.
        """
        batch, channels, height, width = images.shape
        whole, part = batch * share.count, share.of(batch * share.count)
        columns = torch.arange(width).expand(batch, width)
        rows = torch.arange(height).expand(batch, height)
        if self.flip:
            mirrored = torch.rand(whole, 1, generator=generator)[part] < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        if self.shift:
            images = torch.nn.functional.pad(images, (self.shift,) * 4)
            offsets = torch.randint(2 * self.shift + 1, (2, whole, 1), generator=generator)[:, part]
            columns, rows = columns + offsets[0], rows + offsets[1]
        # Gathering from flat pixels takes a quarter of the time of an advanced index by rows and columns.
        places = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).view(batch, 1, -1).to(images.device)
        return images.flatten(2).gather(2, places.expand(-1, channels, -1)).view(batch, channels, height, width)
