"""The best of several searches, as `fpnas select` takes it: what more searches bring, and what they cost.

    python benchmarks/best_of_searches.py run       # judge what every search of `searches.jsonl` found; can be stopped
    python benchmarks/best_of_searches.py report    # the best of one to eight searches, placed in the table of networks
    python benchmarks/best_of_searches.py confirm   # the best of ten fresh searches, five times; can be stopped

Every network that the default strategy found in small steps (experiments `strategies` and `fresh seeds` of
`searches.py`) has the short training of `fpnas select`, on one half of the training images, and is judged by the other
half. Rows go to `selections.jsonl` beside this file. What is taken by that is then reported by its trainings on all
images (`searches.jsonl`), which had no part in the choice, as the test images had none.

By those twenty searches the two guides together choose better than each alone. `confirm` asks fresh
searches: five times ten, each with its short training; those that a guide takes of ten have the two trainings of the
table. Rows go to `fresh_selections.jsonl`; to share the work, start the script several times.
"""

import argparse
import datetime
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from ground_truth import EPOCHS, SPACE, decode, encode, load_images, read_rows, train_by_recipe
from planned_searches import SMALL_STEPS, Plan
from rows import append_line, claim, read_documents
from scipy.stats import kendalltau, pearsonr
from searches import THIS_MACHINE, in_fresh_process, percentile, read_searches, run_folder, search, spread

from fpnas.network_spec import resolve
from fpnas.select import both_guides
from fpnas.select_config import SelectConfig
from fpnas.space_file import load_space
from fpnas.train import train
from fpnas.training.evaluation import cross_entropy, normalised_batches
from fpnas.training.load import load_data

TABLE = Path(__file__).with_name("selections.jsonl")
SEARCHED = ("strategies", "fresh seeds")
FRESH = Path(__file__).with_name("fresh_selections.jsonl")
FRESH_FROM, TIMES, OF = 100, 5, 10  # seeds that nothing else has
LAST_UNCHOSEN = "n020"  # the table's first twenty were all trained twice, of the others the best


def searches() -> list[dict[str, Any]]:
    """The rows of the default strategy in small steps, by seed."""
    mine = [row for row in read_searches() if row["experiment"] in SEARCHED and row["variant"] == "fp-nas"]
    return sorted(mine, key=lambda row: row["seed"])


def judged() -> dict[str, dict[str, Any]]:
    """What was judged already, by architecture."""
    return {row["architecture"]: row for row in read_documents(TABLE)}


def short_training(architecture: str) -> dict[str, float]:
    """What `fpnas select` measures of an architecture, in this process."""
    torch.set_num_threads(1)
    config = SelectConfig(data="fashion-mnist", output=Path(), threads=1, quiet=True)
    dataset = load_data(config.data, hold_out=config.hold_out, seed=config.seed)
    assert dataset.test is not None
    begun = time.process_time()
    result = train(resolve(load_space(SPACE), decode(architecture)), dataset, config)
    batches = normalised_batches(dataset.test, dataset.mean, dataset.std, torch.device("cpu"))
    loss = cross_entropy(result.network, batches)
    return {
        "held_out_top1": result.top1,
        "cross_entropy": loss,
        "seconds": round(time.process_time() - begun, 1),
    }


def run(machine: str) -> None:
    """Judge what is left."""
    for found in searches():
        architecture = found["architecture"]
        with claim(TABLE, architecture) as free:
            if not free or architecture in judged():
                continue
            row = {
                "experiment": found["experiment"],
                "seed": found["seed"],
                "architecture": architecture,
                **short_training(architecture),
                "machine": machine,
                "date": datetime.date.today().isoformat(),
            }
            append_line(TABLE, json.dumps(row) + "\n")
        print(f"seed {found['seed']}: {row['cross_entropy']:.4f} nats", file=sys.stderr, flush=True)


def report() -> None:
    """The best of several searches, by what is held out."""
    known = judged()
    rows = [row | known[row["architecture"]] for row in searches() if row["architecture"] in known]
    accuracies = [statistics.mean(row["top1"]) for row in rows]
    places = [percentile(value) for value in accuracies]
    seconds = [row["seconds"] for row in rows]  # of the short training, which was put over those of the search
    first, second = zip(*(row["top1"] for row in rows), strict=True)
    print(f"{len(rows)} searches, {spread(seconds, 0)} s of short training each")
    print(f"two trainings on all images: correlation {pearsonr(first, second)[0]:.2f}")
    guides = {
        **{name: guide(rows) for name, guide in GUIDES.items()},
        "hits on images held out": [row["held_out_top1"] for row in rows],
        "test accuracy, which nobody has": accuracies,
    }
    for name, guide in guides.items():
        agreement = pearsonr(guide, accuracies)[0], kendalltau(guide, accuracies)[0]
        print(f"by {name}: correlation with the test {agreement[0]:.2f}, Kendall's tau {agreement[1]:.2f}")
        order = sorted(range(len(rows)), key=lambda index: -guide[index])
        for count in range(1, 9):
            test, within = (_mean_of_best([values[index] for index in order], count) for values in (accuracies, places))
            print(f"  best of {count}: test {test:.2f}%, in the best {within:.1f}% of the table")
    # Networks drawn at random, trained twice whatever they had at first: taken by one training, worth the other.
    trained = {(row.network, row.seed): row.top1 for row in read_rows() if row.epochs == EPOCHS}
    drawn = [name for name, seed in trained if seed == 1 and name <= LAST_UNCHOSEN]
    print(f"{len(drawn)} networks of the table, taken by one training, worth the other")
    for count in (1, 4, 8, 11):
        both = []
        for seed in (0, 1):
            by_one = sorted(((trained[name, seed], trained[name, 1 - seed]) for name in drawn), reverse=True)
            both.append(_mean_of_best([other for _, other in by_one], count))
        print(f"  best of {count}: test {statistics.mean(both):.2f}%")


