"""Progressive resizing: the first steps of a training see small images, which cost less and teach what is coarse.

Source: the schedule of sizes in Tan and Le, "EfficientNetV2" (ICML 2021), with three stages and without its schedule of
augmentations; the idea is older (Howard, "Training Imagenet in 3 hours for 25 minutes", 2018).
"""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resized", "side_at"]

_STAGES = 3


def side_at(share_of_training: float, side: int, first_share: float) -> int:
    """Side of the images, pixels, at a point of the training.

    Args:
        share_of_training: of the steps, that came before: from 0 to below 1.
        side: of the images of the data.
        first_share: of that side, in the first of the stages; the last has all of it.
    """
    stage = int(share_of_training * _STAGES)
    return max(1, round(side * (first_share + (1 - first_share) * stage / (_STAGES - 1))))


def resized(images: Tensor, side: int) -> Tensor:
    """Images (B, C, S, S) at another side; the same tensor where it is theirs."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)
