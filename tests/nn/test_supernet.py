"""The supernet under a spec is the network of that spec: logits, gradients, statistics, memory."""

from collections.abc import Iterator
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from sampled import uniform_specs
from torch import Tensor, nn
from varied import NUM_CLASSES, normal_images, varied_supernet

from fpnas.architecture import Architecture
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.activation_memory import saved_activation_bytes
from fpnas.nn.network import ConvNorm, Network
from fpnas.nn.supernet import SuperBlock, SuperNet
from fpnas.space_file import load_space, parse_space

# Architectures per space and the smallest inputs that use every stride.
SAMPLES = {"tiny": (200, 8), "fbnetv2-f-32": (200, 16), "fbnetv2-f": (10, 32), "fbnetv2-fpp": (30, 32)}

# Every kernel, activation and number of splits of one block; and a group whose shape never changes.
EVERY_CHOICE = """
format = "fpnas.space/1"
name = "every-choice"
source = "a test"
input_size = 6
in_channels = 1
share = "block"
stem = { kernel = 3, channels = 16, stride = 1, activation = "hswish" }
head = { kind = "conv", channels = 24, activation = "hswish" }

[[group]]
kernel = [0, 3, 5, 7]
activation = ["relu", "swish", "hswish"]
splits = [0, 1, 2, 4]
expansion = [0.75, 1, 3]
channels = [8, 24]
repeat = 1
stride = 2

[[group]]
kernel = [0, 3]
activation = "relu"
splits = [0, 4]
expansion = 2
channels = 24
repeat = 2
stride = 1
"""


def _supernet(name: str, dtype: torch.dtype = torch.float32) -> SuperNet:
    return varied_supernet(parse_space(EVERY_CHOICE, "s") if name == "every-choice" else load_space(name), dtype)


def _specs(supernet: SuperNet, number: int, input_size: int) -> list[NetworkSpec]:
    return uniform_specs(supernet.space, number, input_size=input_size, in_channels=1, num_classes=NUM_CLASSES)


def _pairs(
    supernet: SuperNet, network: Network, spec: NetworkSpec
) -> Iterator[tuple[str, Tensor, tuple[slice, ...], Tensor]]:
    """Name of a supernet's tensor, the tensor, its part that is used, the network's tensor.

    Written apart from the supernet's own slicing: the leading widths follow from the network's shapes alone.
    """
    targets = dict(network.named_parameters()) | dict(network.named_buffers())
    names = {}
    for name in targets:
        source = name
        for number, block in enumerate(spec.blocks):
            prefix = f"blocks.{number}."
            if not name.startswith(prefix):
                continue
            rest = name.removeprefix(prefix)
            if isinstance(network.blocks[number], ConvNorm):
                source = f"{prefix}bypass.{rest}"
            elif rest.startswith("depthwise."):
                source = f"{prefix}depthwise.kernel{block.kernel}_splits{block.splits}.{rest[10:]}"
            elif rest.startswith("attention."):
                source = f"{prefix}attention.splits{block.splits}.{rest[10:]}"
        names[source] = name
    sources = dict(supernet.named_parameters()) | dict(supernet.named_buffers())
    for source, name in names.items():
        if name.endswith("num_batches_tracked"):
            continue
        yield source, sources[source], tuple(slice(size) for size in targets[name].shape), targets[name]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_logits_equal_the_extracted_network_s(name: str) -> None:
    number, input_size = SAMPLES[name]
    # In float32 what is computed as a matrix product on one side alone is rounded otherwise.
    supernet, images = _supernet(name, torch.float64), normal_images(input_size, dtype=torch.float64)
    for spec in _specs(supernet, number, input_size):
        for mode in (False, True):
            supernet.train(mode)
            network = supernet.extract(spec)
            assert network.training is mode and network.spec == spec
            with torch.no_grad():
                torch.testing.assert_close(supernet(images, spec), network(images), rtol=1e-10, atol=1e-10)


