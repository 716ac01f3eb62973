"""The standalone network of a `NetworkSpec`: ordinary modules, no search code."""

from collections import OrderedDict

from timm.layers import DropPath, SqueezeExcite
from torch import Tensor, nn

from fpnas.network_spec import BlockSpec, NetworkSpec
from fpnas.nn.ops import ACTIVATION_MODULES, GATE_MODULES, Convolution, initialise_weights
from fpnas.nn.split_attention import SplitAttention

__all__ = ["ConvNorm", "MBConv", "Network", "build_block", "build_network"]


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
            conv=Convolution(inputs, outputs, kernel, stride, groups),
            norm=nn.BatchNorm2d(outputs),
        )
        if activation is not None:
            layers["act"] = ACTIVATION_MODULES[activation]()
        super().__init__(layers)


class MBConv(nn.Module):
    """Expand, depthwise, attention, project; the input is added where the shape stays.

    Source: FP-NAS, Table 2; MobileNetV2.
    """

    def __init__(self, block: BlockSpec, gate: str = "sigmoid", drop_path_rate: float = 0.0) -> None:
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
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate and self.adds_input else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        features = self.project(self.attention(self.depthwise(self.expand(images))))
        return self.drop_path(features) + images if self.adds_input else features


def build_block(block: BlockSpec, gate: str, drop_path_rate: float = 0.0) -> nn.Module:
    """The module of a block; a bypass is the identity, or a 1x1 convolution where the shape changes."""
    if block.kernel:
        return MBConv(block, gate, drop_path_rate)
    if block.keeps_shape:
        return nn.Identity()
    return ConvNorm(block.in_channels, block.channels, 1, block.stride)


class Network(nn.Module):
    """A network built from its spec, with fresh weights.

    Args:
        spec: the network; kept as `self.spec`.
        drop_rate: of the classifier's inputs, in training.
        drop_path_rate: of stochastic depth at the last block, in training; at the i-th of n blocks it is i/n of that.
    """

    def __init__(self, spec: NetworkSpec, *, drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        stem, head = spec.stem, spec.head
        self.stem = ConvNorm(spec.in_channels, stem.channels, stem.kernel, stem.stride, activation=stem.activation)
        rates = [drop_path_rate * index / max(1, len(spec.blocks)) for index in range(1, len(spec.blocks) + 1)]
        self.blocks = nn.Sequential(
            *(build_block(block, spec.gate, rate) for block, rate in zip(spec.blocks, rates, strict=True))
        )
        self.head = ConvNorm(spec.last_channels, spec.head_hidden, 1, activation=head.activation)
        self.head_project: nn.Module = nn.Identity()
        if head.kind == "ir_pool":
            # The published networks pool again over the 1x1 map that this gives; that changes nothing here.
            self.head_project = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(spec.head_hidden, head.channels, 1, bias=False),
                    act=ACTIVATION_MODULES[head.activation](),
                )
            )
        self.dropout = nn.Dropout(drop_rate)
        self.classifier: nn.Module = nn.Linear(head.channels, spec.num_classes)
        initialise_weights(self)

    def forward_features(self, images: Tensor) -> Tensor:
        """The last map (B, C, h, w), the head's convolution included, of normalised images (B, C, H, W)."""
        return self.head(self.blocks(self.stem(images)))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (B, classes) of the last map, or with `pre_logits` what the classifier is given."""
        # Not `AdaptiveAvgPool2d`, the same to the bit: for a map of one pixel older exporters write loops.
        pooled = features.mean((2, 3), keepdim=True)
        pooled = self.dropout(self.head_project(pooled).flatten(1))
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W)."""
        return self.forward_head(self.forward_features(images))


def build_network(spec: NetworkSpec, *, drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> Network:
    """The standalone network of a spec, with fresh weights from torch's default generator."""
    return Network(spec, drop_rate=drop_rate, drop_path_rate=drop_path_rate)
