"""An objective of one's own: no images, no supernet, any number that a network can be given.

    python examples/own_objective.py

The objective here is to see far: the receptive field of a network of the space `tiny`, within 120,000 multiply-adds.
The space is small enough to try every architecture, so that the optimum is known. Expect the search to find it, 23
pixels, in a few seconds, after some 2,100 calls of the objective; the space has 73,728 architectures.
"""

import numpy as np

import fpnas
from fpnas.architecture import all_architectures
from fpnas.cost.table import build_cost_table
from fpnas.network_spec import NetworkSpec, resolve

BUDGET = 120_000


def receptive_field(network: NetworkSpec) -> int:
    """Side of the part of an image that one number of the last map depends on, pixels."""
    side, spacing = network.stem.kernel, network.stem.stride
    for block in network.blocks:
        side += (max(1, block.kernel) - 1) * spacing
        spacing *= block.stride
    return side


def known_optimum(space_name: str) -> int:
    """The largest receptive field within the budget, by trying everything."""
    space = fpnas.load_space(space_name)
    architectures = list(all_architectures(space))
    costs = build_cost_table(space).look_up(np.array([architecture.indices for architecture in architectures]))
    # It depends on kernels alone: one architecture for every combination of them is enough.
    by_kernels = {
        tuple(row[0] for row in architecture.indices): architecture
        for architecture, cost in zip(architectures, costs.tolist(), strict=True)
        if cost <= BUDGET
    }
    return max(receptive_field(resolve(space, architecture)) for architecture in by_kernels.values())


def main() -> None:
    """Search, and compare with the optimum."""
    best = fpnas.optimize("tiny", lambda network: -receptive_field(network), steps=200, target=BUDGET, seed=0)
    print(f"found {-best.value:.0f} pixels, {best.cost} multiply-adds, {best.evaluations} evaluations")
    print(f"optimum {known_optimum('tiny')} pixels, by enumeration")


if __name__ == "__main__":
    main()