def test_every_choice_in_double_precision() -> None:
    supernet, images = _supernet("every-choice", torch.float64), normal_images(6, dtype=torch.float64)
    cardinalities = supernet.space.cardinalities
    for count, row in enumerate(product(*map(range, cardinalities[0]))):
        rest = ((count % 2, 0, count // 2 % 2, 0, 0), (count // 3 % 2, 0, count // 5 % 2, 0, 0))
        spec = resolve(supernet.space, Architecture((row, *rest)), num_classes=NUM_CLASSES)
        supernet.train(count % 2 == 0)
        network = supernet.extract(spec)
        with torch.no_grad():
            torch.testing.assert_close(supernet(images, spec), network(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_gradients_and_statistics_equal_and_nothing_else_is_touched(name: str) -> None:
    number, input_size = SAMPLES[name]
    # Double precision: a mistake in the slices shows, rounding amplified by batch norm over few values does not.
    supernet, images = _supernet(name, torch.float64).train(), normal_images(input_size, dtype=torch.float64)
    labels = torch.tensor([1, 7, 3, 0])
    for spec in _specs(supernet, min(number, 200 if name == "tiny" else 30), input_size):
        network = supernet.extract(spec)
        before = {key: value.clone() for key, value in supernet.named_buffers()}
        supernet.zero_grad(set_to_none=True)
        F.cross_entropy(supernet(images, spec), labels).backward()
        F.cross_entropy(network(images), labels).backward()
        used = set()
        for source, tensor, part, target in _pairs(supernet, network, spec):
            used.add(source)
            if isinstance(tensor, nn.Parameter):
                assert tensor.grad is not None and target.grad is not None
                torch.testing.assert_close(tensor.grad[part], target.grad, rtol=1e-6, atol=1e-9, msg=source)
                tensor.grad[part] = 0
                assert not tensor.grad.any(), source
            else:
                torch.testing.assert_close(tensor[part], target, rtol=1e-9, atol=1e-9, msg=source)
                before[source][part] = tensor[part]
                assert torch.equal(tensor, before[source]), source
        for source, parameter in supernet.named_parameters():
            assert source in used or parameter.grad is None or not parameter.grad.any(), source
        for source, buffer in supernet.named_buffers():
            assert source in used or torch.equal(buffer, before[source]), source


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["tiny", "fbnetv2-f-32"])
def test_saved_activations_are_those_of_one_network(name: str, memory_format: torch.memory_format) -> None:
    input_size = SAMPLES[name][1]
    supernet = _supernet(name).to(memory_format=memory_format)
    images = normal_images(input_size).to(memory_format=memory_format)
    for spec in _specs(supernet, 40, input_size):
        network = supernet.extract(spec).to(memory_format=memory_format)
        assert saved_activation_bytes(supernet, images, spec) <= saved_activation_bytes(network, images)


def test_the_largest_space_trains_at_its_own_size_in_the_memory_of_one_network() -> None:
    space = load_space("fp-nas-l2")
    supernet = SuperNet(space, 3, 1000)
    (spec,) = uniform_specs(space, 1)
    images = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    loss = F.cross_entropy(supernet(images, spec), torch.tensor([1, 999]))
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in supernet.parameters())
    supernet.zero_grad(set_to_none=True)
    network = supernet.extract(spec)
    assert saved_activation_bytes(supernet, images, spec) == saved_activation_bytes(network, images)


def test_every_weight_is_of_use() -> None:
    """A weight that no architecture uses is memory for nothing."""
    for name in ("tiny", "every-choice"):
        supernet = _supernet(name)
        images = normal_images(8)
        for spec in _specs(supernet, 300, 8):
            supernet(images, spec).sum().backward()
        unused = [key for key, parameter in supernet.named_parameters() if parameter.grad is None]
        assert unused == []


def test_sharing_is_as_documented() -> None:
    """Numbers of splits share neither depthwise filters nor attention."""
    supernet = _supernet("tiny")
    block = supernet.blocks[1]
    assert sorted(block.depthwise) == [f"kernel{k}_splits{s}" for k, s in product((3, 5), (0, 1, 2, 4))]
    assert sorted(block.attention) == ["splits1", "splits2", "splits4"]


def test_an_extracted_network_is_a_copy() -> None:
    supernet = _supernet("tiny").eval()
    spec, images = _specs(supernet, 1, 8)[0], normal_images(8)
    network = supernet.extract(spec)
    before = network(images)
    for parameter in supernet.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(network(images), before)


def test_the_supernet_keeps_no_state_between_architectures() -> None:
    supernet = _supernet("tiny").eval()
    first, *others = _specs(supernet, 5, 8)
    images = normal_images(8)
    before = supernet(images, first)
    for spec in others:
        supernet(images, spec)
    assert torch.equal(supernet(images, first), before)


def test_a_shortcut_adds_the_bypass_where_the_shape_changes() -> None:
    supernet = _supernet("every-choice", torch.float64)
    for spec in _specs(supernet, 40, 6):
        images = normal_images(6, dtype=torch.float64)
        own = supernet(images, spec)
        supernet.shortcut = 0.5
        with_shortcut = supernet(images, spec)
        supernet.shortcut = 0.0
        reshapes = [block.kernel > 0 and not block.keeps_shape for block in spec.blocks]
        assert torch.equal(own, with_shortcut) != any(reshapes)
        block, module = spec.blocks[0], supernet.blocks[0]
        assert isinstance(module, SuperBlock)
        if block.kernel:
            features = torch.randn(2, block.in_channels, 6, 6, dtype=torch.float64)
            added = module(features, block, 0.5) - module(features, block)
            torch.testing.assert_close(added, 0.5 * module.bypass(features, block.channels, block.stride))


def test_other_heads_are_refused() -> None:
    text = EVERY_CHOICE.replace('kind = "conv"', 'kind = "ir_pool"')
    with pytest.raises(ValueError, match="ir_pool"):
        SuperNet(parse_space(text, "s"), 1, 10)
