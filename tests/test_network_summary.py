"""The rows of `fpnas cost`: what each part is, chained to its neighbours, adding up."""

import pytest
from sampled import uniform_specs

from fpnas.builtin_files import builtin_network_names, find_network
from fpnas.cost import network_cost
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.network_summary import describe_network
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space


def _check(spec: NetworkSpec) -> None:
    document = describe_network(spec)
    stem, *blocks, head = document["blocks"]
    assert (stem["in_channels"], stem["in_size"]) == (spec.in_channels, spec.input_size)
    for before, after in zip(document["blocks"], document["blocks"][1:], strict=False):
        assert after["in_channels"] == before["channels"]
        assert after["in_size"] == before["out_size"]
    for row, block in zip(blocks, spec.blocks, strict=True):
        kind = "mbconv" if block.kernel else "identity" if block.keeps_shape else "bypass"
        assert row["kind"] == kind
        assert (row["macs"] == 0) is (kind == "identity")
        if kind == "mbconv":
            for name in ("kernel", "activation", "splits", "hidden", "stride"):
                assert row[name] == getattr(block, name)
        else:
            assert (row["activation"], row["splits"], row["hidden"]) == (None, 0, None)
    assert head["kind"] == spec.head.kind
    cost = network_cost(spec)
    for name in ("macs", "params", "weights"):
        assert document[name] == getattr(cost, name) == sum(row[name] for row in document["blocks"])


@pytest.mark.parametrize("name", builtin_space_names())
def test_networks_of_every_space(name: str) -> None:
    for spec in uniform_specs(load_space(name), 20):
        _check(spec)


@pytest.mark.parametrize("name", builtin_network_names())
def test_published_networks(name: str) -> None:
    _check(load_network(find_network(name)))
