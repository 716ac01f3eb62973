"""How soon a supernet learns: with and without choices that start out alike (`SuperBlock.align_choices`), and with and
without a shortcut that fades (`SuperNet.shortcut`).

    python benchmarks/supernet_start.py [--steps 600] [--seeds 2] [--threads 1] [--json]

Random architectures of the budget are trained, one a step; measured is the mean cross-entropy of 16 other ones on
512 images of the architecture half, without a shortcut, batch norm by the batch's statistics.
"""

import argparse
import json
import sys
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from ground_truth import SPACE, TARGET

from fpnas.budget_sampling import sample_within_budget
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.nn.supernet import SuperBlock, SuperNet
from fpnas.runtime.setup import generator_for
from fpnas.space_file import load_space
from fpnas.training.load import load_data
from fpnas.training.optim import build_optimizer, set_learning_rate, warm_up_cosine
from fpnas.training.search_images import SearchImages
from fpnas.training.supernet_trainer import SuperNetTrainer

LEARNING_RATE = 0.3


def measure(steps: int, seed: int, *, aligned: bool, shortcut: bool) -> float:
    """Cross-entropy of held-out architectures, nats, after that many steps."""
    dataset = load_data("fashion-mnist", parts=("train",))
    data: dict[str, Any] = {"input_size": dataset.image_size, "in_channels": 1, "num_classes": 10}
    space = load_space(SPACE)
    costs = build_cost_table(space, **data)
    uniform = Factorized(space.cardinalities)
    device = torch.device("cpu")
    images = SearchImages(dataset, seed=seed, batch_size=128, architecture_batch_size=512, device=device, workers=0)
    torch.manual_seed(seed)
    if aligned:
        supernet = SuperNet(space, 1, 10)
    else:
        with patch.object(SuperBlock, "align_choices", lambda block: None):
            supernet = SuperNet(space, 1, 10)
    supernet = supernet.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(supernet, name="sgd", learning_rate=LEARNING_RATE, weight_decay=2e-5)
    trainer = SuperNetTrainer(supernet, optimizer, **data)

    def draw(number: int, *purpose: str | int) -> torch.Tensor:
        generator = generator_for(seed, *purpose)
        return sample_within_budget(uniform, costs, number, low=0.95 * TARGET, high=TARGET, generator=generator)[0]

    for step in range(steps):
        # The rate of the first steps of a search ten times as long.
        set_learning_rate(optimizer, LEARNING_RATE * warm_up_cosine(step / (10 * steps), 0.01))
        supernet.shortcut = 1 - step / steps if shortcut else 0.0
        trainer.train_weights(*images.weight_batch(), draw(1, "step", step), torch.ones(1))
    supernet.shortcut = 0.0
    return float(trainer.judge(*images.architecture_batch(), draw(16, "held out"))[0].mean())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for seed in range(arguments.seeds):
        for aligned, shortcut in product((False, True), repeat=2):
            nats = measure(arguments.steps, seed, aligned=aligned, shortcut=shortcut)
            row = {"seed": seed, "steps": arguments.steps, "aligned": aligned, "shortcut": shortcut}
            rows.append({**row, "cross_entropy": nats})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
