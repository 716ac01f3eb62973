"""Layers of the supernet: the widest weights, of which a forward pass takes the leading slice."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from fpnas.nn.ops import convolve

__all__ = ["SlicedAttention", "SlicedConvNorm"]


def leading(tensor: Tensor, *widths: int) -> Tensor:
    """The leading part of a tensor with these widths in its first dimensions.

    A dimension used whole is not sliced: a slice's gradient is filled up with zeros and copied.
    """
    for dimension, width in enumerate(widths):
        if tensor.shape[dimension] != width:
            tensor = tensor.narrow(dimension, 0, width)
    return tensor


class SlicedConvNorm(nn.Module):
    """Convolution and batch norm at their greatest width; a call uses the leading channels.

    A depthwise convolution (`depthwise=True`) holds `multiplier` filters per channel, those of a channel side
    by side, so that the leading slice of channels is a leading slice of filters too.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, depthwise: bool = False, multiplier: int = 1) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.multiplier = multiplier
        # The supernet initialises all weights itself; to fill them twice takes seconds in a large space.
        self.conv = skip_init(
            nn.Conv2d,
            inputs,
            outputs * multiplier,
            kernel,
            padding=kernel // 2,
            groups=inputs if depthwise else 1,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(outputs * multiplier)

    def slice_of(self, tensor: Tensor, inputs: int, outputs: int) -> Tensor:
        """The part of a weight of this layer's convolution that a call with these widths uses."""
        return leading(tensor, outputs * self.multiplier) if self.depthwise else leading(tensor, outputs, inputs)

    def forward(self, images: Tensor, outputs: int, stride: int = 1) -> Tensor:
        """Features (B, outputs * multiplier, H', W') of images (B, inputs, H, W)."""
        inputs = images.shape[1]
        width = outputs * self.multiplier
        features = convolve(
            images,
            self.slice_of(self.conv.weight, inputs, outputs),
            stride=stride,
            groups=inputs if self.depthwise else 1,
            training=self.training,
        )
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        # Whoever is only judged leaves no trace in the statistics.
        needed = not self.training or torch.is_grad_enabled()
        return F.batch_norm(
            features,
            leading(norm.running_mean, width) if needed else None,
            leading(norm.running_var, width) if needed else None,
            leading(norm.weight, width),
            leading(norm.bias, width),
            training=self.training,
            momentum=0.1,
            eps=norm.eps,
        )

    @torch.no_grad()
    def copy_to(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, inputs: int, outputs: int) -> None:
        """Copy the slice for these widths into a standalone convolution and batch norm."""
        width = outputs * self.multiplier
        conv.weight.copy_(self.slice_of(self.conv.weight, inputs, outputs))
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).copy_(getattr(self.norm, name)[:width])


class SlicedAttention(nn.Module):
    """The two 1x1 convolutions of squeeze-excite (`splits` 1) or split attention, at their greatest width."""

    def __init__(self, channels: int, bottleneck: int, splits: int) -> None:
        super().__init__()
        self.splits = splits
        self.fc1 = skip_init(nn.Conv2d, channels, bottleneck, 1)
        self.fc2 = skip_init(nn.Conv2d, bottleneck, splits * channels, 1)

    def slices(self, channels: int, bottleneck: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases of both convolutions for these widths, in the order they are used."""
        assert self.fc1.bias is not None and self.fc2.bias is not None
        width = self.splits * channels
        return (
            leading(self.fc1.weight, bottleneck, channels),
            leading(self.fc1.bias, bottleneck),
            leading(self.fc2.weight, width, bottleneck),
            leading(self.fc2.bias, width),
        )

    @torch.no_grad()
    def copy_to(self, fc1: nn.Conv2d, fc2: nn.Conv2d, channels: int, bottleneck: int) -> None:
        """Copy the slices for these widths into a standalone attention."""
        targets = (fc1.weight, fc1.bias, fc2.weight, fc2.bias)
        for target, source in zip(targets, self.slices(channels, bottleneck), strict=True):
            assert target is not None
            target.copy_(source)
