"""A budget of one's own: milliseconds measured on this machine, block by block, in place of multiply-adds.

    python examples/own_cost.py

Each of the 324 blocks that the space `tiny` can make is timed once, which takes a few seconds. Their sum is the cost of
a network, and a search for scikit-learn's digits keeps within the time of half of all networks. Expect a network within
that budget by the table; the last line times it whole, which differs from the sum by what a table of blocks does not
see, and by what else the machine does.
"""

import functools
import statistics
import time

import torch
from torch import nn

import fpnas
from fpnas.cost.table import build_cost_table
from fpnas.network_spec import BlockSpec
from fpnas.nn.network import build_block
from fpnas.space_summary import uniform_costs

CALLS = 5


def time_ns(module: nn.Module, images: torch.Tensor) -> int:
    """Nanoseconds of a forward pass: the least of a few."""
    module.eval()
    times = []
    with torch.inference_mode():
        for _ in range(CALLS):
            begin = time.perf_counter_ns()
            module(images)
            times.append(time.perf_counter_ns() - begin)
    return min(times)


@functools.cache  # a cost has to be the same at every call, and a measurement is not
def block_ns(block: BlockSpec) -> int:
    """Nanoseconds of a block, for one image."""
    images = torch.zeros(1, block.in_channels, block.in_size, block.in_size)
    return time_ns(build_block(block, gate="sigmoid"), images)


LATENCY = fpnas.Cost("latency", "ns", stem=lambda spec: 100_000, block=block_ns, head=lambda spec: 100_000)


def main() -> None:
    """Measure, set a budget, search, measure again."""
    torch.set_num_threads(1)
    space = fpnas.load_space("tiny")
    costs = build_cost_table(space, cost=LATENCY)
    budget = int(statistics.median(uniform_costs(space, costs).tolist()))
    print(f"{block_ns.cache_info().misses} blocks: {costs.minimum() / 1e6:.2f} to {costs.maximum() / 1e6:.2f} ms")
    print(f"budget {budget} ns, that of half of the networks")
    result = fpnas.search(
        space, "digits", cost=LATENCY, target=budget, epochs=8, warmup_epochs=2, threads=1, quiet=True
    )
    print(f"found {LATENCY(result.network)} ns by the table, {100 * result.budget_share:.1f}% of the budget")
    whole_ns = time_ns(fpnas.build(result.network), torch.zeros(1, 1, 8, 8))
    print(f"timed whole: {whole_ns / 1e6:.2f} ms, for {result.macs:,} multiply-adds")


if __name__ == "__main__":
    main()
