"""How many images per second one and two processes search, of one thread each, and where a step's time goes.

    python benchmarks/scaling.py --json

A step is the default strategy's: `--samples` architectures judged on one batch, one trained on another, the images in
memory. Runs of the kinds below take turns; each figure is the median of its rounds.

- `data`, `samples`: one process, or two under `torchrun` that split the images or the architectures.
- `apart`: two processes that know nothing of each other, a whole step each: what the machine gives to two threads at
  most. Two virtual cores are often one core.

Reductions are timed where they are called, waiting for the other process included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from fpnas.budget_sampling import sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.processes import join_processes
from fpnas.runtime.setup import generator_for
from fpnas.space_file import load_space
from fpnas.training.optim import build_optimizer
from fpnas.training.supernet_trainer import SuperNetTrainer

KINDS = (("data", 1), ("samples", 1), ("apart", 2), ("data", 2), ("samples", 2))
WARM_STEPS = 1


class TimedReductions:
    """Counts what this process exchanges with others, and the time and bytes it takes."""

    def __init__(self) -> None:
        self.seconds, self.calls, self.bytes = 0.0, 0, 0
        for name in ("all_reduce", "all_gather"):
            vars(dist)[name] = partial(self._timed, getattr(dist, name))

    def _timed(self, exchange: Callable[..., Any], *tensors: Any) -> None:
        begin = time.perf_counter()
        exchange(*tensors)
        self.seconds += time.perf_counter() - begin
        self.calls += 1
        self.bytes += tensors[-1].nbytes


def work(options: argparse.Namespace) -> dict[str, float]:
    """Steps of a search in this process, one of the run's."""
    torch.set_num_threads(1)
    processes = join_processes(torch.device("cpu"))
    by_samples = options.work == "samples"
    space = load_space(options.space)
    supernet = SuperNet(space, space.in_channels, space.num_classes).to(memory_format=torch.channels_last)
    trainer = SuperNetTrainer(
        supernet,
        build_optimizer(supernet, name="sgd", learning_rate=0.05, weight_decay=0.0),
        input_size=space.input_size,
        in_channels=space.in_channels,
        num_classes=space.num_classes,
        processes=processes,
        by_samples=by_samples,
    )
    costs = build_cost_table(space)
    middle = costs.expected(Factorized(space.cardinalities))
    generator = generator_for(0, "scaling")

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (size, space.in_channels, space.input_size, space.input_size)
        images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        part = slice(None) if by_samples else processes.share.of(size)
        return images[part], torch.randint(space.num_classes, (size,), generator=generator)[part]

    judged, trained = batch(options.batch_size // 2), batch(options.batch_size)
    reductions = TimedReductions()
    begin = time.perf_counter()
    for step in range(WARM_STEPS + options.steps):
        if step == WARM_STEPS:
            processes.wait()
            reductions.seconds, reductions.calls, reductions.bytes = 0.0, 0, 0
            begin = time.perf_counter()
        indices_KGV, _ = sample_within_budget(
            Factorized(space.cardinalities), costs, options.samples, low=0.9 * middle, high=middle, generator=generator
        )
        trainer.judge(*judged, indices_KGV)
        trainer.train_weights(*trained, indices_KGV[:1], torch.ones(1))
    seconds = (time.perf_counter() - begin) / options.steps
    return {
        "seconds_per_step": seconds,
        "reduction_seconds": reductions.seconds / options.steps,
        "reductions": reductions.calls / options.steps,
        "reduced_bytes": reductions.bytes / options.steps,
    }


def measured(mode: str, count: int, options: argparse.Namespace) -> dict[str, float]:
    """One round of a kind, in fresh processes."""
    own = [str(Path(__file__)), f"--steps={options.steps}", f"--batch-size={options.batch_size}"]
    own += [f"--samples={options.samples}", f"--space={options.space}", "--work"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, *own, "data" if mode == "apart" else mode]
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", *own, mode]
    commands = [together] if count > 1 and mode != "apart" else [alone] * count
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for command in commands]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{mode}, {count} processes: failed")
    found: dict[str, float] = json.loads(outputs[0].splitlines()[0])
    batches = len(commands) if mode == "apart" else 1
    found["images_per_second"] = batches * options.batch_size / found["seconds_per_step"]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="fbnetv2-f")
    parser.add_argument("--batch-size", type=int, default=256, help="of the weight step; half of it judges")
    parser.add_argument("--samples", type=int, default=8, help="architectures of a step")
    parser.add_argument("--steps", type=int, default=3, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        found = work(options)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found), flush=True)
        return
    rounds: dict[tuple[str, int], list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for number in range(options.rounds):
        for mode, count in KINDS:
            rounds[mode, count].append(measured(mode, count, options))
            speed = rounds[mode, count][-1]["images_per_second"]
            print(f"round {number}: {mode}, {count} processes: {speed:.0f} images/s", file=sys.stderr, flush=True)
    rows: list[dict[str, Any]] = [
        {"mode": mode, "processes": count} | {name: statistics.median(one[name] for one in found) for name in found[0]}
        for (mode, count), found in rounds.items()
    ]
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
        return
    one = {row["mode"]: row["images_per_second"] for row in rows if row["processes"] == 1}
    for row in rows:
        ratio = row["images_per_second"] / one.get(row["mode"], one["data"])
        print(
            f"{row['mode']}, {row['processes']} processes: {row['images_per_second']:.0f} images/s ({ratio:.2f}), "
            f"{1e3 * row['seconds_per_step']:.0f} ms a step, {1e3 * row['reduction_seconds']:.0f} of them in "
            f"{row['reductions']:.0f} reductions of {row['reduced_bytes'] / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    main()
