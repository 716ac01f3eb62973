"""What every strategy's search costs and finds: the same data, space, budget, epochs and threads, one after another.

Each search runs in a fresh process; then the network found is trained by the recipe of the ground-truth table
(`ground_truth.py`) and tested. Rows are appended to `--output` as they come, and what is there is not done again.

    python benchmarks/search_efficiency.py --quick --json
    python benchmarks/search_efficiency.py --epochs 18 --seeds 3 --output rows.jsonl

`--quick` takes 5 epochs of 8 steps and trains nothing: schedules are shares of a search, so that the ratios of cost are
those of longer searches, but for fixed costs; accuracies mean nothing then. `fp-nas-paper` and `parsec` keep the rate
that they have in a search of the usual length (at one fitted to 32 steps their distributions collapse in a few of
them), so what is measured is the start of their schedule, where `fp-nas-paper` draws as many samples as `parsec`.

Activation memory is that of a training step: for strategies that sample, the most of 30 architectures drawn as they
draw them at the start, where they are largest; for `fbnetv2`, of all choices at once.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from ground_truth import IMAGES, SPACE, TARGET, load_images, train_by_recipe

from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_spec import resolve
from fpnas.nn.activation_memory import saved_activation_bytes
from fpnas.nn.masked import masked_forward
from fpnas.nn.supernet import SuperNet
from fpnas.search import search
from fpnas.search_config import SearchConfig
from fpnas.space_file import load_space
from fpnas.strategies import STRATEGIES
from fpnas.strategies.fp_nas_paper import PAPER_LOGIT_TRAVEL
from fpnas.training.load import load_data

QUICK_EPOCHS, QUICK_STEPS, BATCH = 5, 8, 128
# What a strategy is set to beside the common settings: TuNAS judges its one sample on four times the training batch.
OWN_SETTINGS: dict[str, dict[str, Any]] = {"tunas": {"architecture_batch_size": 4 * BATCH}}
QUICK_SETTINGS = {
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


def run_one(strategy: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One search, and unless `--quick` the training of what it found; in this process."""
    torch.set_num_threads(options.threads)
    images = 2 * BATCH * QUICK_STEPS if options.quick else options.max_images
    config = SearchConfig(
        **{
            "data": "fashion-mnist",
            "space": SPACE,
            "target_macs": str(TARGET),
            "output": Path(),
            "strategy": strategy,
            "seed": seed,
            "epochs": QUICK_EPOCHS if options.quick else options.epochs,
            "batch_size": BATCH,
            "threads": options.threads,
            "quiet": True,
        }
        | OWN_SETTINGS.get(strategy, {})
        | (QUICK_SETTINGS.get(strategy, {}) if options.quick else {})
    )
    dataset = load_data("fashion-mnist", max_images=images, seed=0, parts=("train",))
    result = search(load_space(SPACE), dataset, config)
    accuracy = None
    if not options.quick:
        trained = load_images()
        accuracy = statistics.mean(train_by_recipe(result.network, trained, seed=number) for number in (0, 1))
    return {
        "strategy": strategy,
        "seed": seed,
        "samples": result.samples,
        "forward_passes": result.forward_passes,
        "backward_passes": result.backward_passes,
        "search_seconds": round(result.seconds, 2),
        "activation_bytes": activation_bytes(strategy),
        "macs": result.macs,
        "budget_share": round(result.budget_share, 4),
        "entropy_nats": round(result.entropy_nats, 3),
        "test_accuracy": accuracy,
    }


def run_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every strategy and seed, each in a fresh process; seeds in the outer loop."""
    output: Path | None = options.output
    rows = [json.loads(line) for line in output.read_text().splitlines()] if output and output.exists() else []
    done = {(row["strategy"], row["seed"]) for row in rows}
    for seed in range(1 if options.quick else options.seeds):
        for strategy in options.strategies:
            if (strategy, seed) in done:
                continue
            command = [sys.executable, __file__, "--one", strategy, str(seed), "--threads", str(options.threads)]
            command += ["--epochs", str(options.epochs), "--max-images", str(options.max_images)]
            command += ["--quick"] if options.quick else []
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows.append(json.loads(answer))
            print(answer.strip(), file=sys.stderr, flush=True)
            if output:
                with output.open("a") as file:
                    file.write(answer.strip() + "\n")
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, and how many times the default strategy's cost each strategy takes."""
    by_strategy = {row["strategy"]: [r for r in rows if r["strategy"] == row["strategy"]] for row in rows}

    def mean(strategy: str, figure: str) -> float:
        return statistics.mean(row[figure] for row in by_strategy[strategy])

    columns = ("samples", "forward_passes", "backward_passes", "search_seconds", "activation_bytes", "macs")
    for strategy, mine in by_strategy.items():
        figures = ", ".join(f"{column} {mean(strategy, column):,.0f}" for column in columns)
        if mine[0]["test_accuracy"] is not None:
            accuracies = [row["test_accuracy"] for row in mine]
            spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
            figures += f", test {statistics.mean(accuracies):.2f}%{spread}"
        if "fp-nas" in by_strategy:
            seconds = mean(strategy, "search_seconds") / mean("fp-nas", "search_seconds")
            memory = mean(strategy, "activation_bytes") / mean("fp-nas", "activation_bytes")
            figures += f"; {seconds:.2f} times the seconds and {memory:.2f} times the activations of fp-nas"
        print(f"{strategy} ({len(mine)} seeds): {figures}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategies", nargs="*", default=[], help="all when left out")
    parser.add_argument("--quick", action="store_true", help="ratios of cost alone, in a quarter of an hour")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--max-images", type=int, default=IMAGES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON lines; goes on with what is there")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--one", nargs=2, metavar=("STRATEGY", "SEED"), help="one search, in this process")
    options = parser.parse_args()
    options.strategies = options.strategies or list(STRATEGIES)
    for strategy in options.strategies:
        if strategy not in STRATEGIES:
            parser.error(f"strategy {strategy}: one of {', '.join(STRATEGIES)} is accepted")
    if options.one:
        print(json.dumps(run_one(options.one[0], int(options.one[1]), options)))
        return
    rows = run_all(options)
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
