"""The best of several searches, as `fpnas select` takes it: what more searches bring, and what they cost.

    python benchmarks/best_of_searches.py run       # judge what every search of `searches.jsonl` found; can be stopped
    python benchmarks/best_of_searches.py report    # the best of one to eight searches, placed in the table of networks

Every network that the default strategy found in small steps (experiments `strategies` and `fresh seeds` of
`searches.py`) has the short training of `fpnas select`, on one half of the training images, and is judged by the other
half. Rows go to `selections.jsonl` beside this file. What is taken by that is then reported by its trainings on all
images (`searches.jsonl`), which had no part in the choice, as the test images had none.
"""

import argparse
import datetime
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ground_truth import EPOCHS, SPACE, decode, read_rows
from rows import append_line, claim, read_documents
from scipy.stats import kendalltau, pearsonr
from searches import THIS_MACHINE, percentile, read_searches, spread

from fpnas.network_spec import resolve
from fpnas.select_config import SelectConfig
from fpnas.space_file import load_space
from fpnas.train import train
from fpnas.training.evaluation import cross_entropy, normalised_batches
from fpnas.training.load import load_data

TABLE = Path(__file__).with_name("selections.jsonl")
SEARCHED = ("strategies", "fresh seeds")
LAST_UNCHOSEN = "n020"  # the table's first twenty were all trained twice, of the others the best


def searches() -> list[dict[str, Any]]:
    """The rows of the default strategy in small steps, by seed."""
    mine = [row for row in read_searches() if row["experiment"] in SEARCHED and row["variant"] == "fp-nas"]
    return sorted(mine, key=lambda row: row["seed"])


def judged() -> dict[str, dict[str, Any]]:
    """What was judged already, by architecture."""
    return {row["architecture"]: row for row in read_documents(TABLE)}


def run(machine: str) -> None:
    """Judge what is left."""
    torch.set_num_threads(1)
    config = SelectConfig(data="fashion-mnist", output=Path(), threads=1, quiet=True)
    dataset = load_data(config.data, hold_out=config.hold_out, seed=config.seed)
    assert dataset.test is not None
    space = load_space(SPACE)
    for search in searches():
        architecture = search["architecture"]
        with claim(TABLE, architecture) as free:
            if not free or architecture in judged():
                continue
            begun = time.process_time()
            result = train(resolve(space, decode(architecture)), dataset, config)
            batches = normalised_batches(dataset.test, dataset.mean, dataset.std, torch.device("cpu"))
            row = {
                "experiment": search["experiment"],
                "seed": search["seed"],
                "architecture": architecture,
                "held_out_top1": result.top1,
                "cross_entropy": cross_entropy(result.network, batches),
                "seconds": round(time.process_time() - begun, 1),
                "machine": machine,
                "date": datetime.date.today().isoformat(),
            }
            append_line(TABLE, json.dumps(row) + "\n")
        print(f"seed {search['seed']}: {row['cross_entropy']:.4f} nats", file=sys.stderr, flush=True)


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
        "cross-entropy on images held out": [-row["cross_entropy"] for row in rows],
        "hits among them": [row["held_out_top1"] for row in rows],
        "accuracy with the weights of its own search": [row["supernet_top1"] for row in rows],
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


def _mean_of_best(values: list[float], count: int) -> float:
    """Mean over all choices of so many values, sorted by what they are chosen by, of the first among them."""
    behind = len(values) - 1
    choices = math.comb(len(values), count)
    return sum(math.comb(behind - place, count - 1) / choices * value for place, value in enumerate(values))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "report"))
    parser.add_argument("--machine", default=THIS_MACHINE, help="what this machine is called in the rows")
    arguments = parser.parse_args()
    if arguments.action == "run":
        run(arguments.machine)
    else:
        report()


if __name__ == "__main__":
    main()
