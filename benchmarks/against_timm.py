"""Found networks against those of timm that people would pick instead, at equal cost and by the same recipe.

    python benchmarks/against_timm.py --budget 2.5M --budget 6M                  # the networks kept under networks/
    python benchmarks/against_timm.py --budget 6M --found RUN [RUN...]          # runs of searches, or network files
    python benchmarks/against_timm.py --budget 6M --recipe benchmarks/against_timm_longer.yaml
    python benchmarks/against_timm.py --report

On Fashion-MNIST, by the recipe in `against_timm.yaml` beside this file (`--recipe`). A family of timm is brought to the
input and the budget: its stem keeps the resolution (stride 1; five halvings of 28 pixels leave nothing), and its width
multiplier is the least, in steps of 0.005, whose network costs at least 95% of the budget, which may be up to 5% over
it. As widths are multiples of 8, some families have no such network: then it is the one nearest to the budget. Their
pooling is not counted, in their favour. The same is done to FBNetV2-F1. Found networks are within the budget.

Rows go to `against_timm.jsonl` beside this file (`--output`) as trainings end, and what is there is not done again.
A GPU has room for a dozen such trainings at a time (`--workers`), best through CUDA's multi-process service.
"""

import argparse
import json
import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml
from rows import append_line, claim, read_documents
from searches import spread
from timm.models import efficientnet, mobilenetv3
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fpnas.builtin_files import find_network, find_recipe
from fpnas.cost import network_cost
from fpnas.network_file import load_network, network_from_json, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import build_network
from fpnas.quantities import parse_quantity
from fpnas.runtime.carry_out import carry_out
from fpnas.runtime.processes import Processes
from fpnas.runtime.setup import pick_device
from fpnas.train import fit_to_data
from fpnas.train_config import TrainConfig
from fpnas.train_loop import TrainLoop
from fpnas.training.data import DataSet
from fpnas.training.load import load_data

ROWS = Path(__file__).with_suffix(".jsonl")
RECIPE = Path(__file__).with_suffix(".yaml")
KEPT = sorted((Path(__file__).parent / "networks").glob("*.json"))
DATA, SIZE, CHANNELS, CLASSES = "fashion-mnist", 28, 1, 10
LEAST_SHARE, MOST_SHARE = 0.949, 1.051

# timm's own builders: its public entry points fix the width multiplier.
FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "MobileNetV3-Large": lambda width, **data: mobilenetv3._gen_mobilenet_v3("mobilenetv3_large_100", width, **data),
    "MobileNetV3-Small": lambda width, **data: mobilenetv3._gen_mobilenet_v3("mobilenetv3_small_100", width, **data),
    "EfficientNet-B0": lambda width, **data: efficientnet._gen_efficientnet("efficientnet_b0", width, **data),
    "MnasNet-A1": lambda width, **data: efficientnet._gen_mnasnet_a1("semnasnet_100", width, **data),
    "MixNet-S": lambda width, **data: efficientnet._gen_mixnet_s("mixnet_s", width, **data),
    "FBNetV3-B": lambda width, **data: mobilenetv3._gen_fbnetv3("fbnetv3_b", width, **data),
}
SCALED_F1 = "FBNetV2-F1"
RIVALS = [*FAMILIES, SCALED_F1]


@dataclass(frozen=True)
class Rival:
    """A network to train: what it is called, what it costs, how it is made."""

    name: str
    macs: int
    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class Entry:
    """One training of a contest: a rival within a budget, the options it is trained with, and its seed."""

    budget: int
    rival: Rival
    recipe: dict[str, Any]
    seed: int

    def identity(self) -> dict[str, Any]:
        """What tells its row from all others."""
        return {"budget": self.budget, "name": self.rival.name, "recipe": self.recipe, "seed": self.seed}


def timm_network(family: str, width: float) -> nn.Module:
    """A family's network of a width multiplier, with a stem that keeps the resolution."""
    model = FAMILIES[family](width, in_chans=CHANNELS, num_classes=CLASSES)
    stem = model.conv_stem
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (1, 1)
    return model


def scaled_f1(width: float) -> NetworkSpec:
    """FBNetV2-F1 of a width multiplier, with a stem that keeps the resolution."""
    content = network_to_json(load_network(find_network("fbnetv2-f1")))
    for part in (content["stem"], content["head"], *content["blocks"]):
        part["channels"] = max(8, int(part["channels"] * width / 8 + 0.5) * 8)
    content["stem"]["stride"] = 1
    content |= {"input_size": SIZE, "in_channels": CHANNELS, "num_classes": CLASSES, "name": f"{SCALED_F1} x {width}"}
    content.pop("published", None)
    return network_from_json(content, SCALED_F1)


def timm_macs(family: str, width: float) -> int:
    """Multiply-adds of convolutions and linear layers for one image."""
    # Without numbers: hundreds of widths are looked at.
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        timm_network(family, width).eval()(torch.empty(1, CHANNELS, SIZE, SIZE))
    return counter.get_total_flops() // 2


