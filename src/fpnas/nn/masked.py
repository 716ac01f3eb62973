"""The supernet with every choice computed at once and weighted by gates: what our search is compared with.

Source: the idea of FBNetV2 (Wan et al., CVPR 2020): widths are masks over the widest block, the other choices
weighted sums. The weights are those of a `SuperNet`; with one-hot gates the result is that of the chosen network.
What can be computed once is: the convolutions at their greatest width serve all widths, the expansion all choices,
one projection the sum of all paths, attention the paths of a number of splits together. Depthwise filters follow a
nonlinearity and have their own batch norm, so each runs once per activation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fpnas.gates import Gates, check_gates
from fpnas.network_spec import round_width
from fpnas.nn.ops import ACTIVATION_FUNCTIONS
from fpnas.nn.sliced import SlicedAttention, SlicedConvNorm
from fpnas.nn.supernet import SuperBlock, SuperNet
from fpnas.space import VARIABLES, Group

__all__ = ["masked_forward"]

Activation = Callable[[Tensor], Tensor]


class BlockWeights(NamedTuple):
    """What the gates make of one block. S, K, A: numbers of splits, kernels other than 0 and activations.

    The masses `expanded`, `unexpanded`, `kept` are of pairs of widths; 0.0 and 1.0 as numbers say that the space
    leaves no other possibility, so that nothing need be computed.
    """

    hidden: Tensor  # mask of the hidden channels, shape (hidden,)
    bottleneck: Tensor  # mask of the attention's bottleneck, shape (bottleneck,)
    paths: Tensor  # weight of every path and hidden channel, shape (S, K, A, hidden)
    expanded: Tensor | float  # mass of pairs whose hidden width differs from the input width
    unexpanded: Tensor | float  # mass of the others
    kept: Tensor | float  # mass of equal input and output widths, under stride 1
    layers: Tensor  # mass of kernels other than 0 times the mask of the output channels, shape (channels,)
    bypass: Tensor  # mass of kernel 0 that changes the shape times the same mask, shape (channels,)


class _Tables(NamedTuple):
    """Which width covers which channel, and which pairs are special. I, E, O: input widths, expansions, output widths.

    The flags are asked once, here: to look at a table's values in the forward pass would make a GPU wait.
    """

    hidden: Tensor  # shape (I * E, hidden)
    bottleneck: Tensor  # shape (I * E, bottleneck)
    channels: Tensor  # shape (O, channels)
    expands: Tensor  # shape (I * E,)
    equal: Tensor  # shape (I, O)
    some_expand: bool
    all_expand: bool
    some_equal: bool
    all_equal: bool


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is made here is also for passes that have gradients
def _tables(group: Group, widths_before: tuple[int, ...] | None, device: torch.device) -> _Tables:
    """The tables of a group's first block, or with `widths_before` None of its later ones."""
    outputs = group.values("channels")
    inputs = outputs if widths_before is None else widths_before
    pairs = [(width, round_width(expansion * width)) for width in inputs for expansion in group.values("expansion")]
    expands = [width != hidden for width, hidden in pairs]
    equal = [[width == output for output in outputs] for width in inputs]
    stays = widths_before is None  # a later block: whatever its width, it is that of the block before
    may_keep = stays or group.stride == 1
    return _Tables(
        hidden=_covered([hidden for _, hidden in pairs], device),
        bottleneck=_covered([round_width(hidden / 4) for _, hidden in pairs], device),
        channels=_covered(outputs, device),
        expands=torch.tensor(expands, device=device),
        equal=torch.tensor(equal, device=device),
        some_expand=any(expands),
        all_expand=all(expands),
        some_equal=may_keep and any(map(any, equal)),
        all_equal=stays or (may_keep and all(map(all, equal))),
    )


