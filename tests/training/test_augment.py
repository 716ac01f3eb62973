"""Augmentation against a slow loop over single images; normalisation against its formula."""

import pytest
import torch
from torch import Tensor

from fpnas.training.augment import Augment, normalise


def some_images(batch: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (batch, channels, height, width), generator=generator, dtype=torch.uint8)


def slow(images: Tensor, flip: bool, shift: int, generator: torch.Generator) -> Tensor:
    """Pixel by pixel, from the same draws."""
    batch, _, height, width = images.shape
    mirrored = (torch.rand(batch, 1, generator=generator) < 0.5).flatten().tolist() if flip else [False] * batch
    offsets = torch.zeros(2, batch, dtype=torch.long)
    if shift:
        offsets = torch.randint(2 * shift + 1, (2, batch, 1), generator=generator)[:, :, 0] - shift
    result = torch.zeros_like(images)
    for b in range(batch):
        right, down = offsets[:, b].tolist()
        for y in range(height):
            for x in range(width):
                # The window over the image moves; an image that is mirrored is mirrored within the window.
                source_y, source_x = y + down, (width - 1 - x if mirrored[b] else x) + right
                if 0 <= source_y < height and 0 <= source_x < width:
                    result[b, :, y, x] = images[b, :, source_y, source_x]
    return result


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_slow_loop(flip: bool, shift: int, channels: int) -> None:
    images = some_images(16, channels, 5, 6)
    augmented = Augment(flip, shift)(images, torch.Generator().manual_seed(7))
    assert augmented.dtype == torch.uint8
    assert torch.equal(augmented, slow(images, flip, shift, torch.Generator().manual_seed(7)))


def test_nothing_to_do_is_the_identity() -> None:
    images = some_images(4, 3, 5, 6)
    assert torch.equal(Augment(False, 0)(images, torch.Generator()), images)


def test_half_are_mirrored_and_every_shift_occurs() -> None:
    images = some_images(1, 1, 1, 9).expand(2000, 1, 1, 9)
    mirrored = Augment(True, 0)(images, torch.Generator().manual_seed(0))
    share = (mirrored != images).flatten(1).any(1).double().mean()
    assert abs(share - 0.5) < 0.05
    spot = torch.zeros(2000, 1, 9, 9, dtype=torch.uint8)
    spot[:, :, 4, 4] = 1
    moved = Augment(False, 2)(spot, torch.Generator().manual_seed(0)).sum(0)[0]
    assert moved.sum() == 2000
    # 25 places, 80 images each, standard deviation 8.8.
    assert ((moved[2:7, 2:7].double() - 80).abs() < 40).all(), moved


def test_normalised_values_are_exact() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.25, 1.0)
    normalised = normalise(images, mean, std)
    assert normalised.dtype == torch.float32 and normalised.is_contiguous(memory_format=torch.channels_last)
    for channel in range(3):
        exact = (images[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(normalised[:, channel].double(), exact, rtol=0, atol=1e-6)
