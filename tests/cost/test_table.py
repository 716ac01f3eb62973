"""Look-ups of costs against walks over the spec, and extremes against enumeration."""

from collections.abc import Callable

import pytest
import torch
from sampled import uniform_indices

from fpnas.architecture import Architecture, all_architectures
from fpnas.cost import BlockCost, network_cost
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.network_spec import resolve
from fpnas.space import builtin_space_names
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


@pytest.mark.parametrize("quantity", [lambda part: part.params, lambda part: part.weights])
def test_other_quantities(quantity: Callable[[BlockCost], int]) -> None:
    space = load_space("tiny")
    indices_KGV = uniform_indices(space, 100)
    costs = [network_cost(resolve(space, Architecture.of(row))) for row in indices_KGV]
    table = build_cost_table(space, quantity=quantity)
    assert table.cost(indices_KGV).tolist() == [sum(map(quantity, cost.parts)) for cost in costs]


@pytest.mark.parametrize("input_size", [8, 13])
def test_extremes_equal_enumeration(input_size: int) -> None:
    space = load_space("tiny")
    table = build_cost_table(space, input_size=input_size)
    everything = torch.tensor([architecture.indices for architecture in all_architectures(space)])
    costs = table.cost(everything)
    assert (table.minimum(), table.maximum()) == (costs.min().item(), costs.max().item())


@pytest.mark.parametrize("name", ["fbnetv2-f", "fbnetv2-f-32"])
def test_extremes_bound_samples(name: str) -> None:
    space = load_space(name)
    table = build_cost_table(space)
    costs = table.cost(uniform_indices(space, 5000))
    assert table.minimum() <= costs.min() and costs.max() <= table.maximum()


def test_an_input_too_small_is_refused() -> None:
    with pytest.raises(UserError, match=r"fbnetv2-f.*32"):
        build_cost_table(load_space("fbnetv2-f"), input_size=31)
