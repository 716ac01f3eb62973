"""Budgets in a cost of one's own: the table is what built networks have, and what has no table is refused."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from sampled import uniform_indices

from fpnas.architecture import Architecture
from fpnas.cost import COSTS, MACS, PARAMS, Cost
from fpnas.cost.budget import budget_table, find_cost, table_digest
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.network_spec import resolve
from fpnas.nn.build import build
from fpnas.space_file import load_space

SPACE = load_space("tiny")
ROWS = Cost("rows", "rows", stem=lambda spec: 1, block=lambda block: block.out_size, head=lambda spec: spec.last_size)
DATA: dict[str, Any] = {"input_size": 11, "in_channels": 3, "num_classes": 7}


def test_parameters_are_those_of_the_built_networks() -> None:
    table = budget_table(SPACE, 10**6, given="1M", cost=PARAMS, **DATA)
    rows = uniform_indices(SPACE, 40)
    for row, looked_up in zip(rows, table.cost(rows).tolist(), strict=True):
        network = build(resolve(SPACE, Architecture.of(row), **DATA))
        assert looked_up == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("cost", "unit"), [(MACS, "MACs"), (ROWS, "rows")])
def test_a_budget_that_nothing_meets_names_the_least(cost: Cost, unit: str) -> None:
    least = build_cost_table(SPACE, cost=cost, **DATA).minimum()
    assert budget_table(SPACE, least, given="it", cost=cost, **DATA).minimum() == least
    with pytest.raises(UserError) as error:
        budget_table(SPACE, least - 1, given="target so much", cost=cost, **DATA)
    smallest = f"the smallest network of space tiny at 11 pixels costs {least} {unit}"
    assert str(error.value) == f"target so much: {smallest}; that or more is accepted"


calls = itertools.count()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"head": lambda spec: spec.blocks[0].kernel}, "its parts one by one"),
        ({"stem": lambda spec: spec.blocks[1].channels}, "its parts one by one"),
        ({"block": lambda block: next(calls)}, "the same at every call"),
        ({"block": lambda block: -block.kernel}, "below 0"),
        ({"stem": lambda spec: -1}, "below 0"),
        ({"block": lambda block: block.expansion}, "whole numbers"),
        ({"head": lambda spec: None}, "whole numbers"),
    ],
)
def test_what_is_no_sum_of_parts_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        budget_table(SPACE, 10**9, given="1G", cost=replace(ROWS, **changed))
    assert "\n" not in str(error.value) and "cost rows" in str(error.value)


def test_a_cost_is_found_by_its_name_or_is_itself() -> None:
    assert [find_cost(name) for name in COSTS] == list(COSTS.values())
    assert find_cost(ROWS) is ROWS


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ("parameters", "'parameters': one of macs, weights, params or a Cost"),
        (7, "7: one of macs"),
        (lambda spec: 3, "a function of whole networks has no table"),
        (None, "None: one of"),
    ],
)
def test_what_is_no_cost_is_refused(cost: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        find_cost(cost)
    assert "\n" not in str(error.value)


def test_the_digest_tells_of_every_number() -> None:
    def digest(**changed: Any) -> str:
        return table_digest(build_cost_table(SPACE, cost=replace(ROWS, **changed)))

    one_block_more = digest(block=lambda block: block.out_size + (block.kernel == 5 and block.channels == 24))
    digests = [digest(), one_block_more, digest(stem=lambda spec: 2), digest(head=lambda spec: 3 * spec.last_size)]
    assert len(set(digests)) == 4 and digest() == digests[0] == digest(name="other")