def block_weights(
    group: Group, widths_before: tuple[int, ...] | None, gates: Mapping[str, Tensor], input_gates: Tensor
) -> BlockWeights:
    """What gates make of one block.

    Args:
        group: the choices.
        widths_before: as for `SuperBlock`: the channel counts the group can be given, None for its later blocks.
        gates: of the group.
        input_gates: over the widths before, shape (I,); the group's own for its later blocks.
    """
    tables = _tables(group, widths_before, input_gates.device)
    pairs = (input_gates[:, None] * gates["expansion"]).flatten()
    hidden = _mixed_mask(pairs, tables.hidden)
    expanded = (pairs * tables.expands).sum()
    kernels = [*zip(gates["kernel"].unbind(), group.values("kernel"), strict=True)]
    none = torch.zeros_like(pairs[0])
    kernel_K = torch.stack([gate for gate, kernel in kernels if kernel] or [none])
    bypassed = sum((gate for gate, kernel in kernels if not kernel), none)
    paths_SKA = gates["splits"][:, None, None] * kernel_K[:, None] * gates["activation"]
    channels = _mixed_mask(gates["channels"], tables.channels)
    kept: Tensor | float = float(tables.all_equal)
    if tables.some_equal and not tables.all_equal:
        kept = (input_gates[:, None] * gates["channels"] * tables.equal).sum()
    return BlockWeights(
        hidden=hidden,
        bottleneck=_mixed_mask(pairs, tables.bottleneck),
        paths=paths_SKA[..., None] * hidden,
        expanded=1.0 if tables.all_expand else expanded if tables.some_expand else 0.0,
        unexpanded=0.0 if tables.all_expand else pairs.sum() - expanded if tables.some_expand else 1.0,
        kept=kept,
        layers=kernel_K.sum() * channels,
        bypass=bypassed * (1 - kept) * channels,
    )


def masked_forward(supernet: SuperNet, images: Tensor, gates: Gates) -> Tensor:
    """Logits with every choice of every block computed and weighted by gates.

    In training mode batch norm uses the batch's statistics, and the running statistics of every layer are updated,
    those of a depthwise layer once per activation and of widths and paths whose gates are 0 too.

    Args:
        supernet: whose weights are used.
        images: normalised, shape (B, C, H, W).
        gates: for every group and each of `VARIABLES`, weights over its values, shape (values,), not negative, with
            sum 1 (not looked at), on any device and of any dtype. Gradients flow to them, and to the supernet's
            weights; those of a variable are defined up to a constant, which the softmax behind it takes out.

    Returns:
        Shape (B, classes).

    Raises:
        ValueError: the number of groups, a variable or a shape is not that of the space.
    """
    space = supernet.space
    check_gates(space.groups, gates)
    gates = _moved(gates, supernet.classifier.weight)
    features = supernet.stem(images, space.stem.channels, space.stem.stride)
    features = ACTIVATION_FUNCTIONS[space.stem.activation](features)
    widths: tuple[int, ...] = (space.stem.channels,)
    input_gates = gates[0]["channels"].new_ones(1)
    blocks = iter(supernet.blocks)
    for group, group_gates in zip(space.groups, gates, strict=True):
        weights = block_weights(group, widths, group_gates, input_gates)
        widths, input_gates = group.values("channels"), group_gates["channels"]
        for repeat in range(group.repeat):
            if repeat == 1:  # all later blocks have the same
                weights = block_weights(group, None, group_gates, input_gates)
            block = next(blocks)
            assert isinstance(block, SuperBlock)
            features = masked_block(block, group, group.stride if repeat == 0 else 1, features, weights)
    features = ACTIVATION_FUNCTIONS[space.head.activation](supernet.head(features, space.head.channels))
    return supernet.classifier(features.mean((2, 3)))


def masked_block(block: SuperBlock, group: Group, stride: int, images: Tensor, weights: BlockWeights) -> Tensor:
    """Features (B, most channels, H', W') of masked images (B, most input channels, H, W), masked as well."""
    width = weights.layers.numel()
    total: Tensor | None = None
    # Residual connection and identity bypass together: the masses of the kernels sum to 1.
    if isinstance(weights.kept, Tensor):
        total = _resized(images * weights.kept.to(images.dtype), width)
    elif weights.kept:
        total = images
    if any(group.values("kernel")):
        mixed = _mixed_paths(block, group, stride, images, weights)
        total = _add_weighted(total, block.project(mixed, width), weights.layers)
    if hasattr(block, "bypass"):
        total = _add_weighted(total, block.bypass(images, width, stride), weights.bypass)
    assert total is not None
    return total


