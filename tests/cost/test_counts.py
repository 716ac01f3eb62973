"""Analytic costs against torch's own counter and the parameters of the network that is built."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sampled import uniform_specs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fpnas.cost import block_cost, network_cost
from fpnas.network_file import load_network
from fpnas.network_spec import BlockSpec, NetworkSpec
from fpnas.nn.network import ConvNorm, build_network
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space

DATA = Path(__file__).parents[1] / "data"

# Beside each space's own input: sizes at which no stride divides evenly, and other channels and classes.
OTHER_INPUTS = {"tiny": 11, "fbnetv2-f-32": 17, "fbnetv2-f-32-fine": 17, "fbnetv2-fpp-32": 17}
ODD_SIZE = 75


def _check_against_the_built_network(spec: NetworkSpec, *other_sizes: int) -> None:
    cost = network_cost(spec)
    with torch.device("meta"):  # shapes are all that is counted
        network = build_network(spec).eval()
    assert cost.params == sum(p.numel() for p in network.parameters())
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert cost.weights == sum(layer.weight.numel() for layer in layers)
    # The counter counts nothing for batch norm, which takes nine tenths of the time on this device.
    for module in list(network.modules()):
        if isinstance(module, ConvNorm):
            module.norm = nn.Identity()
    for size in (spec.input_size, *other_sizes):
        cost = network_cost(spec.at_input_size(size))
        images = torch.zeros(1, spec.in_channels, size, size, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(images)
        assert 2 * (cost.macs - cost.pool_macs) == counter.get_total_flops()


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("name", builtin_space_names())
def test_200_random_architectures_at_two_input_sizes(name: str, part: int) -> None:
    data = {"in_channels": (1, 3)[part % 2], "num_classes": (10, 1000)[part // 2]}
    for spec in uniform_specs(load_space(name), 50, seed=part, **data):
        _check_against_the_built_network(spec, OTHER_INPUTS.get(name, ODD_SIZE))


@pytest.mark.parametrize("name", ["fbnetv2-f1", "fbnetv2-f4"])
def test_published_networks(name: str) -> None:
    _check_against_the_built_network(load_network(DATA / f"{name}.json"), ODD_SIZE)


def _pooled_elements(spec: NetworkSpec) -> int:
    """Elements that go into global average pools, from the shapes a forward pass shows to hooks."""
    network = build_network(spec).eval()
    seen: list[int] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        # Squeeze-excite pools its input; split attention the sum of its splits, which has the output's shape. The
        # network pools what its head gives.
        seen.append(output.numel())

    for name, module in network.named_modules():
        if name == "head" or (name.endswith(".attention") and not isinstance(module, nn.Identity)):
            module.register_forward_hook(hook)
    with torch.no_grad():
        network(torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size))
    # The published networks' second pool over the 1x1 map, one element per head channel.
    return sum(seen) + (spec.head.channels if spec.head.kind == "ir_pool" else 0)


@pytest.mark.parametrize("name", builtin_space_names())
def test_pools_count_their_input_elements(name: str) -> None:
    for spec in uniform_specs(load_space(name), 5, seed=1, input_size=OTHER_INPUTS.get(name, ODD_SIZE)):
        assert network_cost(spec).pool_macs == _pooled_elements(spec)


def test_pools_of_a_published_network() -> None:
    spec = load_network(DATA / "fbnetv2-f1.json").at_input_size(33)
    assert network_cost(spec).pool_macs == _pooled_elements(spec)


def test_a_block_written_out() -> None:
    # 24 -> 72 (1x1 at 9 pixels) -> 5x5 depthwise, 2 splits, stride 2 -> attention 72 -> 24 -> 144 -> 40 channels
    block = BlockSpec(5, "relu", 2, 3.0, in_channels=24, channels=40, stride=2, in_size=9)
    cost = block_cost(block)
    expand, depthwise, squeeze, excite, project = 24 * 72, 25 * 144, 72 * 24, 24 * 144, 72 * 40
    assert cost.pool_macs == 72 * 25
    assert cost.macs == expand * 81 + depthwise * 25 + squeeze + excite + project * 25 + 72 * 25
    assert cost.weights == expand + depthwise + squeeze + excite + project
    assert cost.params == cost.weights + 2 * (72 + 144 + 40) + 24 + 144


def test_a_bypass_costs_nothing_or_one_convolution() -> None:
    same = block_cost(BlockSpec(0, "relu", 1, 3.0, 24, 24, stride=1, in_size=9))
    assert (same.macs, same.weights, same.params) == (0, 0, 0)
    other = block_cost(BlockSpec(0, "relu", 1, 3.0, 24, 32, stride=2, in_size=9))
    assert (other.macs, other.weights, other.params) == (24 * 32 * 25, 24 * 32, 24 * 32 + 64)


def test_more_splits_cost_in_proportion_as_published() -> None:
    """FP-NAS, Table 7: splits 2 and 4 instead of squeeze-excite add +7/+21M, +11/+32M, +22/+67M: 1 to 3."""
    costs = {s: block_cost(BlockSpec(5, "relu", s, 3.0, 24, 40, 1, 9)).macs for s in (1, 2, 4)}
    assert costs[4] - costs[1] == 3 * (costs[2] - costs[1]) > 0


def test_parts_are_named_in_order_and_add_up() -> None:
    spec = uniform_specs(load_space("tiny"), 1)[0]
    cost = network_cost(spec)
    assert [part.name for part in cost.parts] == ["stem", *(f"block {i}" for i in range(1, 6)), "head"]
    for field in ("macs", "pool_macs", "weights", "params"):
        assert getattr(cost, field) == sum(getattr(part, field) for part in cost.parts)
