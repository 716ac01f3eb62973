"""Whether the memory of a search grows: resident size and tensors alive, from step 200 to the last.

    python benchmarks/memory_growth.py --steps 2000 [--warmup-epochs 1]

A search of `fbnetv2-f-32` on 2,560 images of Fashion-MNIST at a small batch, with its record and checkpoints.
"""

import argparse
import gc
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from fpnas.runtime.keeper import RunKeeper
from fpnas.search_config import SearchConfig
from fpnas.supernet_search import run_search

PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY = 200


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--warmup-epochs", type=int, help="of 40 steps; two fifths of all epochs when left out")
    options = parser.parse_args()
    step_done = RunKeeper.step_done

    def watched(keeper: RunKeeper, step: int, *arguments: Any, **others: Any) -> None:
        step_done(keeper, step, *arguments, **others)
        if step % EVERY == 0:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
            tensors = sum(torch.is_tensor(item) for item in gc.get_objects())
            print(f"step {step}: {resident / 2**20:.0f} MiB resident, {tensors} tensors", flush=True)

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
