"""Whether the memory of a search grows: resident size, its peak since the line before, and tensors alive.

    python benchmarks/memory_growth.py --steps 2000 [--warmup-epochs 1]

A search of `fbnetv2-f-32` on 2,560 images of Fashion-MNIST at a small batch, with its record and checkpoints.
"""

import argparse
import gc
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from fpnas.runtime.keeper import RunKeeper
from fpnas.search_config import SearchConfig
from fpnas.supernet_search import run_search

EVERY = 200


def resident_megabytes(field: str) -> float:
    """A field of what the system knows of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--warmup-epochs", type=int, help="of 40 steps; three fifths of all epochs when left out")
    options = parser.parse_args()
    step_done = RunKeeper.step_done

    def watched(keeper: RunKeeper, step: int, *arguments: Any, **others: Any) -> None:
        step_done(keeper, step, *arguments, **others)
        if step % EVERY == 0:
            now, peak = resident_megabytes("VmRSS"), resident_megabytes("VmHWM")
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            tensors = sum(torch.is_tensor(item) for item in gc.get_objects())
            print(f"step {step}: {now:.0f} MiB resident, {peak:.0f} at most, {tensors} tensors", flush=True)

    images, batch = 2560, 32
    with tempfile.TemporaryDirectory() as folder, patch.object(RunKeeper, "step_done", watched):
        config = SearchConfig(
            data="fashion-mnist",
            space="fbnetv2-f-32",
            target_macs="2.5M",
            output=Path(folder) / "run",
            max_images=images,
            epochs=-(-options.steps // (images // 2 // batch)),
            warmup_epochs=options.warmup_epochs,
            batch_size=batch,
            architecture_batch_size=batch,
            threads=1,
            quiet=True,
        )
        run_search(config)


if __name__ == "__main__":
    main()
