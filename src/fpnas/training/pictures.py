"""Stored images as pictures of Pillow, and back."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["from_pictures", "to_picture"]


def to_picture(image: Tensor) -> Image.Image:
    """An image, uint8, shape (C, H, W), C 1 or 3."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def from_pictures(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of one size as images, uint8, shape (B, C, H, W)."""
    pixels = np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])
    return torch.from_numpy(pixels.reshape(*pixels.shape[:3], -1)).permute(0, 3, 1, 2)
