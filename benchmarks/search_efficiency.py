"""What every strategy's search costs and finds: the same data, space, budget, epochs and threads
(`tunas` has more epochs in whole searches).

    python benchmarks/search_efficiency.py --quick --json
    python benchmarks/search_efficiency.py --seeds 3

Whole searches are the experiment `strategies` of `searches.py`: each in a fresh process with one thread, rows kept in
its file, what is there not done again; what is found is trained and tested, twice.

`--quick` searches for 5 epochs of 8 steps, in a quarter of an hour, and trains nothing: schedules are shares of a
search, so that the ratios of cost are those of longer searches, but for fixed costs. `fp-nas-paper` and `parsec` keep
the rate that they have in a search of the usual length (at one fitted to 32 steps their distributions collapse in a
few of them), so what is measured is the start of their schedule, where `fp-nas-paper` draws as many as `parsec`.

Activation memory is that of a training step at a batch of 128: for strategies that sample, the most of 30 architectures
drawn as they draw them at the start, where they are largest, shortcuts of the warm-up included (for `tunas` without its
opened choices, which take twice as much); for `fbnetv2`, of all choices at once.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from ground_truth import SPACE, TARGET
from planned_searches import SEEDS, plans
from searches import TABLE, THIS_MACHINE, UNNAMED_MACHINE, in_fresh_process, read_searches, run, spread

from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_spec import resolve
from fpnas.nn.activation_memory import saved_activation_bytes
from fpnas.nn.masked import masked_forward
from fpnas.nn.supernet import SuperNet
from fpnas.search_config import SearchConfig
from fpnas.space_file import load_space
from fpnas.strategies import STRATEGIES
from fpnas.strategies.fp_nas_paper import PAPER_LOGIT_TRAVEL
from fpnas.supernet_search import search_supernet
from fpnas.training.load import load_data

QUICK_EPOCHS, QUICK_STEPS, BATCH = 5, 8, 128
# TuNAS judges its one sample on four times the training batch.
QUICK_SETTINGS: dict[str, dict[str, Any]] = {"tunas": {"architecture_batch_size": 4 * BATCH}} | {
    name: {"architecture_learning_rate": PAPER_LOGIT_TRAVEL / 2800} for name in ("fp-nas-paper", "parsec")
}
# These draw from the whole space, whatever the budget.
UNCONDITIONED = ("fp-nas-paper", "parsec", "tunas")


class _Masked(torch.nn.Module):
    """The masked forward pass as a module, for the measurement of memory."""

    def __init__(self, supernet: SuperNet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        groups = self.supernet.space.groups
        gates = [
            {choice.name: torch.full((len(choice.values),), 1 / len(choice.values)) for choice in group.choices}
            for group in groups
        ]
        return masked_forward(self.supernet, images, gates)


def activation_bytes(strategy: str, architectures: int = 30) -> int:
    """Bytes kept by a training step of a strategy."""
    space = load_space(SPACE)
    supernet = SuperNet(space, space.in_channels, space.num_classes).to(memory_format=torch.channels_last)
    supernet.shortcut = 1.0
    images = torch.randn(BATCH, space.in_channels, space.input_size, space.input_size)
    images = images.to(memory_format=torch.channels_last)
    if strategy == "fbnetv2":
        return saved_activation_bytes(_Masked(supernet), images)
    low, high = (0.0, float("inf")) if strategy in UNCONDITIONED else (0.95 * TARGET, TARGET)
    uniform, generator = Factorized(space.cardinalities), torch.Generator().manual_seed(0)
    drawn, _ = sample_within_budget(
        uniform, build_cost_table(space), architectures, low=low, high=high, generator=generator
    )
    return max(saved_activation_bytes(supernet, images, resolve(space, Architecture.of(row))) for row in drawn)


def search_quickly(strategy: str) -> dict[str, Any]:
    """The cost of a search of 40 steps; in this process."""
    torch.set_num_threads(1)
    config = SearchConfig(
        data="fashion-mnist",
        space=SPACE,
        target_macs=str(TARGET),
        output=Path(),
        strategy=strategy,
        epochs=QUICK_EPOCHS,
        batch_size=BATCH,
        threads=1,
        quiet=True,
        **QUICK_SETTINGS.get(strategy, {}),
    )
    dataset = load_data("fashion-mnist", max_images=2 * BATCH * QUICK_STEPS, seed=0, parts=("train",))
    result = search_supernet(load_space(SPACE), dataset, config)
    return {
        "variant": strategy,
        "machine": THIS_MACHINE,
        "seed": config.seed,
        "samples": result.samples,
        "forward_passes": result.forward_passes,
        "backward_passes": result.backward_passes,
        "seconds": round(result.seconds, 2),
        "macs": result.macs,
    }


def as_row(search: dict[str, Any], memory: dict[str, int]) -> dict[str, Any]:
    """A search as it is printed; a quick one has no accuracy."""
    kept = ("seed", "samples", "forward_passes", "backward_passes", "macs")
    return {
        "strategy": search["variant"],
        "machine": search.get("machine", UNNAMED_MACHINE),
        **{name: search[name] for name in kept},
        "search_seconds": search["seconds"],
        "activation_bytes": memory[search["variant"]],
        "test_accuracy": statistics.mean(search["top1"]) if "top1" in search else None,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, and how many times the default strategy's cost each strategy takes, seconds on one machine."""
    by_strategy = {row["strategy"]: [r for r in rows if r["strategy"] == row["strategy"]] for row in rows}

    def mean(strategy: str, figure: str) -> float:
        return statistics.mean(row[figure] for row in by_strategy[strategy])

    def seconds(strategy: str) -> dict[str, list[float]]:
        """Of each machine."""
        taken = defaultdict(list)
        for row in by_strategy[strategy]:
            taken[row["machine"]].append(row["search_seconds"])
        return taken

    columns = ("samples", "forward_passes", "backward_passes", "search_seconds", "activation_bytes", "macs")
    for strategy, mine in by_strategy.items():
        figures = ", ".join(f"{column} {mean(strategy, column):,.0f}" for column in columns)
        if mine[0]["test_accuracy"] is not None:
            figures += f", test {spread([row['test_accuracy'] for row in mine], 2)}%"
        if "fp-nas" in by_strategy:
            taken, default = seconds(strategy), seconds("fp-nas")
            for machine in sorted(taken.keys() & default.keys()):
                ratio = statistics.mean(taken[machine]) / statistics.mean(default[machine])
                figures += f"; {ratio:.2f} times the seconds of fp-nas on {machine}"
            memory = mean(strategy, "activation_bytes") / mean("fp-nas", "activation_bytes")
            figures += f"; {memory:.2f} times its activations"
        print(f"{strategy} ({len(mine)} seeds): {figures}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategies", nargs="*", default=[], help="all when left out")
    parser.add_argument("--quick", action="store_true", help="ratios of cost alone, in a quarter of an hour")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"of whole searches, up to {len(SEEDS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    options.strategies = options.strategies or list(STRATEGIES)
    for strategy in options.strategies:
        if strategy not in STRATEGIES:
            parser.error(f"strategy {strategy}: one of {', '.join(STRATEGIES)} is accepted")
    if options.quick:
        rows = []
        for strategy in options.strategies:
            rows.append(in_fresh_process(search_quickly, strategy))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    else:
        wanted = [
            plan for plan in plans()["strategies"] if plan.variant in options.strategies and plan.seed < options.seeds
        ]
        run(wanted, TABLE, THIS_MACHINE)
        named = {(plan.experiment, plan.variant, plan.seed) for plan in wanted}
        rows = [row for row in read_searches() if (row["experiment"], row["variant"], row["seed"]) in named]
    memory = {strategy: activation_bytes(strategy) for strategy in options.strategies}
    rows = [as_row(row, memory) for row in rows]
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
