"""What the ways around oneDNN's slow cases give on this processor: milliseconds of a training step with and without.

    python benchmarks/processor_kernels.py [--json]

The ways are those of `fpnas.nn.ops.convolve`: small maps padded beforehand, and 1x1 convolutions as matrix products.
They are measured on the supernet, whose every step is of another architecture (batch 32, 1,024 and 4,096 kernels kept),
and on networks whose kernels are there (batch 64). One thread; 28 pixels, `fbnetv2-f-32`, architectures of 2.5M
multiply-adds. Every figure of the supernet comes from a process of its own; kinds take turns.
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
import fpnas.nn.sliced
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
STEPS, NETWORKS = 300, 8
Convolve = Callable[..., Tensor]


def plain(images: Tensor, weight: Tensor, *, stride: int, groups: int, training: bool) -> Tensor:
    """A convolution as oneDNN computes it."""
    return F.conv2d(images, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)


def padded(images: Tensor, weight: Tensor, *, stride: int, groups: int, training: bool) -> Tensor:
    """Small maps padded beforehand, 1x1 convolutions as oneDNN computes them."""
    way = plain if weight.shape[-1] == 1 else CONVOLVE
    return way(images, weight, stride=stride, groups=groups, training=training)


CONVOLVE = fpnas.nn.ops.convolve
WAYS: dict[str, Convolve] = {"as oneDNN does": plain, "padded": padded, "padded, matrix products": CONVOLVE}


def take(way: str) -> None:
    """Have every layer of this process computed in a way."""
    fpnas.nn.ops.convolve = fpnas.nn.sliced.convolve = WAYS[way]


def drawn(count: int) -> Tensor:
    """Architectures of the budget."""
    space = load_space(SPACE)
    uniform, generator = Factorized(space.cardinalities), torch.Generator().manual_seed(0)
    low, costs = 0.95 * TARGET, build_cost_table(space)
    return sample_within_budget(uniform, costs, count, low=low, high=TARGET, generator=generator)[0]


def images(batch: int) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch, 1, 28, 28, generator=generator).contiguous(memory_format=torch.channels_last)
    return pixels, torch.randint(10, (batch,), generator=generator)


def supernet_step(way: str, capacity: str) -> float:
    """Milliseconds of a step in the last two thirds of `STEPS`, in this process."""
    os.environ[CAPACITY] = capacity
    torch.set_num_threads(1)
    take(way)
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


def network_step(way: str) -> float:
    """Mean milliseconds of a training step of several networks, after the first of each."""
    take(way)
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for way in WAYS:
            for capacity in ("1024", "4096"):
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    took = pool.submit(supernet_step, way, capacity).result()
                figures.setdefault(f"supernet, {way}, {capacity} kernels", []).append(round(took, 1))
            figures.setdefault(f"network, {way}", []).append(round(network_step(way), 1))
    if options.json:
        print(json.dumps({"milliseconds": figures}, indent=2))
        return
    print(torch.backends.cpu.get_cpu_capability())
    for name, values in sorted(figures.items()):
        print(f"{name}: {statistics.median(values):.1f} ms a step ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
