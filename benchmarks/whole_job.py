"""From images to a trained network: how long it takes and how good it is, over budgets.

    python benchmarks/whole_job.py --budget 6M [--budget 2.5M ...] [--seeds 2] [--threads 2]
    python benchmarks/whole_job.py --report

The recipes `fashion-mnist-search` and `fashion-mnist-train` one after the other, on all images of Fashion-MNIST. Every
seed is a search and a training of its own. Runs are under `runs/whole-job` and go on where they were stopped; rows go
to `whole_job.jsonl` beside this file (`--output`) as they end. Seconds are wall time: let nothing run beside it.
"""

import argparse
import datetime
import json
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from rows import append_line, claim, read_documents
from searches import spread

from fpnas.builtin_files import find_recipe
from fpnas.quantities import parse_quantity
from fpnas.search_config import SearchConfig
from fpnas.supernet_search import run_search
from fpnas.train import run_train
from fpnas.train_config import TrainConfig

Config = TypeVar("Config", SearchConfig, TrainConfig)
ROWS = Path(__file__).with_suffix(".jsonl")
RUNS = Path(__file__).parents[1] / "runs" / "whole-job"


def by_recipe(kind: type[Config], recipe: str, **settings: Any) -> Config:
    """The configuration of a recipe, with the settings of this run."""
    values = yaml.safe_load(find_recipe(recipe).read_text()) | settings
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})


def whole_job(budget: str, seed: int, threads: int) -> dict[str, Any]:
    """Search, train, and the figures of both."""
    folder = RUNS / f"{budget}-{seed}"
    common: dict[str, Any] = {"data": "fashion-mnist", "seed": seed, "threads": threads, "resume": True, "quiet": True}
    config = by_recipe(
        SearchConfig, "fashion-mnist-search", output=folder / "search", **common | {"target_macs": budget}
    )
    found = run_search(config)
    recipe = by_recipe(TrainConfig, "fashion-mnist-train", output=folder / "train", **common)
    trained = run_train(folder / "search" / "network.json", recipe)
    return {
        "budget": parse_quantity(budget, "--budget"),
        "seed": seed,
        "macs": found.macs,
        "params": trained.params,
        "entropy_nats": round(found.entropy_nats, 2),
        "test_top1": trained.top1,
        "raw_top1": trained.raw_top1,
        "epochs": recipe.epochs,
        "search_seconds": round(found.seconds),
        "train_seconds": round(trained.seconds),
        "threads": threads,
        "date": datetime.date.today().isoformat(),
    }


def report(rows: list[dict[str, Any]]) -> None:
    """A line per budget."""
    for budget in sorted({row["budget"] for row in rows}):
        mine = [row for row in rows if row["budget"] == budget]
        minutes = [(row["search_seconds"] + row["train_seconds"]) / 60 for row in mine]
        print(
            f"{budget:,} multiply-adds: {spread([row['test_top1'] for row in mine], 2)}% ({len(mine)} seeds), "
            f"{spread(minutes, 0)} minutes with {mine[0]['threads']} threads"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", action="append", default=[], help="multiply-adds, e.g. 6M")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROWS)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for budget in options.budget:
            work = (parse_quantity(budget, "--budget"), seed)
            with claim(options.output, work) as free:
                if free and work not in [(row["budget"], row["seed"]) for row in read_documents(options.output)]:
                    append_line(options.output, json.dumps(whole_job(budget, seed, options.threads)) + "\n")
    if options.report:
        report(read_documents(options.output))


if __name__ == "__main__":
    main()
