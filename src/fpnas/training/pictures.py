"""From files and pictures of Pillow to stored images, and from stored images to pictures."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fpnas.errors import UserError, first_line
from fpnas.training.crops import Crop, central_square

__all__ = ["decode", "from_pictures", "read_image", "to_picture"]

# Pillow's warnings on odd files (sizes, metadata) would stand beside the one line that a user gets. For good and
# not around each call: filters belong to the process, and images are read by several threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


def decode(image: Image.Image, image_size: int, in_channels: int, crop: Crop | None = None) -> Tensor:
    """An image as uint8 (C, S, S): converted, its central square, or what a crop shows of it, resized to S x S."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose scale is not known")
    if image.mode.startswith("I"):
        # Pillow would cut 16 bits off at 255, and leave a white image.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    elif image.mode in ("P", "LA", "PA"):
        image = image.convert("RGBA")
    image = image.convert("RGB" if in_channels == 3 else "L")
    # In one step, so that of an image of one by a million pixels no enlargement is made.
    size, box = (image_size, image_size), (crop or central_square)(*image.size)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box), dtype=np.uint8)
    return torch.from_numpy(pixels.reshape(image_size, image_size, in_channels).copy()).permute(2, 0, 1)


def read_image(path: Path, image_size: int, in_channels: int, crop: Crop | None = None) -> Tensor:
    """The image in a file, decoded.

    Raises:
        UserError: not a whole image, or one of absurd size.
    """
    try:
        with Image.open(path) as image:
            # Pillow warns from its limit on and refuses from twice that; the limit is the limit.
            limit = Image.MAX_IMAGE_PIXELS or 0
            if limit and image.width * image.height > limit:
                raise UserError(f"image {path}: {image.width} x {image.height} pixels; at most {limit} are accepted")
            return decode(image, image_size, in_channels, crop)
    except UserError:
        raise
    except Exception as error:  # on a damaged file Pillow's readers raise of every kind
        raise UserError(f"image {path}: cannot be read: {first_line(error)}") from None


def to_picture(image: Tensor) -> Image.Image:
    """An image, uint8, shape (C, H, W), C 1 or 3."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def from_pictures(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of one size as images, uint8, shape (B, C, H, W)."""
    pixels = np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])
    return torch.from_numpy(pixels.reshape(*pixels.shape[:3], -1)).permute(0, 3, 1, 2)
