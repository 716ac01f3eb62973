"""Look-ups of costs against walks over the spec, and extremes against enumeration."""

import math
from dataclasses import replace

import pytest
import torch
from enumeration import all_indices, enumerated_probabilities, random_distribution, random_tied
from sampled import uniform_indices

from fpnas.architecture import Architecture, all_architectures
from fpnas.cost import COSTS, Cost, network_cost
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized, Joint
from fpnas.errors import UserError
from fpnas.network_spec import BlockSpec, resolve
from fpnas.space import builtin_space_names, one_group_per_block
from fpnas.space_file import load_space


@pytest.mark.parametrize(("in_channels", "num_classes"), [(3, 1000), (1, 10)])
@pytest.mark.parametrize("scale", [1, 1.7])
@pytest.mark.parametrize("name", builtin_space_names())
def test_look_ups_equal_walks(name: str, scale: float, in_channels: int, num_classes: int) -> None:
    space = load_space(name)
    data = {"input_size": int(space.input_size * scale), "in_channels": in_channels, "num_classes": num_classes}
    indices_KGV = uniform_indices(space, 100)
    walked = [network_cost(resolve(space, Architecture.of(row), **data)).macs for row in indices_KGV]
    looked_up = build_cost_table(space, **data).cost(indices_KGV)
    assert looked_up.dtype == torch.int64 and looked_up.tolist() == walked


@pytest.mark.parametrize("space_name", ["tiny", "fbnetv2-fpp"])
@pytest.mark.parametrize("name", sorted(COSTS))
def test_every_cost_that_comes_with_the_package(name: str, space_name: str) -> None:
    space = load_space(space_name)
    indices_KGV = uniform_indices(space, 100)
    specs = [resolve(space, Architecture.of(row)) for row in indices_KGV]
    walked = [getattr(network_cost(spec), name) for spec in specs]
    assert build_cost_table(space, cost=COSTS[name]).cost(indices_KGV).tolist() == walked
    assert [COSTS[name](spec) for spec in specs] == walked


def _picky(block: BlockSpec) -> int:
    """A cost that no array arithmetic gives, different for every block."""
    if block.activation == "swish" and block.kernel:
        return 10**9 + block.hidden * block.bottleneck
    numbers = (block.kernel, block.splits, block.in_channels, block.channels, block.stride, block.in_size)
    return math.prod(7 + 3 * i + number for i, number in enumerate(numbers)) + round(100 * block.expansion)


@pytest.mark.parametrize("name", ["tiny", "fbnetv2-f-32"])
def test_a_cost_of_one_s_own_asked_block_by_block(name: str) -> None:
    space = load_space(name)
    asked: list[BlockSpec] = []

    def block_cost(block: BlockSpec) -> int:
        asked.append(block)
        return _picky(block)

    cost = Cost("picky", "points", stem=lambda spec: 5, block=block_cost, head=lambda spec: 3 * spec.last_channels)
    table = build_cost_table(space, input_size=16, cost=cost)
    assert len(asked) == len(set(asked)), "a block was asked for twice"
    indices_KGV = uniform_indices(space, 100)
    for row, looked_up in zip(indices_KGV, table.cost(indices_KGV).tolist(), strict=True):
        spec = resolve(space, Architecture.of(row), input_size=16)
        assert looked_up == cost(spec) == 5 + sum(map(_picky, spec.blocks)) + 3 * spec.last_channels


@pytest.mark.parametrize("part", ["stem", "block", "head"])
def test_fractions_are_refused_where_they_would_be_cut_off(part: str) -> None:
    cost = replace(COSTS["macs"], takes_arrays=False, **{part: lambda anything: 0.5})
    with pytest.raises(UserError, match=r"cost macs: it gives values of type float64: whole numbers of its unit"):
        build_cost_table(load_space("tiny"), cost=cost)


@pytest.mark.parametrize("kind", [Factorized, Joint])
def test_the_expected_cost_equals_enumeration(kind: type[Factorized] | type[Joint]) -> None:
    space = load_space("tiny")
    everything = torch.tensor([architecture.indices for architecture in all_architectures(space)])
    distribution = random_distribution(kind, space.cardinalities)
    table = build_cost_table(space, input_size=9)
    exact = enumerated_probabilities(distribution) @ table.cost(everything).numpy()
    assert table.expected(distribution) == pytest.approx(exact, rel=1e-12)


def test_the_expected_cost_of_rows_whose_blocks_choose_alike_equals_enumeration() -> None:
    tiny = load_space("tiny")
    groups = one_group_per_block(tuple(replace(group, repeat=3) for group in tiny.groups[2:]))
    space = replace(tiny, share="block", groups=groups[:4])
    assert space.first_of_row == (0, 0, 0, 3)
    distribution = random_tied(space.cardinalities, space.first_of_row)
    table = build_cost_table(space)
    exact = enumerated_probabilities(distribution) @ table.cost(all_indices(space.cardinalities)).numpy()
    assert table.expected(distribution) == pytest.approx(exact, rel=1e-12)
    apart = table.expected(distribution.to_joint())
    assert abs(apart / exact - 1) > 1e-6  # the test would see a row whose blocks were drawn apart


@pytest.mark.parametrize("input_size", [8, 13])
def test_extremes_equal_enumeration(input_size: int) -> None:
    space = load_space("tiny")
    table = build_cost_table(space, input_size=input_size)
    everything = torch.tensor([architecture.indices for architecture in all_architectures(space)])
    costs = table.cost(everything)
    assert (table.minimum(), table.maximum()) == (costs.min().item(), costs.max().item())


@pytest.mark.parametrize("name", builtin_space_names())
def test_extremes_bound_samples(name: str) -> None:
    space = load_space(name)
    table = build_cost_table(space)
    costs = table.cost(uniform_indices(space, 5000))
    assert table.minimum() <= costs.min() and costs.max() <= table.maximum()


def test_an_input_too_small_is_refused() -> None:
    with pytest.raises(UserError, match=r"fbnetv2-f.*32"):
        build_cost_table(load_space("fbnetv2-f"), input_size=31)
