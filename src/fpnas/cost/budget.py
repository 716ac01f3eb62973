"""What a network may cost at most, in multiply-adds or any other cost."""

import hashlib

import numpy as np

from fpnas.architecture import Architecture
from fpnas.checks import shown
from fpnas.cost import COSTS, MACS, Cost
from fpnas.cost.table import CostTable, build_cost_table, uniform_indices
from fpnas.errors import UserError
from fpnas.network_spec import resolve
from fpnas.space import SearchSpace

__all__ = ["budget_table", "find_cost", "table_digest"]

_WALKED = 16


def find_cost(cost: Cost | str) -> Cost:
    """A cost itself, or the one of that name in the package.

    Raises:
        UserError: neither.
    """
    if isinstance(cost, Cost):
        return cost
    if isinstance(cost, str) and cost in COSTS:
        return COSTS[cost]
    whole = "; a function of whole networks has no table by blocks" if callable(cost) else ""
    raise UserError(f"cost = {shown(cost)}: one of {', '.join(COSTS)} or a Cost is accepted{whole}")


def budget_table(
    space: SearchSpace,
    target: int,
    *,
    given: str,
    cost: Cost = MACS,
    input_size: int | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
) -> CostTable:
    """The table of a cost, for a budget that some network meets.

    Args:
        space: the search space.
        target: most that a network may cost, in the unit of the cost.
        given: the target as it was written, with its name, for the message.
        cost: multiply-adds when left out. One of one's own is compared with walks over a few networks.
        input_size, in_channels, num_classes: of the data; the space's defaults when left out.

    Raises:
        UserError: no network is that cheap; the input is too small; the cost gives fractions or numbers below 0, or is
            no sum over parts that look at nothing but themselves.
    """
    data = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}
    costs = build_cost_table(space, cost=cost, **data)
    if cost not in COSTS.values():
        _check_own(space, cost, costs, data)
    if target < costs.minimum():
        unit = "MACs" if cost is MACS else cost.unit
        raise UserError(
            f"{given}: the smallest network of space {space.name} at {input_size or space.input_size} pixels "
            f"costs {costs.minimum()} {unit}; that or more is accepted"
        )
    return costs


def table_digest(costs: CostTable) -> str:
    """Tells whether a cost is still the one that it was: of every number of its table."""
    digest = hashlib.sha256(str(costs.prefix_cost).encode())
    for numbers in (*costs.table, costs.head):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()[:16]


def _check_own(space: SearchSpace, cost: Cost, costs: CostTable, data: dict[str, int | None]) -> None:
    if min(costs.prefix_cost, costs.head.min(), *(table.min() for table in costs.table)) < 0:
        raise UserError(f"cost {cost.name}: it gives a number below 0; 0 {cost.unit} or more is accepted")
    indices_KGV = uniform_indices(space, _WALKED)
    for indices_GV, looked_up in zip(indices_KGV, costs.look_up(indices_KGV).tolist(), strict=True):
        walked = cost(resolve(space, Architecture.of(indices_GV), **data))
        if walked != looked_up:
            raise UserError(
                f"cost {cost.name}: a network of space {space.name} costs {walked} {cost.unit}, its parts one by one "
                f"{looked_up}: a block's cost may depend on its BlockSpec alone, the stem's on no block, the head's on "
                "the last block's channels and size, and all must be the same at every call"
            )
