"""Whole searches, one row of a file each: what they cost, how they went, what they found, and how well that trains.

    python benchmarks/searches.py list                       # every experiment, its searches, and which are done
    python benchmarks/searches.py run EXPERIMENT [...]       # what is left of them; can be stopped at any time
    python benchmarks/searches.py report [EXPERIMENT ...]    # means over seeds, with their spread

Rows go to `searches.jsonl` beside this file (`--output`). Every search runs in a fresh process with one thread; to
share the work, start the script several times. A search that was stopped goes on from its last epoch (its run is under
`runs/searches` until its row is there). What is found is trained by the recipe of the table (`ground_truth.py`), two
training seeds, and placed in it.

Seconds are of the processor, so that work beside a search counts less than in wall time. They are compared within one
machine (`--machine` names it: two of one make may differ by half). On a GPU they say nothing: rows from there count for
what was found and drawn, not for what it cost.
"""

import argparse
import datetime
import json
import multiprocessing
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ground_truth import SPACE, TARGET, accuracy_by_network, encode, load_images, read_rows, train_by_recipe
from planned_searches import ADAPTIVE, FIXED, OTHERS, Plan, plans, space_path
from rows import append_line, claim, read_documents

from fpnas.network_spec import NetworkSpec
from fpnas.runtime.callbacks import Moment
from fpnas.runtime.metrics import read_metrics
from fpnas.search_config import SearchConfig
from fpnas.strategies import STRATEGIES
from fpnas.supernet_search import SearchResult, run_search

TABLE = Path(__file__).with_suffix(".jsonl")
RUNS = Path(__file__).parents[1] / "runs" / "searches"
PROCESSOR = "processor"
UNNAMED_MACHINE = "a machine without a name"  # of rows from before it was kept
THIS_MACHINE = f"machine of {datetime.date.today()}"


def with_splits(spec: NetworkSpec, splits: int) -> NetworkSpec:
    """The network with this number of splits in every block that is not bypassed."""
    return replace(
        spec, blocks=tuple(replace(block, splits=splits) if block.kernel else block for block in spec.blocks)
    )


def run_folder(plan: Plan) -> Path:
    """Where the search of a plan is while it is not done."""
    return RUNS / f"{plan.experiment}-{plan.variant}-{plan.seed}".replace(" ", "-").replace("/", "-")


