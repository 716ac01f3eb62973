"""The supernet: one set of weights from which every network of a space takes its slices.

Stateless about architectures: `forward(images, spec)`. Only the blocks of the given spec are computed, so memory
and time are those of one network. Shared are the leading channels of every convolution, and the expanding and
projecting convolutions between kernels and numbers of splits. Not shared are depthwise filters of different kernel
sizes, and depthwise filters and attention of different numbers of splits (FP-NAS, section 4).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpnas.network_spec import BlockSpec, NetworkSpec, round_width
from fpnas.nn.network import ConvNorm, MBConv, Network, build_network
from fpnas.nn.ops import ACTIVATION_FUNCTIONS, initialise_weights
from fpnas.nn.sliced import SlicedAttention, SlicedConvNorm
from fpnas.nn.split_attention import combine_splits
from fpnas.space import Group, SearchSpace

__all__ = ["SHARED_HEAD", "SuperBlock", "SuperNet"]

SHARED_HEAD = "conv"
"""The kind of head that a supernet has."""


class SuperBlock(nn.Module):
    """All weights one block of the space can use.

    Args:
        group: the choices.
        widths_before: the channel counts the group can be given; None for its later blocks, which follow one of their
            own width, with stride 1.
    """

    def __init__(self, group: Group, widths_before: tuple[int, ...] | None) -> None:
        super().__init__()
        output_widths = group.values("channels")
        input_widths = output_widths if widths_before is None else widths_before
        kernels = group.values("kernel")
        hidden_widths = {
            (inputs, round_width(expansion * inputs))
            for inputs in input_widths
            for expansion in group.values("expansion")
        }
        hidden = max(width for _, width in hidden_widths)
        most_in, most_out = max(input_widths), max(output_widths)
        self.depthwise = nn.ModuleDict()
        self.attention = nn.ModuleDict()
        if any(kernels):
            if any(inputs != width for inputs, width in hidden_widths):
                self.expand = SlicedConvNorm(most_in, hidden, 1)
            for splits in group.values("splits"):
                for kernel in filter(None, kernels):
                    self.depthwise[f"kernel{kernel}_splits{splits}"] = SlicedConvNorm(
                        hidden, hidden, kernel, depthwise=True, multiplier=max(1, splits)
                    )
                if splits:
                    self.attention[f"splits{splits}"] = SlicedAttention(hidden, round_width(hidden / 4), splits)
            self.project = SlicedConvNorm(hidden, most_out, 1)
        may_reshape = group.stride > 1 or len({*input_widths, *output_widths}) > 1
        if 0 in kernels and widths_before is not None and may_reshape:
            self.bypass = SlicedConvNorm(most_in, most_out, 1)

    @torch.no_grad()
    def align_choices(self) -> None:
        """Let the choices of this block start out as nearly the same function.

        Filters of every kernel size and number of splits start from the same 3x3 values (zeros around them in a
        larger kernel), a bypass from the product of expansion and projection. With unrelated starts the layers
        behind must first learn to read every choice on its own: after 300 steps the cross-entropy of random
        architectures was 2.08 without and 1.80 with this.
        """
        layers = [layer for layer in self.depthwise.values() if isinstance(layer, SlicedConvNorm)]
        if not layers:
            return
        core = torch.randn(layers[0].conv.in_channels, 1, 3, 3) * math.sqrt(2 / 9)
        for layer in layers:
            middle = layer.conv.kernel_size[0] // 2
            filters = core.repeat_interleave(layer.multiplier, dim=0)
            if layer.multiplier > 1:  # equal splits would receive equal gradients and stay equal
                filters = filters + 0.5 * torch.randn_like(filters) * math.sqrt(2 / 9)
            layer.conv.weight.zero_()
            layer.conv.weight[:, :, middle - 1 : middle + 2, middle - 1 : middle + 2] = filters
        if hasattr(self, "bypass"):
            product = self.project.conv.weight.flatten(1)
            if hasattr(self, "expand"):
                product = product @ self.expand.conv.weight.flatten(1)
            target = self.bypass.conv.weight
            if target.numel() == 1:  # no spread to match
                return
            target.copy_((product * (target.std() / product.std()))[:, :, None, None])

    def depthwise_of(self, block: BlockSpec) -> SlicedConvNorm:
        """The depthwise layer that a block's choices select."""
        layer = self.depthwise[f"kernel{block.kernel}_splits{block.splits}"]
        assert isinstance(layer, SlicedConvNorm)
        return layer

    def attention_of(self, block: BlockSpec) -> SlicedAttention:
        """The attention that a block's choices select; the block must have one."""
        layer = self.attention[f"splits{block.splits}"]
        assert isinstance(layer, SlicedAttention)
        return layer

    def forward(self, images: Tensor, block: BlockSpec, shortcut: float = 0.0) -> Tensor:
        if block.kernel == 0:
            return images if block.keeps_shape else self.bypass(images, block.channels, block.stride)
        activate = ACTIVATION_FUNCTIONS[block.activation]
        features = activate(self.expand(images, block.hidden)) if block.expands else images
        features = activate(self.depthwise_of(block)(features, block.hidden, block.stride))
        if block.splits:
            features = self._attend(features, block)
        features = self.project(features, block.channels)
        if block.keeps_shape:
            return features + images
        if shortcut and hasattr(self, "bypass"):
            return features + shortcut * self.bypass(images, block.channels, block.stride)
        return features

    def _attend(self, features: Tensor, block: BlockSpec) -> Tensor:
        weight1, bias1, weight2, bias2 = self.attention_of(block).slices(block.hidden, block.bottleneck)
        activate = ACTIVATION_FUNCTIONS[block.activation]

        def excited(pooled: Tensor) -> Tensor:
            """Both 1x1 convolutions of a map of one pixel, (B, C), as matrix products: as `convolve` has it."""
            return F.linear(activate(F.linear(pooled, weight1[:, :, 0, 0], bias1)), weight2[:, :, 0, 0], bias2)

        if block.splits == 1:
            return features * excited(features.mean((2, 3))).sigmoid()[:, :, None, None]
        batch, _, height, breadth = features.shape
        maps = features.reshape(batch, block.hidden, block.splits, height, breadth)
        logits = excited(maps.sum(dim=2).mean((2, 3)))
        return combine_splits(maps, logits.view(batch, block.hidden, block.splits))

    def copy_to(self, module: nn.Module, block: BlockSpec) -> None:
        """Copy the slices a block uses into its standalone module."""
        if isinstance(module, ConvNorm):
            self.bypass.copy_to(module.conv, module.norm, block.in_channels, block.channels)
        elif isinstance(module, MBConv):
            if block.expands:
                expand = module.expand
                assert isinstance(expand, ConvNorm)
                self.expand.copy_to(expand.conv, expand.norm, block.in_channels, block.hidden)
            depthwise, project = module.depthwise, module.project
            self.depthwise_of(block).copy_to(depthwise.conv, depthwise.norm, block.hidden, block.hidden)
            if block.splits:
                fc1, fc2 = module.attention.fc1, module.attention.fc2
                assert isinstance(fc1, nn.Conv2d) and isinstance(fc2, nn.Conv2d)
                self.attention_of(block).copy_to(fc1, fc2, block.hidden, block.bottleneck)
            self.project.copy_to(project.conv, project.norm, block.hidden, block.channels)


