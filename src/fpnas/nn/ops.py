"""Operations by their names in a spec, and the initialisation that all networks share."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.space import ACTIVATIONS

__all__ = [
    "ACTIVATION_FUNCTIONS",
    "ACTIVATION_MODULES",
    "GATE_MODULES",
    "Convolution",
    "convolve",
    "initialise_weights",
    "register_activation",
]

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "hswish": F.hardswish,
}

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "swish": nn.SiLU, "hswish": nn.Hardswish}

GATE_MODULES: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}


def register_activation(name: str, module: type[nn.Module]) -> None:
    """Make an activation known by a name to spaces, network files, supernets and networks, in this process.

    It costs nothing, as all activations do. Whoever reads a file that names it has to register it first.

    Args:
        name: for spaces and network files: a letter, then letters, digits and underscores.
        module: a class that takes no arguments. Its modules map every number by itself, always alike, without weights
            and into new memory: supernets apply them to slices of their channels.

    Raises:
        UserError: a name that cannot be, or is another activation's already; a module that is not of this kind.
    """
    if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
        raise UserError(f"activation {shown(name)}: a name of letters, digits and underscores is accepted")
    if name in ACTIVATION_MODULES:
        if ACTIVATION_MODULES[name] is module:
            return
        raise UserError(f"activation {shown(name)}: there is one of that name; another name is accepted")
    try:
        made = module() if isinstance(module, type) and issubclass(module, nn.Module) else None
    except TypeError:
        made = None
    if made is None:
        raise UserError(f"activation {shown(name)}: {shown(module)}: a class of modules without arguments is accepted")
    if next(made.parameters(), None) is not None or next(made.buffers(), None) is not None:
        raise UserError(f"activation {shown(name)}: its module has weights or buffers; one without any is accepted")
    if not _is_elementwise(made):
        raise UserError(
            f"activation {shown(name)}: it does not map every number by itself, always alike, into new memory; only "
            "what does is accepted"
        )
    ACTIVATION_FUNCTIONS[name] = made
    ACTIVATION_MODULES[name] = module
    ACTIVATIONS.append(name)


def _is_elementwise(module: nn.Module) -> bool:
    """Whether a module gives the same of a part of its input as the part of what it gives of the whole."""
    images = torch.linspace(-6, 6, 2 * 8 * 3 * 3).view(2, 8, 3, 3)
    given = images.clone()
    whole = module(given)
    return (
        isinstance(whole, Tensor)
        and whole.shape == images.shape
        and torch.equal(given, images)
        and torch.equal(module(images), whole)
        # Vectorised code may round a part in another way.
        and torch.allclose(module(images[1:, 2:5, :2]), whole[1:, 2:5, :2], rtol=1e-4, atol=1e-5)
    )


def convolve(images: Tensor, weight: Tensor, *, stride: int, groups: int, training: bool) -> Tensor:
    """A convolution without bias, padded by half its kernel: sides are ceil(side / stride).

    In training on the processor two kinds are computed in another way, for oneDNN's sake (`docs/tried.md` has what it
    gives):

    - 1x1 convolutions as matrix products. oneDNN compiles three kernels for every pair of widths that it meets, and a
      supernet has thousands of pairs.
    - Depthwise ones of maps smaller than kernel and padding with the padding around the map beforehand. Without, the
      gradient of the weight takes oneDNN's slowest path.

    Args:
        images: shape (B, C, H, W).
        weight: shape (outputs, C / groups, k, k).
        stride: of both sides.
        groups: 1, or as many as channels.
        training: as a module has it.
    """
    kernel = weight.shape[-1]
    padding = kernel // 2
    if training and images.device.type == "cpu":
        if kernel == 1 and groups == 1:
            chosen = images[:, :, ::stride, ::stride] if stride > 1 else images
            return F.linear(chosen.permute(0, 2, 3, 1), weight[:, :, 0, 0]).permute(0, 3, 1, 2)
        if groups > 1 and images.shape[-1] < kernel + padding:
            images, padding = F.pad(images, (padding,) * 4), 0
    return F.conv2d(images, weight, stride=stride, padding=padding, groups=groups)


class Convolution(nn.Conv2d):
    """A convolution without bias, padded by half its kernel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, outputs, H', W') of images (B, inputs, H, W)."""
        if self.bias is not None:  # of a batch norm that was folded in
            return super().forward(images)
        return convolve(images, self.weight, stride=self.stride[0], groups=self.groups, training=self.training)


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
