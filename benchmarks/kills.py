"""A search and a training that are killed again and again, against the same ones left alone.

    python benchmarks/kills.py [--kills 20] [--seed 0] [--json]

Each kill is SIGKILL at a random moment, from the start of the process on, and is followed by the same command with
`--resume`; the moments are so near to each other that all of them hit one run. Compared are the files of the
result, the weights and the record but for times, to the bit.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from fpnas.runtime.metrics import read_metrics
from fpnas.runtime.weights import load_weights

COMMON = ("--data", "digits", "--threads", "1", "--quiet")
COMMANDS = {
    "search": ("search", "--space", "tiny", "--target-macs", "0.3M", "--epochs", "60", *COMMON),
    "train": ("train", "fbnetv2-f1", "--image-size", "32", "--epochs", "6", "--max-images", "400", *COMMON),
}
WEIGHTS = {"search": "checkpoints/final.safetensors", "train": "model.safetensors"}


def start(kind: str, output: Path) -> "subprocess.Popen[bytes]":
    """The run as a process of its own; it goes on with what is there."""
    command = [sys.executable, "-m", "fpnas", *COMMANDS[kind], "--output", str(output), "--resume"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(kind: str, output: Path) -> tuple[float, float]:
    """Seconds of a process that is left alone, until its first checkpoint and in all."""
    begin = time.perf_counter()
    process = start(kind, output)
    while process.poll() is None and not list(output.glob("checkpoints/step-*")):
        time.sleep(0.01)
    first = time.perf_counter() - begin
    _, error = process.communicate()
    if process.returncode:
        sys.exit(f"{kind}: exit code {process.returncode}: {error.decode()}")
    return first, time.perf_counter() - begin


def differences(kind: str, one: Path, other: Path) -> list[str]:
    """What is not equal to the bit in two runs."""
    names = [name for name in ("architecture.json", "network.json") if (one / name).exists()]
    different = [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]
    weights = [load_weights(run / WEIGHTS[kind], "weights")[0] for run in (one, other)]
    if weights[0].keys() != weights[1].keys() or not all(
        torch.equal(value, weights[1][name]) for name, value in weights[0].items()
    ):
        different.append(WEIGHTS[kind])
    records = [
        [{name: value for name, value in record.items() if not name.startswith("seconds")} for record in lines]
        for lines in (read_metrics(run / "metrics.jsonl") for run in (one, other))
    ]
    return different + (["metrics.jsonl"] if records[0] != records[1] else [])


def measure(kind: str, kills: int, generator: random.Random, folder: Path) -> dict[str, Any]:
    """A run with that many kills against one without."""
    first, whole = finish(kind, folder / "whole")
    moments = [generator.uniform(0, first + 1.5 * (whole - first) / kills) for _ in range(kills)]
    killed = 0
    for moment in moments:
        process = start(kind, folder / "killed")
        time.sleep(moment)
        killed += process.poll() is None
        process.kill()
        process.communicate()
    finish(kind, folder / "killed")
    different = differences(kind, folder / "whole", folder / "killed")
    return {"run": kind, "kills": killed, "seconds_whole": round(whole, 1), "different": different}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    rows = []
    for kind in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(kind, options.kills, random.Random(options.seed), Path(folder)))
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        for row in rows:
            equal = f"different: {', '.join(row['different'])}" if row["different"] else "equal to the bit"
            print(f"{row['run']} of {row['seconds_whole']} s, killed {row['kills']} times: {equal}")
    sys.exit(any(row["different"] for row in rows))


if __name__ == "__main__":
    main()
