"""The best of several searches, as `fpnas select` takes it: what more searches bring, and what they cost.

    python benchmarks/best_of_searches.py run       # judge what every search of `searches.jsonl` found; can be stopped
    python benchmarks/best_of_searches.py report    # the best of one to five searches, placed in the table of networks

Every network that the default strategy found in small steps (experiments `strategies` and `fresh seeds` of
`searches.py`) has the short training of `fpnas select`, on one half of the training images, and is judged by the other
half. Rows go to `selections.jsonl` beside this file. What is taken by that is then reported by its trainings on all
images (`searches.jsonl`), which had no part in the choice, as the test images had none.
"""

import argparse
import datetime
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ground_truth import SPACE, decode
from rows import append_line, claim, read_documents
from scipy.stats import kendalltau, pearsonr
from searches import THIS_MACHINE, percentile, read_searches, spread

from fpnas.network_spec import resolve
from fpnas.select_config import SelectConfig
from fpnas.space_file import load_space
from fpnas.train import train
from fpnas.training.load import load_data

TABLE = Path(__file__).with_name("selections.jsonl")
SEARCHED = ("strategies", "fresh seeds")
GROUP = 4


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
    space = load_space(SPACE)
    for search in searches():
        architecture = search["architecture"]
        with claim(TABLE, architecture) as free:
            if not free or architecture in judged():
                continue
            begun = time.process_time()
            top1 = train(resolve(space, decode(architecture)), dataset, config).top1
            row = {
                "experiment": search["experiment"],
                "seed": search["seed"],
                "architecture": architecture,
                "held_out_top1": top1,
                "seconds": round(time.process_time() - begun, 1),
                "machine": machine,
                "date": datetime.date.today().isoformat(),
            }
            append_line(TABLE, json.dumps(row) + "\n")
        print(f"seed {search['seed']}: {top1:.2f}% of the images held out", file=sys.stderr, flush=True)


def report() -> None:
    """The best of several searches, by what is held out."""
    known = judged()
    rows = [row | known[row["architecture"]] for row in searches() if row["architecture"] in known]
    accuracies = [statistics.mean(row["top1"]) for row in rows]
    held_out = [row["held_out_top1"] for row in rows]
    print(
        f"{len(rows)} searches: test {spread(accuracies, 2)}%, in the best "
        f"{spread([percentile(value) for value in accuracies], 1)}%; held out {spread(held_out, 2)}%, "
        f"{spread([known[row['architecture']]['seconds'] for row in rows], 0)} s each; correlation with the test "
        f"{pearsonr(held_out, accuracies).statistic:.2f}, "
        f"Kendall's tau {kendalltau(held_out, accuracies).statistic:.2f}"
    )

    def best(group: tuple[int, ...]) -> float:
        return accuracies[max(group, key=lambda index: held_out[index])]

    for count in range(1, 6):
        found = [best(group) for group in itertools.combinations(range(len(rows)), count)]
        places = [percentile(value) for value in found]
        print(
            f"best of {count}, every choice of them: test {statistics.mean(found):.2f}%, "
            f"in the best {statistics.mean(places):.1f}%"
        )
    groups = [tuple(range(begin, begin + GROUP)) for begin in range(0, len(rows) - GROUP + 1, GROUP)]
    found = [best(group) for group in groups]
    places = [percentile(value) for value in found]
    print(f"best of {GROUP}, {len(groups)} groups in the order of their seeds: test {spread(found, 2)}%, ", end="")
    print(f"in the best {spread(places, 1)}%: {', '.join(f'{place:.1f}' for place in places)}")


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