class SuperNet(nn.Module):
    """The shared weights of a search space.

    Args:
        space: the search space.
        in_channels: of the images.
        num_classes: of the classifier.

    Attributes:
        shortcut: factor on the bypass of a block that changes the shape, added to what the block's layers give; 0
            for the networks of the space. A bypass and the layers it stands in for have no input in common that is
            passed on, as a residual block has, so whatever follows has to learn to read every combination of them.
            With a shortcut all combinations share the bypass; faded out, it leaves layers that stand in for it.

    Raises:
        ValueError: the space's head is not of kind `SHARED_HEAD`.
    """

    def __init__(self, space: SearchSpace, in_channels: int, num_classes: int) -> None:
        super().__init__()
        if space.head.kind != SHARED_HEAD:
            raise ValueError(f"head kind {space.head.kind!r}: a supernet needs {SHARED_HEAD!r}")
        self.space = space
        self.shortcut = 0.0
        self.stem = SlicedConvNorm(in_channels, space.stem.channels, space.stem.kernel)
        blocks = []
        widths: tuple[int, ...] = (space.stem.channels,)
        for group in space.groups:
            blocks += [SuperBlock(group, None if repeat else widths) for repeat in range(group.repeat)]
            widths = group.values("channels")
        self.blocks = nn.ModuleList(blocks)
        self.head = SlicedConvNorm(max(widths), space.head.channels, 1)
        self.classifier = nn.Linear(space.head.channels, num_classes)
        initialise_weights(self)
        for block in blocks:
            block.align_choices()

    def forward(self, images: Tensor, spec: NetworkSpec) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W) under one network of the space."""
        features = ACTIVATION_FUNCTIONS[spec.stem.activation](self.stem(images, spec.stem.channels, spec.stem.stride))
        for module, block in zip(self.blocks, spec.blocks, strict=True):
            features = module(features, block, self.shortcut)
        features = ACTIVATION_FUNCTIONS[spec.head.activation](self.head(features, spec.head.channels))
        return self.classifier(features.mean((2, 3)))

    @torch.no_grad()
    def extract(self, spec: NetworkSpec) -> Network:
        """A standalone network with copies of the weights that `forward(images, spec)` uses without a shortcut."""
        # Its own first weights are drawn at random, which is nobody's business.
        with torch.random.fork_rng(devices=[]):
            network = build_network(spec).to(self.classifier.weight)
        self.stem.copy_to(network.stem.conv, network.stem.norm, spec.in_channels, spec.stem.channels)
        for source, target, block in zip(self.blocks, network.blocks, spec.blocks, strict=True):
            assert isinstance(source, SuperBlock)
            source.copy_to(target, block)
        self.head.copy_to(network.head.conv, network.head.norm, spec.last_channels, spec.head.channels)
        network.classifier.load_state_dict(self.classifier.state_dict())
        return network.train(self.training)
