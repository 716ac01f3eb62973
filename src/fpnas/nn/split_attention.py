"""Split attention over an MBConv block's depthwise features.

Source: FP-NAS, section 4, after ResNeSt. timm's `SplitAttn` gives every split its own input channels; here each
of the s splits is a depthwise filter of *all* C channels (s * C maps from C, groups = C), which is what makes
the cost linear in s as in the paper's Table 7. So the module is our own.
"""

import torch
from torch import Tensor, nn

__all__ = ["SplitAttention", "combine_splits"]


def combine_splits(maps: Tensor, weights: Tensor) -> Tensor:
    """Sum of the splits' maps, weighted by a softmax across splits.

    Args:
        maps: shape (B, C, S, H, W).
        weights: logits, shape (B, C, S).

    Returns:
        Shape (B, C, H, W).
    """
    # An einsum would be a matrix product that no cost of ours counts; a weighted sum it is.
    return (maps * torch.softmax(weights, dim=2)[..., None, None]).sum(dim=2)


class SplitAttention(nn.Module):
    """Weights the splits of every channel by a bottleneck over their pooled sum.

    Args:
        channels: C, width after the splits are combined.
        splits: S, at least 2. The input has S * C channels, the splits of a channel side by side.
        bottleneck: width between the two 1x1 convolutions.
        activation: module of the bottleneck's activation.
    """

    def __init__(self, channels: int, splits: int, bottleneck: int, activation: nn.Module) -> None:
        super().__init__()
        self.splits = splits
        self.fc1 = nn.Conv2d(channels, bottleneck, 1)
        self.act = activation
        self.fc2 = nn.Conv2d(bottleneck, splits * channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        batch, width, height, breadth = images.shape
        maps = images.reshape(batch, width // self.splits, self.splits, height, breadth)
        pooled = maps.sum(dim=2).mean((2, 3), keepdim=True)
        logits = self.fc2(self.act(self.fc1(pooled)))
        return combine_splits(maps, logits.view(batch, width // self.splits, self.splits))
