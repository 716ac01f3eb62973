"""Found networks against random ones of the same budget, all trained by the same recipe.

    python benchmarks/against_random.py RUN [RUN...] --data fashion-mnist --networks 6 --seeds 2 --output rows.jsonl

Rows are appended to the output as they come; what is there already is not done again, so an interrupted comparison
goes on where it stopped. With --json the rows are printed as one document.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rows import append_line, read_documents

from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_file import load_network, network_from_json, network_to_json
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import generator_for
from fpnas.search_config import SearchConfig
from fpnas.space_file import load_space
from fpnas.train import train
from fpnas.train_config import TrainConfig
from fpnas.training.data import DataSet
from fpnas.training.load import load_data

FLOOR = 0.9


@dataclass(frozen=True)
class Candidate:
    """A network to train: `found` by a search, or `random`."""

    kind: str
    name: str
    spec: NetworkSpec


def random_networks(
    space_name: str, like: NetworkSpec, target: int, count: int, seed: int, floor: float = FLOOR
) -> list[NetworkSpec]:
    """Networks drawn uniformly from a space, given that they cost from `floor` to 1 times the target."""
    space = load_space(space_name)
    data: dict[str, Any] = {
        "input_size": like.input_size,
        "in_channels": like.in_channels,
        "num_classes": like.num_classes,
    }
    indices, _ = sample_within_budget(
        Factorized(space.cardinalities),
        build_cost_table(space, **data),
        count,
        low=floor * target,
        high=target,
        generator=generator_for(seed, "random networks"),
    )
    return [resolve(space, Architecture.of(row), **data) for row in indices]


def candidates_of(runs: Iterable[Path], networks: int, seed: int) -> list[Candidate]:
    """The networks that searches found, and random ones of the first search's space and budget."""
    found = []
    for path in runs:
        run = RunDirectory.open(path, "search")
        found.append((run, Candidate("found", path.name, load_network(run.network_path))))
    config = SearchConfig(**{**found[0][0].config, "output": found[0][0].path})
    drawn = random_networks(config.space, found[0][1].spec, config.target(), networks, seed) if networks else []
    return [candidate for _, candidate in found] + [
        Candidate("random", f"random {number}", spec) for number, spec in enumerate(drawn, 1)
    ]


_dataset: DataSet


def _start(options: dict[str, Any], image_size: int) -> None:
    """Load the data once per process."""
    global _dataset
    torch.set_num_threads(1)
    _dataset = load_data(options["data"], image_size=image_size, max_images=options["max_images"], seed=0)


def _train_one(content: dict[str, Any], options: dict[str, Any], seed: int) -> dict[str, Any]:
    spec = network_from_json(content, "network")
    config = TrainConfig(**{"output": Path(), "quiet": True, "threads": 1, **options, "seed": seed})
    result = train(spec, _dataset, config)
    return {
        "macs": result.macs,
        "params": result.params,
        "test_top1": result.top1,
        "seconds": round(result.seconds, 1),
    }


def compare(
    candidates: list[Candidate],
    options: dict[str, Any],
    *,
    seeds: int,
    processes: int,
    output: Path | None = None,
) -> list[dict[str, Any]]:
    """Train every candidate with every seed; one row each.

    Args:
        candidates: the networks.
        options: fields of `TrainConfig`, `data` and `max_images` among them.
        seeds: trainings per network, seeds 0 to `seeds` - 1.
        processes: trainings side by side, one thread each.
        output: rows are appended to it, and those in it are not done again.
    """
    rows = read_documents(output) if output else []
    done = {(row["name"], row["seed"]) for row in rows}
    # Seeds in the outer loop: after each round all networks have been trained equally often.
    todo = [(c, seed) for seed in range(seeds) for c in candidates if (c.name, seed) not in done]
    image_size = candidates[0].spec.input_size
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start, initargs=(options, image_size)
    ) as pool:
        futures = {
            pool.submit(_train_one, network_to_json(candidate.spec), options, seed): (candidate, seed)
            for candidate, seed in todo
        }
        for future in as_completed(futures):
            candidate, seed = futures[future]
            row = {"kind": candidate.kind, "name": candidate.name, "seed": seed, **future.result()}
            rows.append(row)
            print(f"{row['name']}, seed {seed}: {row['test_top1']:.2f}%", file=sys.stderr, flush=True)
            if output:
                append_line(output, json.dumps(row) + "\n")
    return rows


def show(rows: list[dict[str, Any]], candidates: list[Candidate]) -> None:
    """A table with a line per network, then the means of both kinds."""
    table = Table(title="Found against random networks of the same budget, trained by the same recipe")
    for column in ("network", "MACs", "parameters", "depth", "test top-1, %", "seconds"):
        table.add_column(column, justify="left" if column == "network" else "right")
    means: dict[str, list[float]] = {"found": [], "random": []}
    for candidate in candidates:
        mine = [row for row in rows if row["name"] == candidate.name]
        accuracies = [row["test_top1"] for row in mine]
        mean = statistics.mean(accuracies)
        means[candidate.kind].append(mean)
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        cost = network_cost(candidate.spec)
        table.add_row(
            candidate.name if candidate.kind == "random" else f"found: {candidate.name}",
            f"{cost.macs:,}",
            f"{cost.params:,}",
            str(sum(block.kernel > 0 for block in candidate.spec.blocks)),
            f"{mean:.2f}{spread}",
            f"{statistics.mean(row['seconds'] for row in mine):.1f}",
        )
    Console().print(table)
    for kind, values in means.items():
        if values:
            spread = f", best {max(values):.2f}, worst {min(values):.2f}" if len(values) > 1 else ""
            print(f"{kind}: mean {statistics.mean(values):.2f}%{spread}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of searches of one space and budget")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--networks", type=int, default=6, help="random networks")
    parser.add_argument("--seeds", type=int, default=2, help="trainings per network")
    parser.add_argument("--random-seed", type=int, default=0, help="of the random networks")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--max-images", type=int, default=20000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON lines; goes on with what is there")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    candidates = candidates_of(arguments.runs, arguments.networks, arguments.random_seed)
    options = {
        "data": arguments.data,
        "epochs": arguments.epochs,
        "max_images": arguments.max_images,
    }
    rows = compare(
        candidates,
        options,
        seeds=arguments.seeds,
        processes=arguments.processes,
        output=arguments.output,
    )
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        show(rows, candidates)


if __name__ == "__main__":
    main()
