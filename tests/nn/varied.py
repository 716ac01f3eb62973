"""Supernets and images of which no two numbers are alike, so that a wrong slice or mask shows."""

import torch
from torch import Tensor, nn

from fpnas.nn.supernet import SuperNet
from fpnas.space import SearchSpace

NUM_CLASSES = 10


def varied_supernet(space: SearchSpace, dtype: torch.dtype) -> SuperNet:
    """A supernet for gray images with weights, biases and running statistics that are all different."""
    torch.manual_seed(0)
    supernet = SuperNet(space, 1, NUM_CLASSES)
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.3)
    return supernet.to(dtype)


def normal_images(size: int, batch: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gray images (batch, 1, size, size), the same at every call."""
    return torch.randn(batch, 1, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)
