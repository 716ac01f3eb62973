"""Standalone networks: parts against slow written-out references, forms of the bypass, activations."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sampled import uniform_specs
from torch import Tensor, nn

from fpnas.network_file import load_network
from fpnas.network_spec import BlockSpec
from fpnas.nn.network import ConvNorm, MBConv, build_block, build_network
from fpnas.nn.ops import Convolution
from fpnas.nn.split_attention import SplitAttention
from fpnas.space import ACTIVATIONS
from fpnas.space_file import load_space

DATA = Path(__file__).parents[1] / "data"


def _relu(value: float) -> float:
    return max(0.0, value)


def _swish(value: float) -> float:
    return value / (1 + math.exp(-value))


def _hswish(value: float) -> float:
    return value * min(6.0, max(0.0, value + 3)) / 6


WRITTEN_OUT = {"relu": _relu, "swish": _swish, "hswish": _hswish}


def _random(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("splits", [2, 3, 4])
def test_split_attention_written_out(splits: int) -> None:
    batch, channels, size, bottleneck = 2, 5, 3, 4
    module = _random(SplitAttention(channels, splits, bottleneck, nn.ReLU()))
    assert isinstance(module, SplitAttention)
    images = torch.randn(batch, splits * channels, size, size, dtype=torch.float64)
    got = module(images)
    w1, w2 = module.fc1.weight[:, :, 0, 0], module.fc2.weight[:, :, 0, 0]
    assert module.fc1.bias is not None and module.fc2.bias is not None
    for b in range(batch):
        # Filters of a channel lie side by side: map of channel c and split s is c * splits + s.
        pooled = [sum(images[b, c * splits + s].sum().item() for s in range(splits)) / size**2 for c in range(channels)]
        hidden = [
            max(0.0, sum(w1[j, c].item() * pooled[c] for c in range(channels)) + module.fc1.bias[j].item())
            for j in range(bottleneck)
        ]
        for c in range(channels):
            logits = [
                sum(w2[c * splits + s, j].item() * hidden[j] for j in range(bottleneck))
                + module.fc2.bias[c * splits + s].item()
                for s in range(splits)
            ]
            total = sum(math.exp(logit) for logit in logits)
            expected = torch.zeros(size, size, dtype=torch.float64)
            for s in range(splits):
                expected += math.exp(logits[s]) / total * images[b, c * splits + s]
            torch.testing.assert_close(got[b, c], expected)


def _conv_norm(images: Tensor, layer: nn.Module) -> Tensor:
    """Convolution and batch norm in inference mode, from the definition."""
    assert isinstance(layer, ConvNorm)
    conv, norm = layer.conv, layer.norm
    features = F.conv2d(images, conv.weight, None, conv.stride, conv.padding, groups=conv.groups)
    mean, var, weight, bias = (
        t[None, :, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (features - mean) / torch.sqrt(var + 1e-5) * weight + bias


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_squeeze_excite_block_written_out(activation: str, gate: str) -> None:
    block = BlockSpec(5, activation, 1, 1.5, in_channels=16, channels=16, stride=1, in_size=5)
    module = _random(MBConv(block, gate)).eval()
    images = torch.randn(2, 16, 5, 5, dtype=torch.float64)

    def activate(values: Tensor) -> Tensor:
        return values.clone().apply_(WRITTEN_OUT[activation])

    with torch.no_grad():
        assert isinstance(module.expand, nn.Module) and isinstance(module.attention, nn.Module)
        features = activate(_conv_norm(images, module.expand))
        features = activate(_conv_norm(features, module.depthwise))
        fc1, fc2 = module.attention.fc1, module.attention.fc2
        pooled = features.sum((2, 3)) / 25
        hidden = activate(pooled @ fc1.weight[:, :, 0, 0].T + fc1.bias)
        logits = hidden @ fc2.weight[:, :, 0, 0].T + fc2.bias
        opened = 1 / (1 + torch.exp(-logits)) if gate == "sigmoid" else ((logits + 3) / 6).clamp(0, 1)
        expected = _conv_norm(features * opened[:, :, None, None], module.project) + images
        torch.testing.assert_close(module(images), expected)
    assert fc1.out_channels == block.bottleneck == 8


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    layer = ConvNorm(1, 1, 1, activation=activation).double().eval()
    nn.init.ones_(layer.conv.weight)
    values = torch.linspace(-7, 7, 57, dtype=torch.float64)[None, None, None]
    expected = (values / math.sqrt(1 + 1e-5)).apply_(WRITTEN_OUT[activation])
    torch.testing.assert_close(layer(values), expected)


@pytest.mark.parametrize(
    ("in_channels", "channels", "stride", "is_identity"),
    [(24, 24, 1, True), (24, 32, 1, False), (24, 24, 2, False), (24, 32, 2, False), (24, 24, 4, False)],
)
@pytest.mark.parametrize("size", [5, 8])
def test_a_bypass_is_the_identity_only_where_the_shape_stays(
    in_channels: int, channels: int, stride: int, is_identity: bool, size: int
) -> None:
    block = BlockSpec(0, "relu", 4, 3.0, in_channels, channels, stride, size)
    module = build_block(block, "sigmoid").eval()
    images = torch.randn(2, in_channels, size, size)
    features = module(images)
    assert features.shape == (2, channels, block.out_size, block.out_size)
    if is_identity:
        assert torch.equal(features, images) and not list(module.parameters())
    else:
        assert isinstance(module, ConvNorm) and not hasattr(module, "act")
        expected = _conv_norm(images[:, :, ::stride, ::stride], _without_stride(module))
        torch.testing.assert_close(features, expected)


def _without_stride(layer: ConvNorm) -> ConvNorm:
    """The same 1x1 convolution without its stride."""
    copy = ConvNorm(layer.conv.in_channels, layer.conv.out_channels, 1)
    copy.load_state_dict(layer.state_dict())
    return copy.eval()


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 4, 7, 10])
def test_sizes_are_rounded_up(kernel: int, stride: int, size: int) -> None:
    block = BlockSpec(kernel, "relu", 2, 1.5, 8, 16, stride, size)
    shape = build_block(block, "sigmoid").eval()(torch.zeros(1, 8, size, size)).shape
    assert shape == (1, 16, -(-size // stride), -(-size // stride))


def test_a_residual_needs_equal_widths_and_stride_1() -> None:
    for channels, stride, adds in [(16, 1, True), (24, 1, False), (16, 2, False)]:
        module = MBConv(BlockSpec(3, "relu", 0, 1.0, 16, channels, stride, 4)).eval()
        nn.init.zeros_(module.project.norm.weight)
        images = torch.randn(1, 16, 4, 4)
        features = module(images)
        assert torch.equal(features, images) if adds else not features.any()


def test_no_expansion_where_the_hidden_width_is_the_input_s() -> None:
    assert isinstance(MBConv(BlockSpec(3, "relu", 0, 1.0, 16, 24, 1, 4)).expand, nn.Identity)
    assert isinstance(MBConv(BlockSpec(3, "relu", 0, 1.0, 12, 24, 1, 4)).expand, ConvNorm)


@pytest.mark.parametrize("name", ["fbnetv2-f1", "fbnetv2-f4"])
def test_published_networks_run(name: str) -> None:
    spec = load_network(DATA / f"{name}.json").at_input_size(33)
    network = build_network(spec).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, 33, 33))
    assert logits.shape == (2, 1000) and logits.isfinite().all()
    assert isinstance(network.head_project, nn.Sequential)


def test_one_seed_one_network_and_sound_scales() -> None:
    spec = uniform_specs(load_space("fbnetv2-f-32"), 1)[0]
    torch.manual_seed(3)
    first = build_network(spec)
    torch.manual_seed(3)
    second = build_network(spec)
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    weight = first.head.conv.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / weight.shape[0]), rel=0.05)
    logits = first.train()(torch.randn(8, 1, 28, 28))
    assert 0.05 < logits.std().item() < 5


# Convolutions that are computed in another way in training


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (1, 6), (3, 1), (3, 6), (5, 6)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 9])
def test_convolutions_in_training_are_those_of_torch(kernel: int, groups: int, stride: int, side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 6, side, side, generator=generator, dtype=torch.float64, requires_grad=True)
    layer = Convolution(6, 12, kernel, stride, groups=groups).double()
    found = layer(images)
    expected = F.conv2d(images, layer.weight, stride=stride, padding=kernel // 2, groups=groups)
    upstream = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(found, (images, layer.weight), upstream),
        torch.autograd.grad(expected, (images, layer.weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel", "groups", "other_way"), [(5, 4, "aten::constant_pad_nd"), (1, 1, "aten::linear")])
def test_they_are_plain_convolutions_outside_of_training(kernel: int, groups: int, other_way: str) -> None:
    layer = Convolution(4, 4, kernel, groups=groups)
    for training in (True, False):
        with torch.profiler.profile() as profile:
            layer.train(training)(torch.randn(2, 4, 4, 4))
        assert (other_way in {event.key for event in profile.key_averages()}) == training