def by_cross_entropy(rows: Sequence[dict[str, Any]]) -> list[float]:
    """The guide of short trainings, higher is better."""
    return [-row["cross_entropy"] for row in rows]


def by_shared_weights(rows: Sequence[dict[str, Any]]) -> list[float]:
    """The guide that searches give for nothing, higher is better."""
    return [row["supernet_top1"] for row in rows]


def by_both(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Both, as `fpnas select` adds them up."""
    return both_guides([row["cross_entropy"] for row in rows], [row["supernet_top1"] for row in rows])


GUIDES = {
    "both guides": by_both,
    "cross-entropy on images held out": by_cross_entropy,
    "accuracy with the weights of its own search": by_shared_weights,
}


def taken(rows: Sequence[dict[str, Any]], guide: Callable[[Sequence[dict[str, Any]]], list[float]]) -> int:
    """Seed of the search that a guide takes."""
    return max(zip(guide(rows), rows, strict=True), key=lambda pair: pair[0])[1]["seed"]


def searched_and_judged(seed: int, machine: str) -> dict[str, Any]:
    """The row of a fresh search, in this process."""
    plan = Plan("best of ten", "fp-nas", seed, SMALL_STEPS)
    result, seconds = search(plan)
    architecture = encode(result.architecture)
    judged_as = {f"short_{name}" if name == "seconds" else name: v for name, v in short_training(architecture).items()}
    shutil.rmtree(run_folder(plan))
    return {
        "seed": seed,
        "architecture": architecture,
        "supernet_top1": result.supernet_top1,
        "budget_share": round(result.budget_share, 4),
        **judged_as,
        "seconds": round(seconds, 1),
        "machine": machine,
        "date": datetime.date.today().isoformat(),
    }


def tabled(architecture: str) -> dict[str, list[float]]:
    """Test accuracies by the recipe of the table, two trainings, in this process."""
    torch.set_num_threads(1)
    spec, images = resolve(load_space(SPACE), decode(architecture)), load_images()
    return {"top1": [train_by_recipe(spec, images, seed=seed) for seed in (0, 1)]}


def confirm(machine: str) -> None:
    """The best of ten fresh searches, five times, by both guides and by each alone."""
    for first in range(FRESH_FROM, FRESH_FROM + TIMES * OF, OF):
        group = range(first, first + OF)
        for seed in group:
            with claim(FRESH, f"search {seed}") as free:
                if free and seed not in {row["seed"] for row in read_documents(FRESH) if "supernet_top1" in row}:
                    row = in_fresh_process(searched_and_judged, seed, machine)
                    append_line(FRESH, json.dumps(row) + "\n")
                    print(
                        f"seed {seed}: {row['supernet_top1']}%, {row['cross_entropy']:.4f}", file=sys.stderr, flush=True
                    )
        documents = read_documents(FRESH)
        rows = sorted((row for row in documents if row.get("seed") in group), key=lambda row: row["seed"])
        if len(rows) < OF:
            continue  # another process is at it
        for seed in dict.fromkeys(taken(rows, guide) for guide in GUIDES.values()):
            with claim(FRESH, f"network {seed}") as free:
                if free and seed not in {row.get("taken") for row in read_documents(FRESH)}:
                    architecture = next(row["architecture"] for row in rows if row["seed"] == seed)
                    place = {"taken": seed} | in_fresh_process(tabled, architecture)
                    append_line(FRESH, json.dumps(place | {"date": datetime.date.today().isoformat()}) + "\n")
    report_fresh()


def report_fresh() -> None:
    """What was taken of the fresh searches, guide by guide, placed in the table of networks."""
    documents = read_documents(FRESH)
    searched = {row["seed"]: row for row in documents if "seed" in row}
    top1 = {row["taken"]: statistics.mean(row["top1"]) for row in documents if "taken" in row}
    groups = [range(first, first + OF) for first in range(FRESH_FROM, FRESH_FROM + TIMES * OF, OF)]
    for name, guide in GUIDES.items():
        seeds = [taken([searched[seed] for seed in group], guide) for group in groups if searched.keys() >= set(group)]
        known = [top1[seed] for seed in seeds if seed in top1]
        for seed in seeds:
            if seed in top1:
                print(
                    f"by {name}: seed {seed}, {top1[seed]:.2f}%, in the best {percentile(top1[seed]):.1f}% of the table"
                )
        if len(known) > 1:
            print(f"by {name}: mean {spread(known, 2)}%, in the best {spread([*map(percentile, known)], 1)}%")


def _mean_of_best(values: list[float], count: int) -> float:
    """Mean over all choices of so many values, sorted by what they are chosen by, of the first among them."""
    behind = len(values) - 1
    choices = math.comb(len(values), count)
    return sum(math.comb(behind - place, count - 1) / choices * value for place, value in enumerate(values))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "report", "confirm"))
    parser.add_argument("--machine", default=THIS_MACHINE, help="what this machine is called in the rows")
    arguments = parser.parse_args()
    if arguments.action == "run":
        run(arguments.machine)
    elif arguments.action == "confirm":
        confirm(arguments.machine)
    else:
        report()


if __name__ == "__main__":
    main()
