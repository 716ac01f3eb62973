"""The rows of `fpnas cost`: what each part is, chained to its neighbours, adding up."""

from itertools import pairwise
from typing import Any

import pytest
from sampled import uniform_indices, uniform_specs

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.builtin_files import builtin_network_names, find_network
from fpnas.cost import network_cost
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.network_summary import describe_choices, describe_network
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


@pytest.mark.parametrize("name", builtin_space_names())
def test_choices_by_group_are_those_of_the_architecture(name: str) -> None:
    space = load_space(name)
    for indices in uniform_indices(space, 20):
        architecture = Architecture.of(indices)
        spec = resolve(space, architecture)
        stem, *rows, head = describe_choices(spec, [(group.name, group.repeat) for group in space.groups])
        chosen = architecture_to_json(space, architecture)["groups"]
        assert [
            {"name": row["group"]} | {field: row[field] for field in row if field in chosen[0]} for row in rows
        ] == chosen
        parts = iter(describe_network(spec)["blocks"])
        for row in (stem, *rows, head):
            assert row["macs"] == sum(next(parts)["macs"] for _ in range(row["blocks"]))
        assert next(parts, None) is None


@pytest.mark.parametrize("name", builtin_space_names())
def test_blocks_that_chose_alike_are_taken_together(name: str) -> None:
    def effect(row: dict[str, Any]) -> tuple[Any, ...]:
        fields = (
            ("channels", "kernel", "activation", "splits", "expansion") if row["kernel"] else ("channels", "kernel")
        )
        return tuple(row[field] for field in fields)

    for spec in uniform_specs(load_space(name), 20):
        rows = describe_choices(spec)[1:-1]
        blocks = [block for row in rows for block in [row] * row["blocks"]]
        assert [effect(row) for row in blocks] == [effect(vars(block)) for block in spec.blocks]
        assert all(effect(row) != effect(after) for row, after in pairwise(rows))
        ends = [(int(numbers[0]), int(numbers[-1])) for numbers in (row["group"].split("-") for row in rows)]
        assert [last - first + 1 for first, last in ends] == [row["blocks"] for row in rows]
        assert [first for first, _ in ends[1:]] == [last + 1 for _, last in ends[:-1]]
        assert sum(row["macs"] for row in describe_choices(spec)) == network_cost(spec).macs