def at_budget(cost: Callable[[float], int], budget: int) -> tuple[float, int]:
    """The multiplier whose network has the budget, and its cost."""
    # Costs rise with the multiplier, but for rounding.
    step = bisect_left(range(1000), LEAST_SHARE * budget, lo=10, key=lambda step: cost(step / 200))
    found = step / 200, cost(step / 200)
    if found[1] <= MOST_SHARE * budget:
        return found
    narrower = (step - 1) / 200, cost((step - 1) / 200)
    return min(found, narrower, key=lambda choice: abs(choice[1] - budget))


def rivals(families: list[str], budget: int) -> Iterator[Rival]:
    """Families brought to a budget."""
    for family in families:
        if family == SCALED_F1:
            width, macs = at_budget(lambda width: network_cost(scaled_f1(width)).macs, budget)
            yield Rival(f"{family} x {width}", macs, partial(build_network, scaled_f1(width)))
        else:
            width, macs = at_budget(partial(timm_macs, family), budget)
            yield Rival(f"{family} x {width}", macs, partial(timm_network, family, width))


def found_networks(paths: list[Path], budget: int, dataset: DataSet) -> Iterator[Rival]:
    """Those of the given networks that cost from 95 to 100% of a budget."""
    for path in paths:
        spec = fit_to_data(load_network(path / "network.json" if path.is_dir() else path), dataset)
        macs = network_cost(spec).macs
        if LEAST_SHARE * budget <= macs <= budget:
            name = path.name if path.is_dir() else path.stem
            yield Rival(f"found: {name}", macs, partial(build_network, spec))


@cache
def images() -> DataSet:
    """What all are trained and tested on."""
    return load_data(DATA)


def train_entry(entry: Entry, path: Path) -> None:
    """Train it and add its row to the file, if that has no such row yet and no other process is at it."""
    torch.set_num_threads(1)
    work = entry.identity()
    with claim(path, tuple(work.values())) as free:
        if not free or any(work.items() <= row.items() for row in read_documents(path)):
            return
        config = TrainConfig(data=DATA, output=Path(), seed=entry.seed, threads=1, quiet=True, **entry.recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = entry.rival.build()
        processes = Processes()
        loop = TrainLoop(model, images(), config, processes)
        trained = carry_out(
            loop.run, None, processes=processes, identity={}, total_steps=loop.total_steps, checkpoint_minutes=0
        )
        figures = {
            "macs": entry.rival.macs,
            "params": sum(weight.numel() for weight in model.parameters()),
            "test_top1": trained.accuracy.top1,
            "seconds": round(trained.seconds, 1),
            "device": torch.cuda.get_device_name() if pick_device(config.device).type == "cuda" else "processor",
        }
        append_line(path, json.dumps(work | figures) + "\n")
    print(f"{entry.rival.name}, seed {entry.seed}: {figures['test_top1']:.2f}%", flush=True)


def report(rows: list[dict[str, Any]]) -> None:
    """A line per network, best first; budgets and recipes apart."""
    contests: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        contests[row["budget"], ", ".join(f"{name} {value}" for name, value in row["recipe"].items())].append(row)
    for (budget, recipe), contest in sorted(contests.items()):
        by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in contest:
            by_name[row["name"]].append(row)
        print(f"{budget:,} multiply-adds, {recipe}:")
        for name, mine in sorted(by_name.items(), key=lambda item: -statistics.mean(r["test_top1"] for r in item[1])):
            accuracies = [row["test_top1"] for row in mine]
            seconds = statistics.mean(row["seconds"] for row in mine)
            print(
                f"  {spread(accuracies, 2)}% ({len(mine)} trained)  {name}: {mine[0]['macs']:,} multiply-adds, "
                f"{mine[0]['params']:,} parameters, {seconds:,.0f} s"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--found", nargs="*", type=Path, default=KEPT, help="search runs or network files")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS, metavar="FAMILY", help=", ".join(RIVALS))
    parser.add_argument("--budget", action="append", default=[], help="multiply-adds, e.g. 2.5M")
    parser.add_argument("--recipe", default=str(RECIPE), help="a recipe's name, or a file of train's options")
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, a process of one thread each")
    parser.add_argument("--output", type=Path, default=ROWS)
    parser.add_argument("--report", action="store_true", help="print what is there")
    parser.add_argument("--json", action="store_true", help="the same as one JSON document")
    options = parser.parse_args()
    recipe = yaml.safe_load(find_recipe(options.recipe).read_text())
    if options.epochs:
        recipe["epochs"] = options.epochs
    entries = []
    for budget in [parse_quantity(text, "--budget") for text in options.budget]:
        contest = [*found_networks(options.found, budget, images()), *rivals(options.rivals, budget)]
        entries += [Entry(budget, rival, recipe, seed) for seed in range(options.seeds) for rival in contest]
    if entries:
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            for future in [pool.submit(train_entry, entry, options.output) for entry in entries]:
                future.result()
    if options.json:
        print(json.dumps({"rows": read_documents(options.output)}, indent=2))
    elif options.report:
        report(read_documents(options.output))


if __name__ == "__main__":
    main()
