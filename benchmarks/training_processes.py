"""What two cores make of the training of a small network: threads of one process, or processes with batch norm in step.

    python benchmarks/training_processes.py [--batch-size 128] [--json]

A network of `mbconv-32` within 6M multiply-adds, by `fpnas train`'s own steps on made-up images in memory. The kinds
below take turns, each round in fresh processes; figures are medians of the rounds. Processes keep to a core each.

- `thread`, `threads`: one process, of one thread and of two.
- `synchronised`, `own`: two processes of one thread, whose batch norm goes by all images or by each one's own
  (`--sync-batch-norm false`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from scaling import TimedReductions

from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_spec import resolve
from fpnas.nn.network import build_network
from fpnas.runtime.processes import join_processes
from fpnas.space_file import load_space
from fpnas.train_config import TrainConfig
from fpnas.train_loop import TrainLoop
from fpnas.training.data import DataSet, ImagesInMemory

KINDS = {"thread": (1, 1), "threads": (1, 2), "synchronised": (2, 1), "own": (2, 1)}
"""Processes and threads of each."""

WARM_STEPS, BUDGET = 10, 6e6


def work(kind: str, batch_size: int, steps: int) -> dict[str, float]:
    """Milliseconds of a step in this process, one of the kind's, and of its exchanges, waiting included."""
    processes = join_processes(torch.device("cpu"))
    if processes.count > 1:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[processes.rank]})
    torch.set_num_threads(KINDS[kind][1])
    space = load_space("mbconv-32")
    indices_KGV, _ = sample_within_budget(
        Factorized(space.cardinalities),
        build_cost_table(space),
        1,
        low=0.95 * BUDGET,
        high=BUDGET,
        generator=torch.Generator().manual_seed(0),
    )
    model = build_network(resolve(space, Architecture.of(indices_KGV[0])))
    pixels = torch.randint(256, (20 * batch_size, 1, 28, 28)).byte()
    images = ImagesInMemory(pixels, torch.arange(len(pixels)) % 10)
    names = tuple(map(str, range(10)))
    data = DataSet("made up", names, 1, 28, (0.5,), (0.3,), True, 2, images, images)
    config = TrainConfig(
        "made up", Path("none"), batch_size=batch_size, sync_batch_norm=kind != "own", workers=0, device="cpu"
    )
    loop = TrainLoop(model, data, config, processes)
    reductions, begin = TimedReductions(), 0.0
    for step in range(WARM_STEPS + steps):
        if step == WARM_STEPS:
            processes.wait()
            reductions.seconds, begin = 0.0, time.perf_counter()
        loop.step(step)
    seconds = time.perf_counter() - begin
    return {"ms_per_step": 1e3 * seconds / steps, "of_them_exchanging": 1e3 * reductions.seconds / steps}


def measured(kind: str, options: argparse.Namespace) -> dict[str, float]:
    """One round of a kind, in fresh processes."""
    processes, threads = KINDS[kind]
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [__file__, f"--batch-size={options.batch_size}", f"--steps={options.steps}", "--work", kind]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    found: dict[str, float] = json.loads(output.splitlines()[0])
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        found = work(options.work, options.batch_size, options.steps)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found), flush=True)
        return
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind, found_before in rounds.items():
            found_before.append(measured(kind, options))
            print(f"{kind}: {found_before[-1]['ms_per_step']:.0f} ms", file=sys.stderr, flush=True)
    rows = {kind: {name: [one[name] for one in found] for name in found[0]} for kind, found in rounds.items()}
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for kind, figures in rows.items():
        steps = figures["ms_per_step"]
        print(
            f"{kind}: {statistics.median(steps):.0f} ms a step ({min(steps):.0f} to {max(steps):.0f}), "
            f"{statistics.median(figures['of_them_exchanging']):.0f} of them exchanging"
        )


if __name__ == "__main__":
    main()
