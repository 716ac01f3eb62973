"""Whatever is chosen, of whatever space: it resolves, builds, runs, costs what is said, and goes through its files."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from fpnas.architecture import Architecture, architecture_from_json, architecture_to_json
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.network_file import network_from_json, network_to_json
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.network import build_network
from fpnas.space import SearchSpace, builtin_space_names
from fpnas.space_file import load_space


@dataclass(frozen=True)
class Chosen:
    """An architecture of a space, and the network it stands for at some input."""

    space: SearchSpace
    architecture: Architecture
    data: dict[str, int]

    @property
    def spec(self) -> NetworkSpec:
        return resolve(self.space, self.architecture, **self.data)


@st.composite
def chosen(draw: st.DrawFn, most_pixels: int = 300) -> Chosen:
    """Any architecture of any space of the package, for any data that fits it."""
    space = load_space(draw(st.sampled_from(builtin_space_names())))
    rows = [[draw(st.integers(0, size - 1)) for size in sizes] for sizes in space.cardinalities]
    smallest = space.total_stride
    data = {
        "input_size": draw(st.integers(smallest, max(smallest, most_pixels))),
        "in_channels": draw(st.sampled_from((1, 3))),
        "num_classes": draw(st.integers(2, 200)),
    }
    return Chosen(space, Architecture.of(rows), data)


def _settings(examples: int) -> Any:
    # The same examples on every machine and in every run.
    ignored = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=ignored)


@_settings(40)
@given(chosen(most_pixels=48))
def test_it_builds_runs_and_costs_what_is_said(any_choice: Chosen) -> None:
    spec = any_choice.spec
    network = build_network(spec).eval()
    cost = network_cost(spec)
    assert cost.params == sum(p.numel() for p in network.parameters())
    images = torch.randn(2, spec.in_channels, spec.input_size, spec.input_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network(images)
    assert logits.shape == (2, spec.num_classes) and logits.isfinite().all()
    assert counter.get_total_flops() == 2 * 2 * (cost.macs - cost.pool_macs)


@_settings(150)
@given(chosen())
def test_the_table_knows_its_cost(any_choice: Chosen) -> None:
    table = build_cost_table(any_choice.space, **any_choice.data)
    cost = table.cost(torch.tensor([any_choice.architecture.indices])).item()
    assert cost == network_cost(any_choice.spec).macs
    assert table.minimum() <= cost <= table.maximum()


@_settings(150)
@given(chosen())
def test_it_goes_through_its_files(any_choice: Chosen) -> None:
    space, spec = any_choice.space, any_choice.spec
    content = json.loads(json.dumps(architecture_to_json(space, any_choice.architecture)))
    assert architecture_from_json(space, content, "a") == any_choice.architecture
    again = network_from_json(json.loads(json.dumps(network_to_json(spec))), "n")
    assert again == spec and network_cost(again) == network_cost(spec)


@_settings(50)
@given(chosen(), st.sampled_from(("digest", "version")), st.sampled_from(builtin_space_names()))
def test_a_file_of_another_version_or_space_is_refused_by_name(any_choice: Chosen, what: str, other: str) -> None:
    space = any_choice.space
    content = architecture_to_json(space, any_choice.architecture)
    network = network_to_json(any_choice.spec)
    if what == "version":
        content["format"], network["format"] = "fpnas.architecture/2", "fpnas.network/2"
        with pytest.raises(UserError, match=r"^n: format = 'fpnas\.network/2'"):
            network_from_json(network, "n")
        with pytest.raises(UserError, match=r"^a: format = 'fpnas\.architecture/2'"):
            architecture_from_json(space, content, "a")
    elif load_space(other).digest != space.digest:
        with pytest.raises(UserError, match=rf"^a: digest = '{space.digest}': space {other} has "):
            architecture_from_json(load_space(other), content, "a")
