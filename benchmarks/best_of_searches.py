"""The best of several searches, as `fpnas select` takes it: what more searches bring, and what they cost.

    python benchmarks/best_of_searches.py run       # judge what every search of `searches.jsonl` found; can be stopped
    python benchmarks/best_of_searches.py report    # the best of one to eight searches, placed in the table of networks
    python benchmarks/best_of_searches.py confirm   # the best of ten fresh searches, five times; can be stopped

Every network that the default strategy found in small steps (experiments `strategies` and `fresh seeds` of
`searches.py`) has the short training of `fpnas select`, on one half of the training images, and is judged by the other
half. Rows go to `selections.jsonl` beside this file. What is taken by that is then reported by its trainings on all
images (`searches.jsonl`), which had no part in the choice, as the test images had none.

By those twenty searches two guides together choose better than each alone. `confirm` asks fresh searches, by which the
cross-entropy alone, as `fpnas select` has it, is the best: five times ten, each with its short training; the better
four of ten by both guides have a second one, on the other half of the images; those that a guide takes have the two
trainings of the table. Rows go to `fresh_selections.jsonl`; to share the work, start the script several times, and once
more at the end, as none waits for another.
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
from fpnas.select_config import SelectConfig
from fpnas.space_file import load_space
from fpnas.train import train
from fpnas.training.evaluation import cross_entropy, normalised_batches
from fpnas.training.load import load_data

TABLE = Path(__file__).with_name("selections.jsonl")
SEARCHED = ("strategies", "fresh seeds")
FRESH = Path(__file__).with_name("fresh_selections.jsonl")
FRESH_FROM, TIMES, OF = 100, 5, 10  # seeds that nothing else has
FINALISTS = 4
LAST_UNCHOSEN = "n020"  # the table's first twenty were all trained twice, of the others the best


def searches() -> list[dict[str, Any]]:
    """The rows of the default strategy in small steps, by seed."""
    mine = [row for row in read_searches() if row["experiment"] in SEARCHED and row["variant"] == "fp-nas"]
    return sorted(mine, key=lambda row: row["seed"])


def judged() -> dict[str, dict[str, Any]]:
    """What was judged already, by architecture."""
    return {row["architecture"]: row for row in read_documents(TABLE)}


def short_training(architecture: str, seed: int = 0) -> dict[str, float]:
    """What `fpnas select` measures of an architecture, in this process."""
    torch.set_num_threads(1)
    config = SelectConfig(data="fashion-mnist", output=Path(), threads=1, quiet=True, seed=seed)
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
    for count in (1, 4, 8, 11, 19):
        both = []
        for seed in (0, 1):
            by_one = sorted(((trained[name, seed], trained[name, 1 - seed]) for name in drawn), reverse=True)
            both.append(_mean_of_best([other for _, other in by_one], count))
        print(f"  best of {count}: test {statistics.mean(both):.2f}%")


def by_cross_entropy(rows: Sequence[dict[str, Any]]) -> list[float]:
    """The guide of short trainings, that of `fpnas select`; higher is better."""
    return [-row["cross_entropy"] for row in rows]


def by_shared_weights(rows: Sequence[dict[str, Any]]) -> list[float]:
    """The guide that searches give for nothing, higher is better."""
    return [row["supernet_top1"] for row in rows]


def by_both(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Both, each in units of its spread over the rows, added up."""
    guides = [by_cross_entropy(rows), by_shared_weights(rows)]
    units = [[(value - statistics.mean(guide)) / statistics.stdev(guide) for value in guide] for guide in guides]
    return [sum(values) for values in zip(*units, strict=True)]


GUIDES = {
    "both guides": by_both,
    "cross-entropy on images held out": by_cross_entropy,
    "accuracy with the weights of its own search": by_shared_weights,
}


def taken(rows: Sequence[dict[str, Any]], guide: Callable[[Sequence[dict[str, Any]]], list[float]]) -> dict[str, Any]:
    """The search that a guide takes."""
    return max(zip(guide(rows), rows, strict=True), key=lambda pair: pair[0])[1]


