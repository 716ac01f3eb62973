"""A search space of one's own, with an activation that the package does not have.

    python examples/own_space.py

The space is the TOML file beside this one. `mish` becomes known by its name, the space is searched for a network of at
most 300,000 multiply-adds for scikit-learn's digits, and what was found is built. Expect a network of 95 to 100% of the
budget, some 95% of the digits by the shared weights, and 2 nats of the 13.5 left, in a quarter of a minute.
"""

from pathlib import Path

import torch

import fpnas

BUDGET = 300_000


def main() -> None:
    """Register, load, search, build."""
    fpnas.register_activation("mish", torch.nn.Mish)
    space = fpnas.load_space(Path(__file__).with_suffix(".toml"))
    print(f"space {space.name}: {space.number_of_architectures:,} architectures, {space.entropy_nats:.1f} nats")

    def show(moment: fpnas.Moment) -> None:
        if moment.kind == "epoch":
            figures = moment.figures
            print(
                f"epoch {figures['epoch']}: {figures['entropy_nats']:.1f} nats, {figures['mode_top1']:.0f}% of digits"
            )

    result = fpnas.search(
        space, "digits", target_macs=BUDGET, epochs=4, warmup_epochs=1, batch_size=32, quiet=True, callbacks=[show]
    )
    for group, block in zip(space.groups, result.network.blocks[::2], strict=False):
        print(f"{group.name}: kernel {block.kernel}, {block.activation}, {block.channels} channels")
    network = fpnas.build(result.network)
    print(f"found {result.macs:,} multiply-adds, {100 * result.budget_share:.1f}% of the budget")
    print(f"gives {tuple(network(torch.zeros(2, 1, 8, 8)).shape)} logits")


if __name__ == "__main__":
    main()
