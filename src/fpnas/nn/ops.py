"""Operations by their names in a spec, and the initialisation that all networks share."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ACTIVATION_FUNCTIONS", "ACTIVATION_MODULES", "GATE_MODULES", "initialise_weights"]

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "hswish": F.hardswish,
}

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "swish": nn.SiLU, "hswish": nn.Hardswish}

GATE_MODULES: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}


def initialise_weights(module: nn.Module) -> None:
    """Normal with variance 2 / fan-out for convolutions, uniform for the classifier, zero biases.

    Source: EfficientNet's initialisation, as in timm.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            bound = 1.0 / math.sqrt(layer.out_features)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
