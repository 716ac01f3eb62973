"""Optimizers and the learning-rate schedule, for search and training alike."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from fpnas.run_options import OPTIMIZERS

__all__ = [
    "build_optimizer",
    "load_optimizer_state",
    "optimizer_state",
    "set_learning_rate",
    "warm_up_cosine",
    "warm_up_exponential",
]


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
    settings = {"lr": learning_rate, "weight_decay": weight_decay, "filter_bias_and_bn": True} | OPTIMIZERS[name]
    if name != "sgd":
        return create_optimizer_v2(model, **settings)
    # In one pass over the weights, to the same values: a supernet's step is a tenth shorter.
    optimizer = create_optimizer_v2(model, fused=True, **settings)
    # PyTorch's fused form cannot begin with some weights while others have begun: a supernet's are used one by one.
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer


def optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, dict[str, Any]]:
    """What an optimizer remembers, by the names of the model's parameters; its settings come from the configuration."""
    memory = optimizer.state
    return {name: dict(memory[weight]) for name, weight in model.named_parameters() if weight in memory}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Go on from `optimizer_state`, on the devices of the parameters.

    Raises:
        KeyError: a name that the model does not have.
    """
    weights = dict(model.named_parameters())
    for name, entries in state.items():
        weight = weights[name]
        for key, value in entries.items():
            # Running values lie where and as their parameter lies; counts stay what they are.
            runs = torch.is_tensor(value) and value.shape == weight.shape
            optimizer.state[weight][key] = torch.empty_like(weight).copy_(value) if runs else value


def warm_up_cosine(progress: float, warm_up: float) -> float:
    """Factor on the peak learning rate: linear from 0 over `warm_up`, then half a cosine to 0.

    Args:
        progress: share of all steps that is done, in [0, 1].
        warm_up: share of all steps that the rise takes.
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def warm_up_exponential(epoch: float, warm_up_epochs: float, decay: float) -> float:
    """Factor on the peak learning rate: linear from 0 over the first epochs, then times `decay` for every epoch.

    Args:
        epoch: epochs done, with the fraction of the present one.
        warm_up_epochs: that the rise takes.
        decay: factor per epoch, counted from the start of training as FP-NAS's recipe does.
    """
    return epoch / warm_up_epochs if epoch < warm_up_epochs else decay ** math.floor(epoch)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
