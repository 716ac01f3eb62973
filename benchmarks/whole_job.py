"""From images to a trained network: how long it takes and how good it is, over budgets.

    python benchmarks/whole_job.py --budget 6M [--budget 2.5M ...] [--seeds 2] [--cores 2]
    python benchmarks/whole_job.py --report

The commands of a user, one after the other, on all images of Fashion-MNIST: `fpnas search` and `fpnas train` by the
recipes `fashion-mnist-search` and `fashion-mnist-train`. The search is one process of so many threads; the training one
process for each core, which stays on it.
Every seed is a search and a training of its own. Runs are under `runs/whole-job` and go on where they were stopped;
rows go to `whole_job.jsonl` beside this file (`--output`) as they end. Seconds are wall time, of what was
done and kept: let nothing run beside it.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rows import append_line, claim, read_documents
from searches import spread

from fpnas.quantities import parse_quantity
from fpnas.runtime.run_directory import RunDirectory

ROWS = Path(__file__).with_suffix(".jsonl")
RUNS = Path(__file__).parents[1] / "runs" / "whole-job"


def run_command(arguments: list[str], *, threads: int = 1, processes: int = 1) -> None:
    """A command of fpnas; of several processes each keeps to a core of its own."""
    program = [sys.executable, "-m", "fpnas", *arguments, "--threads", str(threads)]
    if processes > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        program = [*torchrun, "--no-python", "sh", "-c", 'exec taskset -c "$LOCAL_RANK" "$@"', "sh", *program]
    subprocess.run(program, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


def result_of(run: Path) -> dict[str, Any]:
    """What a search or training says of itself at its end."""
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return result


def whole_job(budget: str, seed: int, cores: int) -> dict[str, Any]:
    """Search, train, and the figures of both."""
    search, train = (RUNS / f"{budget}-{seed}" / part for part in ("search", "train"))
    common = ["--data", "fashion-mnist", "--seed", str(seed), "--resume", "--quiet"]
    searching = ["search", "--config", "fashion-mnist-search", "--target-macs", budget, "--output", str(search)]
    training = ["train", str(search / "network.json"), "--config", "fashion-mnist-train", "--output", str(train)]
    run_command(searching + common, threads=cores)
    run_command(training + common, processes=cores)
    found, trained = result_of(search), result_of(train)
    return {
        "budget": parse_quantity(budget, "--budget"),
        "seed": seed,
        "macs": found["macs"],
        "params": trained["params"],
        "entropy_nats": round(found["entropy_nats"], 2),
        "test_top1": trained["top1"],
        "raw_top1": trained["raw_top1"],
        "epochs": RunDirectory.open(train, "train").config["epochs"],
        "search_seconds": round(found["seconds"]),
        "train_seconds": round(trained["seconds"]),
        "cores": cores,
        "date": datetime.date.today().isoformat(),
    }


def report(rows: list[dict[str, Any]]) -> None:
    """A line per budget."""
    for budget in sorted({row["budget"] for row in rows}):
        mine = [row for row in rows if row["budget"] == budget]
        minutes = [(row["search_seconds"] + row["train_seconds"]) / 60 for row in mine]
        print(
            f"{budget:,} multiply-adds: {spread([row['test_top1'] for row in mine], 2)}% ({len(mine)} seeds), "
            f"{spread(minutes, 0)} minutes on {mine[0]['cores']} cores"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", action="append", default=[], help="multiply-adds, e.g. 6M")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROWS)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for budget in options.budget:
            work = (parse_quantity(budget, "--budget"), seed)
            with claim(options.output, work) as free:
                if free and work not in [(row["budget"], row["seed"]) for row in read_documents(options.output)]:
                    append_line(options.output, json.dumps(whole_job(budget, seed, options.cores)) + "\n")
    if options.report:
        report(read_documents(options.output))


if __name__ == "__main__":
    main()
