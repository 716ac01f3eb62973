"""Optimizers and the learning-rate schedule, for search and training alike."""

import math
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

__all__ = ["OPTIMIZERS", "build_optimizer", "set_learning_rate", "warm_up_cosine"]

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"opt": "sgd", "momentum": 0.9, "nesterov": True},
    # TensorFlow's form of RMSProp, as the paper's recipe and EfficientNet's use it.
    "rmsprop": {"opt": "rmsproptf", "momentum": 0.9, "eps": 1e-3},
}


def build_optimizer(model: nn.Module, *, name: str, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """timm's optimizer of that name; batch norm and biases are not decayed.

    Args:
        model: whose parameters are optimised.
        name: one of `OPTIMIZERS`.
        learning_rate: the peak; `set_learning_rate` sets it step by step.
        weight_decay: of convolution and linear weights.

    Raises:
        KeyError: unknown name.
    """
    options = OPTIMIZERS[name]
    return create_optimizer_v2(model, lr=learning_rate, weight_decay=weight_decay, filter_bias_and_bn=True, **options)


def warm_up_cosine(progress: float, warm_up: float) -> float:
    """Factor on the peak learning rate: linear from 0 over `warm_up`, then half a cosine to 0.

    Args:
        progress: share of all steps that is done, in [0, 1].
        warm_up: share of all steps that the rise takes.
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
