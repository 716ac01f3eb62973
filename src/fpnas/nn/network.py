"""The standalone network of a `NetworkSpec`: ordinary modules, no search code."""

from collections import OrderedDict

from timm.layers import SqueezeExcite
from torch import Tensor, nn

from fpnas.network_spec import BlockSpec, NetworkSpec
from fpnas.nn.ops import ACTIVATION_MODULES, GATE_MODULES, initialise_weights
from fpnas.nn.split_attention import SplitAttention

__all__ = ["MBConv", "Network", "build_network"]


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, and an activation where one is named."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = None,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            norm=nn.BatchNorm2d(outputs),
        )
        if activation is not None:
            layers["act"] = ACTIVATION_MODULES[activation]()
        super().__init__(layers)


class MBConv(nn.Module):
    """Expand, depthwise, attention, project; the input is added where the shape stays.

    Source: FP-NAS, Table 2; MobileNetV2.
    """

    def __init__(self, block: BlockSpec, gate: str = "sigmoid") -> None:
        super().__init__()
        hidden, splits = block.hidden, max(1, block.splits)
        self.adds_input = block.keeps_shape
        self.expand: nn.Module = nn.Identity()
        if block.expands:
            self.expand = ConvNorm(block.in_channels, hidden, 1, activation=block.activation)
        self.depthwise = ConvNorm(
            hidden, splits * hidden, block.kernel, block.stride, groups=hidden, activation=block.activation
        )
        self.attention: nn.Module = nn.Identity()
        activation = ACTIVATION_MODULES[block.activation]
        if block.splits == 1:
            self.attention = SqueezeExcite(
                hidden, rd_channels=block.bottleneck, act_layer=activation, gate_layer=GATE_MODULES[gate]
            )
        elif block.splits > 1:
            self.attention = SplitAttention(hidden, splits, block.bottleneck, activation())
        self.project = ConvNorm(hidden, block.channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.project(self.attention(self.depthwise(self.expand(images))))
        return features + images if self.adds_input else features


def build_block(block: BlockSpec, gate: str) -> nn.Module:
    """The module of a block; a bypass is the identity, or a 1x1 convolution where the shape changes."""
    if block.kernel:
        return MBConv(block, gate)
    if block.keeps_shape:
        return nn.Identity()
    return ConvNorm(block.in_channels, block.channels, 1, block.stride)


class Network(nn.Module):
    """A network built from its spec, with fresh weights.

    Args:
        spec: the network; kept as `self.spec`.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        stem, head = spec.stem, spec.head
        self.stem = ConvNorm(spec.in_channels, stem.channels, stem.kernel, stem.stride, activation=stem.activation)
        self.blocks = nn.Sequential(*(build_block(block, spec.gate) for block in spec.blocks))
        self.head = ConvNorm(spec.last_channels, spec.head_hidden, 1, activation=head.activation)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head_project: nn.Module = nn.Identity()
        if head.kind == "ir_pool":
            # The published networks pool again over the 1x1 map that this gives; that changes nothing here.
            self.head_project = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(spec.head_hidden, head.channels, 1, bias=False),
                    act=ACTIVATION_MODULES[head.activation](),
                )
            )
        self.classifier = nn.Linear(head.channels, spec.num_classes)
        initialise_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W)."""
        features = self.pool(self.head(self.blocks(self.stem(images))))
        return self.classifier(self.head_project(features).flatten(1))


def build_network(spec: NetworkSpec) -> Network:
    """The standalone network of a spec, with fresh weights from torch's default generator."""
    return Network(spec)
