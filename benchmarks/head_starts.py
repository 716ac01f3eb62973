"""What the final training gains from a search's weights, and from a teacher.

    python benchmarks/head_starts.py RUN [RUN...] [--epochs 10] [--seeds 3] [--teacher MODEL]
    python benchmarks/head_starts.py --report

The network that each search found is trained by `fpnas train`'s defaults on all images of Fashion-MNIST: from fresh
weights; from the search's (`--from-search`), in three fifths of the epochs, and from fresh ones in as few; and, where a
teacher is given, from fresh weights by its logits. Rows go to `head_starts.jsonl` beside this file (`--output`) as they
come, and what is there already is not done again; start the script twice to share the work.
"""

import argparse
import datetime
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rows import append_line, claim, read_documents
from searches import spread

from fpnas.network_file import load_network
from fpnas.runtime.run_directory import RunDirectory
from fpnas.train import train
from fpnas.train_config import TrainConfig
from fpnas.training.load import load_data

ROWS = Path(__file__).with_suffix(".jsonl")
DATA = "fashion-mnist"
SHARE = 0.6


def variants(epochs: int, run: Path, teacher: str | None) -> dict[str, dict[str, Any]]:
    """The trainings that are compared: what each is called, and its options."""
    fewer = round(SHARE * epochs)
    return {
        "fresh": {"epochs": epochs},
        "from the search": {"epochs": fewer, "from_search": run},
        "fresh, as few epochs": {"epochs": fewer},
        **({"teacher": {"epochs": epochs, "teacher": teacher}} if teacher else {}),
    }


def run_all(
    runs: list[Path], epochs: int, seeds: int, teacher: str | None, chosen: list[str] | None, output: Path
) -> None:
    """Do what is left. Seeds in the outer loop: after each round all variants have been trained equally often."""
    torch.set_num_threads(1)
    dataset = load_data(DATA)
    for seed in range(seeds):
        for path in runs:
            spec = load_network(RunDirectory.open(path, "search").network_path)
            for variant, options in variants(epochs, path, teacher).items():
                if chosen and variant not in chosen:
                    continue
                work = [path.name, epochs, variant, seed]
                with claim(output, work) as free:
                    done = [
                        [row[name] for name in ("search", "against", "variant", "seed")]
                        for row in read_documents(output)
                    ]
                    if not free or work in done:
                        continue
                    config = TrainConfig(data=DATA, output=Path(), seed=seed, threads=1, quiet=True, **options)
                    result = train(spec, dataset, config)
                    row = {
                        "search": path.name,
                        "against": epochs,
                        "variant": variant,
                        "seed": seed,
                        "epochs": options["epochs"],
                        "top1": result.top1,
                        "raw_top1": result.raw_top1,
                        "macs": result.macs,
                        "seconds": round(result.seconds, 1),
                        "date": datetime.date.today().isoformat(),
                    }
                    append_line(output, json.dumps(row) + "\n")
                print(f"{path.name}, {variant}, seed {seed}: {row['top1']:.2f}%", file=sys.stderr, flush=True)


def report(rows: list[dict[str, Any]]) -> None:
    """A line per search and variant, and what a variant gains over fresh weights, seed by seed."""
    for search, against in dict.fromkeys((row["search"], row["against"]) for row in rows):
        mine = [row for row in rows if (row["search"], row["against"]) == (search, against)]
        fresh = {row["seed"]: row["top1"] for row in mine if row["variant"] == "fresh"}
        for variant in dict.fromkeys(row["variant"] for row in mine):
            trained = [row for row in mine if row["variant"] == variant]
            gains = [row["top1"] - fresh[row["seed"]] for row in trained if row["seed"] in fresh]
            gained = f", {statistics.mean(gains):+.2f} against fresh weights" if gains and variant != "fresh" else ""
            print(
                f"{search}, {variant}, {trained[0]['epochs']} epochs ({len(trained)} seeds): "
                f"{spread([row['top1'] for row in trained], 2)}%{gained}"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="directories of searches")
    parser.add_argument("--epochs", type=int, default=10, help="of the trainings from fresh weights")
    parser.add_argument("--seeds", type=int, default=3, help="trainings per network and variant")
    parser.add_argument("--teacher", help="a model folder, or a model of timm")
    parser.add_argument("--variants", nargs="+", metavar="VARIANT", help="of the report's names, these alone")
    parser.add_argument("--output", type=Path, default=ROWS, help="JSON lines; goes on with what is there")
    parser.add_argument("--report", action="store_true", help="print what is there")
    arguments = parser.parse_args()
    if arguments.runs:
        run_all(
            arguments.runs, arguments.epochs, arguments.seeds, arguments.teacher, arguments.variants, arguments.output
        )
    if arguments.report:
        report(read_documents(arguments.output))


if __name__ == "__main__":
    main()