class ProcessorSeconds:
    """What a search takes of the processor, kept in a file epoch by epoch, so that one that goes on counts on.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counted = time.process_time()

    def __call__(self, moment: Moment) -> None:
        """Count what an epoch took, or what followed the last."""
        if moment.kind != "step":
            self.count()

    def count(self) -> None:
        """Count what was taken since the last time."""
        now = time.process_time()
        append_line(self._path, f"{now - self._counted:.2f}\n")
        self._counted = now

    def total(self) -> float:
        """All that was counted."""
        return sum(map(float, self._path.read_text().split()))


def search(plan: Plan) -> tuple[SearchResult, float]:
    """The search of a plan, in this process, or what is left of it: what it found, and its seconds of the processor."""
    torch.set_num_threads(1)
    STRATEGIES.update(FIXED | ADAPTIVE | OTHERS)
    folder = run_folder(plan)
    settings: dict[str, Any] = {
        "data": "fashion-mnist",
        "space": SPACE,
        "target_macs": str(TARGET),
        "threads": 1,
        "quiet": True,
    }
    settings |= plan.settings
    settings["space"] = space_path(settings["space"])
    config = SearchConfig(output=folder / "run", seed=plan.seed, resume=True, **settings)
    folder.mkdir(parents=True, exist_ok=True)
    taken = ProcessorSeconds(folder / "seconds")
    try:
        result = run_search(config, callbacks=[taken])
    except SystemExit:  # stopped between two epochs, with a checkpoint
        taken.count()
        raise
    return result, taken.total()


def search_and_train(plan: Plan, machine: str) -> dict[str, Any]:
    """The row of a plan, in this process."""
    result, seconds = search(plan)
    epochs = [record for record in read_metrics(run_folder(plan) / "run" / "metrics.jsonl") if "epoch" in record]
    images = load_images()

    def trained(spec: NetworkSpec) -> list[float]:
        return [train_by_recipe(spec, images, seed=seed) for seed in (0, 1)]

    # Table 7 of the paper: what was found, with the same number of splits everywhere instead.
    uniform_splits = (0, 1, 2, 4) if plan.variant == "split attention" else ()
    return {
        "experiment": plan.experiment,
        "variant": plan.variant,
        "seed": plan.seed,
        "settings": plan.settings,
        "date": datetime.date.today().isoformat(),
        "samples": result.samples,
        "forward_passes": result.forward_passes,
        "backward_passes": result.backward_passes,
        "seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else PROCESSOR,
        "machine": machine,
        "macs": result.macs,
        "budget_share": round(result.budget_share, 4),
        "entropy_nats": round(result.entropy_nats, 3),
        "converged": result.converged,
        "supernet_top1": result.supernet_top1,
        "entropies": [round(record["entropy_nats"], 2) for record in epochs],
        "samples_by_epoch": [record["samples_so_far"] for record in epochs],
        "architecture": encode(result.architecture),
        "top1": trained(result.network),
        "top1_with_splits": {splits: trained(with_splits(result.network, splits)) for splits in uniform_splits},
    }


def read_searches(path: Path = TABLE) -> list[dict[str, Any]]:
    """The rows of a file; none where there is no file."""
    return read_documents(path)


def in_fresh_process(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function of this or an importing module returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def run(chosen: list[Plan], path: Path, machine: str) -> None:
    """Do what is left, each search in a fresh process."""
    for plan in chosen:
        search = (plan.experiment, plan.variant, plan.seed)
        with claim(path, search) as free:
            if not free or search in {(row["experiment"], row["variant"], row["seed"]) for row in read_searches(path)}:
                continue
            row = in_fresh_process(search_and_train, plan, machine)
            append_line(path, json.dumps(row) + "\n")
            shutil.rmtree(run_folder(plan))
        print(
            f"{plan.experiment}, {plan.variant}, seed {plan.seed}: {statistics.mean(row['top1']):.2f}%, "
            f"{row['samples']} samples, {row['seconds']:.0f} s",
            file=sys.stderr,
            flush=True,
        )


def percentile(top1: float) -> float:
    """Percent of the networks of the table that are better, each by the mean of its trainings, as what is found is."""
    values = accuracy_by_network(read_rows()).values()
    return 100 * sum(value > top1 for value in values) / len(values)


def spread(values: list[float], digits: int) -> str:
    """Mean ± deviation."""
    text = f"{statistics.mean(values):,.{digits}f}"
    return f"{text} ± {statistics.stdev(values):,.{digits}f}" if len(values) > 1 else text


def report(experiments: list[str], rows: list[dict[str, Any]]) -> None:
    """A line per variant."""
    for experiment in experiments:
        variants = {row["variant"]: None for row in rows if row["experiment"] == experiment}
        for variant in variants:
            mine = [row for row in rows if row["experiment"] == experiment and row["variant"] == variant]
            accuracies = [statistics.mean(row["top1"]) for row in mine]
            machines: dict[str, list[float]] = {}
            for row in mine:
                if row.get("device", PROCESSOR) == PROCESSOR:
                    machines.setdefault(row.get("machine", UNNAMED_MACHINE), []).append(row["seconds"])
            seconds = ", ".join(f"{spread(values, 0)} on {machine}" for machine, values in machines.items())
            print(
                f"{experiment}, {variant} ({len(mine)} seeds): test {spread(accuracies, 2)}%, "
                f"in the best {spread([percentile(accuracy) for accuracy in accuracies], 1)}% of the table, "
                f"samples {spread([row['samples'] for row in mine], 0)}, "
                f"seconds {seconds or 'not measured'}, "
                f"{spread([row['entropy_nats'] for row in mine], 1)} nats, "
                f"{spread([100 * row['budget_share'] for row in mine], 1)}% of the budget"
            )


def main() -> None:
    """Command line."""
    known = plans()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("list", "run", "report"))
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"of {', '.join(known)}; all if left out")
    parser.add_argument("--seeds", type=int, help="those below this number alone")
    parser.add_argument("--variants", nargs="+", metavar="VARIANT", help="these alone")
    parser.add_argument("--machine", default=THIS_MACHINE, help="what this machine is called in the rows")
    parser.add_argument("--output", type=Path, default=TABLE)
    arguments = parser.parse_args()
    experiments = arguments.experiments or list(known)
    for name in experiments:
        if name not in known:
            parser.error(f"experiment {name}: one of {', '.join(known)} is accepted")
    chosen = [
        plan
        for name in experiments
        for plan in known[name]
        if (arguments.seeds is None or plan.seed < arguments.seeds)
        and (not arguments.variants or plan.variant in arguments.variants)
    ]
    if not chosen and arguments.action == "run":
        parser.error("no such search; `list` names them all, and --seeds takes those below a number")
    rows = read_searches(arguments.output)
    if arguments.action == "list":
        done = {(row["experiment"], row["variant"], row["seed"]) for row in rows}
        for plan in chosen:
            mark = "done" if (plan.experiment, plan.variant, plan.seed) in done else "to do"
            print(f"{mark:5}  {plan.experiment}, {plan.variant}, seed {plan.seed}")
    elif arguments.action == "report":
        report(experiments, rows)
    else:
        run(chosen, arguments.output, arguments.machine)


if __name__ == "__main__":
    main()
