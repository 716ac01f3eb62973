"""A table of trained networks, against which searches are judged: `ground_truth.csv` beside this file.

Networks of `fbnetv2-f-32` drawn uniformly from those that cost 80 to 100% of 2.5M multiply-adds, each trained from
scratch on the 60,000 images of Fashion-MNIST by one short recipe and tested on all 10,000 test images.

    python benchmarks/ground_truth.py table             # every network, seeds 0 and 1
    python benchmarks/ground_truth.py check             # the first 12 networks, four times as long
    python benchmarks/ground_truth.py report            # what the table says

A row is appended as each training ends, and what is there already is not done again: the script can be stopped at any
time, and started several times to share the work.
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from rows import append_line, claim
from scipy.stats import kendalltau

from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.runtime.setup import generator_for
from fpnas.space_file import load_space
from fpnas.train import train
from fpnas.train_config import TrainConfig
from fpnas.training.data import DataSet
from fpnas.training.load import load_data

TABLE = Path(__file__).with_suffix(".csv")
SPACE, TARGET, FLOOR = "fbnetv2-f-32", 2_500_000, 0.8
NETWORKS, CHECKED = 200, 12
# Two trainings of one network differ by half a point, and a seed can be good to every network (all are trained on the
# same draws of shifts): a table of one seed is a ruler that means over other seeds cannot be held to.
SEEDS = (0, 1)
EPOCHS, WARMUP_EPOCHS = 2, 0.3
LONGER = 4


@dataclass(frozen=True)
class Row:
    """One training. `architecture` has a digit per choice, a group's choices joined, groups separated by dots."""

    network: str
    architecture: str
    macs: int
    params: int
    epochs: int
    seed: int
    top1: float
    seconds: float


def encode(architecture: Architecture) -> str:
    """The indices of an architecture as text (all are below 10 in this space)."""
    return ".".join("".join(map(str, row)) for row in architecture.indices)


def decode(text: str) -> Architecture:
    """The architecture that `encode` wrote."""
    return Architecture.of([[int(digit) for digit in row] for row in text.split(".")])


def drawn_architectures() -> list[Architecture]:
    """The architectures of the table; always the same."""
    space = load_space(SPACE)
    generator = generator_for(0, "ground truth")
    costs = build_cost_table(space)
    found: dict[Architecture, None] = {}
    while len(found) < NETWORKS:
        indices_KGV, _ = sample_within_budget(
            Factorized(space.cardinalities), costs, 64, low=FLOOR * TARGET, high=TARGET, generator=generator
        )
        found |= dict.fromkeys(map(Architecture.of, indices_KGV))
    return list(found)[:NETWORKS]


def load_images() -> DataSet:
    """The images of the table's recipe, with the flips and shifts that searches and trainings use.

    Without the shifts a training this short ends a point higher, but ranks networks otherwise than training does.
    """
    return load_data("fashion-mnist")


def train_by_recipe(spec: NetworkSpec, dataset: DataSet, *, epochs: int = EPOCHS, seed: int = 0) -> float:
    """Test accuracy, percent, of a network trained from scratch by the table's recipe."""
    config = TrainConfig(
        data="", output=Path(), epochs=epochs, warmup_epochs=WARMUP_EPOCHS, seed=seed, threads=1, quiet=True
    )
    return train(spec, dataset, config).top1


def read_rows(path: Path = TABLE) -> list[Row]:
    """The rows of a table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(**{field.name: field.type(row[field.name]) for field in fields(Row)})  # type: ignore[operator]
            for row in csv.DictReader(file)
        ]


def append(row: Row) -> None:
    """Add a row to the table."""
    names, values = (",".join(map(str, part)) + "\n" for part in (asdict(row).keys(), asdict(row).values()))
    append_line(TABLE, values, header=names)


def accuracy_by_network(rows: list[Row]) -> dict[str, float]:
    """Test accuracy, percent, of every network of the table: the mean of its trainings by the recipe."""
    trained: dict[str, list[float]] = {}
    for row in rows:
        if row.epochs == EPOCHS:
            trained.setdefault(row.network, []).append(row.top1)
    return {network: statistics.mean(values) for network, values in trained.items()}


def trainings(part: str) -> Iterator[tuple[str, Architecture, int, int]]:
    """Name, architecture, epochs and seed of every training of a part of the work."""
    named = {f"n{number:03}": architecture for number, architecture in enumerate(drawn_architectures(), 1)}
    if part == "table":
        yield from ((name, architecture, EPOCHS, seed) for seed in SEEDS for name, architecture in named.items())
    else:
        yield from ((name, named[name], LONGER * EPOCHS, 0) for name in list(named)[:CHECKED])


def run(part: str) -> None:
    """Do what is left of a part."""
    torch.set_num_threads(1)
    dataset = load_images()
    space = load_space(SPACE)
    for name, architecture, epochs, seed in trainings(part):
        with claim(TABLE, (name, epochs, seed)) as free:
            if not free or (name, epochs, seed) in {(row.network, row.epochs, row.seed) for row in read_rows()}:
                continue
            spec = resolve(space, architecture)
            begin = time.perf_counter()
            top1 = train_by_recipe(spec, dataset, epochs=epochs, seed=seed)
            cost = network_cost(spec)
            seconds = round(time.perf_counter() - begin, 1)
            append(Row(name, encode(architecture), cost.macs, cost.params, epochs, seed, top1, seconds))
        print(f"{name}, {epochs} epochs, seed {seed}: {top1:.2f}% in {seconds:.0f} s", file=sys.stderr, flush=True)


def report() -> None:
    """Spread of the table, agreement of its two seeds and of the longer trainings."""
    rows = read_rows()
    by_seed = [{row.network: row.top1 for row in rows if (row.epochs, row.seed) == (EPOCHS, seed)} for seed in SEEDS]
    first, second = by_seed
    longer = {row.network: row.top1 for row in rows if row.epochs == LONGER * EPOCHS}
    for what, trained in (*zip(("seed 0", "seed 1"), by_seed, strict=True), ("means", accuracy_by_network(rows))):
        values = sorted(trained.values())
        if len(values) > 1:
            print(f"{what}: {len(values)} networks, {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}%,")
            print(f"  worst {values[0]:.2f}, median {statistics.median(values):.2f}, best {values[-1]:.2f}")
    print(f"seconds of training in all: {sum(row.seconds for row in rows):.0f}")
    twice = [name for name in first if name in second]
    if len(twice) > 2:
        differences = [second[name] - first[name] for name in twice]
        tau = kendalltau([first[name] for name in twice], [second[name] for name in twice])
        print(
            f"{len(twice)} networks twice: seed 1 less seed 0 {statistics.mean(differences):.2f} ± "
            f"{statistics.stdev(differences):.2f}, Kendall's tau {tau.statistic:.2f}"
        )
    if len(longer) > 2:
        both = list(longer)
        tau = kendalltau([first[name] for name in both], [longer[name] for name in both])
        print(f"{len(both)} networks {LONGER} times as long: Kendall's tau {tau.statistic:.2f}, p = {tau.pvalue:.3f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("table", "check", "report"))
    arguments = parser.parse_args()
    if arguments.part == "report":
        report()
    else:
        run(arguments.part)


if __name__ == "__main__":
    main()