def _mixed_paths(block: SuperBlock, group: Group, stride: int, images: Tensor, weights: BlockWeights) -> Tensor:
    """Weighted sum (B, hidden, H', W') of what every kernel, activation and number of splits makes of the images."""
    activations = [ACTIVATION_FUNCTIONS[name] for name in group.values("activation")]
    kernels = [kernel for kernel in group.values("kernel") if kernel]
    width = weights.hidden.numel()
    inputs = _expanded(block, activations, images, weights)  # one for all activations if nothing expands
    total: Tensor | None = None
    for paths, splits in zip(weights.paths, group.values("splits"), strict=True):
        outputs = []
        for kernel in kernels:
            layer = block.depthwise[f"kernel{kernel}_splits{splits}"]
            assert isinstance(layer, SlicedConvNorm)
            convolved = [layer(features, width, stride) for features in inputs]
            convolved = convolved * len(activations) if len(convolved) == 1 else convolved
            outputs += [activate(features) for activate, features in zip(activations, convolved, strict=True)]
        factors = paths.flatten(0, 1)
        if splits:
            attention = block.attention[f"splits{splits}"]
            assert isinstance(attention, SlicedAttention)
            pooled = torch.stack([features.mean((2, 3)) for features in outputs]).unflatten(0, paths.shape[:2])
            factors = _attention(attention, activations, pooled, paths, weights).flatten(0, 1)
        mixed: Tensor | None = None
        for features, factor in zip(outputs, factors.unbind(), strict=True):
            mixed = _add_weighted(mixed, features, factor)
        assert mixed is not None
        if splits > 1:
            mixed = mixed.unflatten(1, (width, splits)).sum(dim=2)
        total = mixed if total is None else total + mixed
    assert total is not None
    return total


def _expanded(block: SuperBlock, activations: list[Activation], images: Tensor, weights: BlockWeights) -> list[Tensor]:
    """Inputs of the depthwise layers: one per activation, or one for all if no network of the space expands."""
    width = weights.hidden.numel()
    if not hasattr(block, "expand"):
        return [_resized(images, width)]
    normed = block.expand(images, width)
    features = [activate(normed) for activate in activations]
    if not isinstance(weights.expanded, Tensor) or not isinstance(weights.unexpanded, Tensor):
        return features
    unchanged = _resized(images * weights.unexpanded.to(images.dtype), width)
    return [torch.addcmul(unchanged, each, weights.expanded.to(each.dtype)) for each in features]


def _attention(
    layer: SlicedAttention, activations: list[Activation], pooled: Tensor, paths: Tensor, weights: BlockWeights
) -> Tensor:
    """Factors (K, A, B, hidden * splits) of the paths of one number of splits, their weights (K, A, hidden) included.

    `pooled`: means of the paths' features, shape (K, A, B, hidden * splits).
    """
    squeezed = pooled.unflatten(-1, (-1, layer.splits)).sum(-1) * weights.hidden.to(pooled.dtype)
    squeezed = F.linear(squeezed, layer.fc1.weight.flatten(1), layer.fc1.bias)
    acted = [activate(each) for activate, each in zip(activations, squeezed.unbind(1), strict=True)]
    squeezed = torch.stack(acted, dim=1) * weights.bottleneck.to(pooled.dtype)
    excited = F.linear(squeezed, layer.fc2.weight.flatten(1), layer.fc2.bias).unflatten(-1, (-1, layer.splits))
    factors = excited.sigmoid() if layer.splits == 1 else excited.softmax(dim=-1)
    return (factors * paths[:, :, None, :, None]).flatten(-2)


def _add_weighted(total: Tensor | None, features: Tensor, factor: Tensor) -> Tensor:
    """`total` plus features (B, C, H, W) times a factor of shape (C,) or (B, C)."""
    factor = factor.to(features.dtype)[..., None, None]
    return features * factor if total is None else torch.addcmul(total, features, factor)


def _resized(images: Tensor, width: int) -> Tensor:
    """The leading channels, filled up with zeros."""
    missing = width - images.shape[1]
    return F.pad(images, (0, 0, 0, 0, 0, missing)) if missing > 0 else images[:, :width]


def _covered(widths: Sequence[int], device: torch.device) -> Tensor:
    """Whether a width covers a channel, shape (widths, greatest width)."""
    return torch.arange(max(widths), device=device) < torch.tensor(widths, device=device)[:, None]


def _mixed_mask(gates: Tensor, covered: Tensor) -> Tensor:
    """Sum of masks, shape (channels,). Not a matrix product, which autocast would round."""
    return (gates[:, None] * covered).sum(0)


def _moved(gates: Gates, like: Tensor) -> list[dict[str, Tensor]]:
    """The gates with the device and dtype of another tensor, all in one transfer."""
    flat = torch.cat([group_gates[variable] for group_gates in gates for variable in VARIABLES]).to(like)
    parts = iter(flat.split([len(group_gates[variable]) for group_gates in gates for variable in VARIABLES]))
    return [{variable: next(parts) for variable in VARIABLES} for _ in gates]
