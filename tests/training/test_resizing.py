"""Sides of the images over a training, and images at them."""

import numpy as np
import pytest
import torch
from PIL import Image

from fpnas.training.resizing import resized, side_at


def test_sides_grow_by_thirds_of_the_training() -> None:
    sides = [side_at(step / 30, 28, 0.7) for step in range(30)]
    assert sides == [20] * 10 + [24] * 10 + [28] * 10
    assert {side_at(step / 7, 224, 0.571) for step in range(7)} == {128, 176, 224}


def test_without_a_share_images_stay_as_they_are() -> None:
    assert {side_at(step / 10, 28, 1.0) for step in range(10)} == {28}
    images = torch.rand(2, 3, 8, 8)
    assert resized(images, 8) is images


@pytest.mark.parametrize("side", [20, 13])
def test_images_are_those_that_pillow_makes(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 1, 28, 28), generator=generator).float()
    made = resized(images.contiguous(memory_format=torch.channels_last), side)
    assert made.shape == (3, 1, side, side)
    for image, small in zip(images, made, strict=True):
        expected = Image.fromarray(image[0].numpy()).resize((side, side), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(small[0].numpy(), np.asarray(expected), atol=1e-3)
