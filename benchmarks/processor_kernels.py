"""What two remedies against oneDNN's slow cases give on this processor: milliseconds of a step with and without each.

    python benchmarks/processor_kernels.py [--json]

- Kept kernels (`fpnas.runtime.setup.keep_kernels`): training steps of a supernet on architectures that are drawn anew,
  as a search takes them, in processes that keep the usual 1,024 kernels, 4,096 as fpnas has it, or all.
- Padded small maps (`fpnas.nn.ops.convolve`): training steps of networks of the budget, with and without, in turn.

One thread; 28 pixels, `fbnetv2-f-32`, architectures of 2.5M multiply-adds.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.nn.functional as F
from ground_truth import SPACE, TARGET
from torch import Tensor

import fpnas.nn.ops
from fpnas.architecture import Architecture
from fpnas.budget_sampling import sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_spec import resolve
from fpnas.nn.network import build_network
from fpnas.nn.supernet import SuperNet
from fpnas.space_file import load_space
from fpnas.training.optim import build_optimizer
from fpnas.training.supernet_trainer import SuperNetTrainer

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
STEPS, NETWORKS, ROUNDS = 600, 8, 5


def drawn(count: int) -> Tensor:
    """Architectures of the budget."""
    space = load_space(SPACE)
    generator = torch.Generator().manual_seed(0)
    costs = build_cost_table(space)
    uniform = Factorized(space.cardinalities)
    return sample_within_budget(uniform, costs, count, low=0.95 * TARGET, high=TARGET, generator=generator)[0]


def images(batch: int) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch, 1, 28, 28, generator=generator).contiguous(memory_format=torch.channels_last)
    return pixels, torch.randint(10, (batch,), generator=generator)


def supernet_step(capacity: str) -> float:
    """Milliseconds of a step after the first third of a search of `STEPS`, in this process."""
    os.environ[CAPACITY] = capacity
    torch.set_num_threads(1)
    supernet = SuperNet(load_space(SPACE), 1, 10).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(supernet, name="sgd", learning_rate=0.1, weight_decay=0.0)
    trainer = SuperNetTrainer(supernet, optimizer, input_size=28, in_channels=1, num_classes=10)
    pixels, labels = images(32)
    begin = 0.0
    for step, architecture in enumerate(drawn(STEPS)):
        if step == STEPS // 3:
            begin = time.perf_counter()
        trainer.train_weights(pixels, labels, architecture[None], torch.ones(1))
    return 1000 * (time.perf_counter() - begin) / (STEPS - STEPS // 3)


def network_step(convolve: Callable[..., Tensor]) -> float:
    """Mean milliseconds of a training step of several networks, once their kernels are compiled."""
    fpnas.nn.ops.convolve = convolve
    pixels, labels = images(64)
    space = load_space(SPACE)
    seconds = 0.0
    for architecture in drawn(NETWORKS):
        network = build_network(resolve(space, Architecture.of(architecture))).to(memory_format=torch.channels_last)
        for step in range(6):
            if step == 1:
                seconds -= time.perf_counter()
            F.cross_entropy(network(pixels), labels).backward()
        seconds += time.perf_counter()
    return 1000 * seconds / 5 / NETWORKS


def unpadded(images: Tensor, weight: Tensor, *, stride: int, groups: int, training: bool) -> Tensor:
    """`fpnas.nn.ops.convolve` without its remedy."""
    return F.conv2d(images, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, list[float]] = {
        "1,024 kernels": [],
        "4,096 kernels": [],
        "all kernels": [],
        "unpadded": [],
        "padded": [],
    }
    padded = fpnas.nn.ops.convolve
    for _ in range(ROUNDS):
        for name, capacity in (("1,024 kernels", "1024"), ("4,096 kernels", "4096"), ("all kernels", "1000000")):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                figures[name].append(pool.submit(supernet_step, capacity).result())
        for name, convolve in (("unpadded", unpadded), ("padded", padded)):
            figures[name].append(network_step(convolve))
    medians = {name: round(statistics.median(values), 1) for name, values in figures.items()}
    ratios = {
        "kernels": round(medians["1,024 kernels"] / medians["4,096 kernels"], 2),
        "padding": round(medians["unpadded"] / medians["padded"], 2),
    }
    if options.json:
        print(json.dumps({"milliseconds": figures, "ratios": ratios}, indent=2))
        return
    print(torch.backends.cpu.get_cpu_capability())
    for name, values in figures.items():
        print(f"{name}: {medians[name]} ms a step ({min(values):.1f} to {max(values):.1f})")
    print(f"1,024 / 4,096 kernels {ratios['kernels']}, unpadded / padded {ratios['padding']}")


if __name__ == "__main__":
    main()