def searched_and_judged(seed: int, machine: str) -> dict[str, Any]:
    """The row of a fresh search, in this process."""
    plan = Plan("best of ten", "fp-nas", seed, SMALL_STEPS)
    result, seconds = search(plan)
    architecture = encode(result.architecture)
    judged_as = {f"short_{name}" if name == "seconds" else name: v for name, v in short_training(architecture).items()}
    shutil.rmtree(run_folder(plan))
    return {
        "architecture": architecture,
        "supernet_top1": result.supernet_top1,
        "budget_share": round(result.budget_share, 4),
        **judged_as,
        "seconds": round(seconds, 1),
        "machine": machine,
    }


def tabled(architecture: str) -> dict[str, list[float]]:
    """Test accuracies by the recipe of the table, two trainings, in this process."""
    torch.set_num_threads(1)
    spec, images = resolve(load_space(SPACE), decode(architecture)), load_images()
    return {"top1": [train_by_recipe(spec, images, seed=seed) for seed in (0, 1)]}


def finalists(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The searches of a group that train once more: the best by both guides."""
    order = sorted(zip(by_both(rows), rows, strict=True), key=lambda pair: -pair[0])
    return [row for _, row in order[:FINALISTS]]


def by_both_twice(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Of the finalists, both guides, with the mean of their two trainings in place of the first."""
    means = [statistics.mean((row["cross_entropy"], row.get("again", row["cross_entropy"]))) for row in rows]
    known = [row | {"cross_entropy": mean} for row, mean in zip(rows, means, strict=True)]
    return [value if "again" in row else -math.inf for value, row in zip(by_both(known), rows, strict=True)]


def group_from(first: int) -> list[dict[str, Any]]:
    """What is known of the searches that are compared with one another, if all of them ended."""
    documents = read_documents(FRESH)
    again = {row["again"]: {"again": row["cross_entropy"]} for row in documents if "again" in row}
    group = [row | again.get(row["seed"], {}) for row in documents if row.get("seed") in range(first, first + OF)]
    return sorted(group, key=lambda row: row["seed"]) if len(group) == OF else []


def once(work: str, seed: int, measure: Callable[..., dict[str, Any]], *arguments: Any) -> None:
    """Append a row, unless it is there or another process is at it."""
    with claim(FRESH, f"{work} {seed}") as free:
        if free and seed not in {row.get(work) for row in read_documents(FRESH)}:
            row = {work: seed} | in_fresh_process(measure, *arguments)
            append_line(FRESH, json.dumps(row | {"date": datetime.date.today().isoformat()}) + "\n")
            print(row, file=sys.stderr, flush=True)


def confirm(machine: str) -> None:
    """The best of ten fresh searches, five times, by both guides, with a second training, and by each guide alone."""
    firsts = range(FRESH_FROM, FRESH_FROM + TIMES * OF, OF)
    for seed in range(FRESH_FROM, FRESH_FROM + TIMES * OF):
        once("seed", seed, searched_and_judged, seed, machine)
    for first in firsts:
        for row in finalists(group_from(first)):
            once("again", row["seed"], short_training, row["architecture"], 1)
    for guide in FRESH_GUIDES.values():
        for first in firsts:
            rows = group_from(first)
            if rows and sum("again" in row for row in rows) == FINALISTS:  # else another process is at it
                best = taken(rows, guide)
                once("taken", best["seed"], tabled, best["architecture"])
    report_fresh()


def report_fresh() -> None:
    """What was taken of the fresh searches, guide by guide, placed in the table of networks."""
    top1 = {row["taken"]: statistics.mean(row["top1"]) for row in read_documents(FRESH) if "taken" in row}
    groups = [group_from(first) for first in range(FRESH_FROM, FRESH_FROM + TIMES * OF, OF)]
    for name, guide in FRESH_GUIDES.items():
        seeds = [taken(rows, guide)["seed"] for rows in groups if rows and math.isfinite(max(guide(rows)))]
        known = [top1[seed] for seed in seeds if seed in top1]
        print(f"by {name}: seeds {seeds}, trained: {[round(value, 2) for value in known]}")
        if len(known) > 1:
            places = spread([percentile(value) for value in known], 1)
            print(f"  mean {spread(known, 2)}%, in the best {places}% of the table")


FRESH_GUIDES = {"both guides, with a second training of the better four": by_both_twice, **GUIDES}


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
