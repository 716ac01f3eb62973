"""What every space costs to work with: tables, distribution, supernet, one step at full size, a short search.

Per space: the time of making the table of multiply-adds, of 1,000 look-ups in it and of 1,000 walks over specs; of the
arithmetic of an architecture step without any network (14 samples, entropy, log-probabilities, gradients, Adam) for the
joint distribution; of constructing the supernet, and its bytes; of one training step of a sampled architecture at the
space's own input size with a batch of 2, and the activation memory of supernet and extracted network; and a search of
50 steps on small images, whose every loss is finite.

    python benchmarks/every_space.py --json
"""

import argparse
import json
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker

from fpnas.architecture import Architecture
from fpnas.cost import network_cost
from fpnas.cost.table import CostTable, build_cost_table
from fpnas.distribution import Factorized, Joint
from fpnas.network_spec import resolve
from fpnas.nn.activation_memory import saved_activation_bytes
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.metrics import read_metrics
from fpnas.search_config import SearchConfig
from fpnas.space import SearchSpace, builtin_space_names
from fpnas.space_file import load_space
from fpnas.space_summary import uniform_costs
from fpnas.supernet_search import run_search

SEARCH_PIXELS = 32
SEARCH_EPOCHS, STEPS_PER_EPOCH, SEARCH_BATCH = 5, 10, 16


def median_ms(work: Callable[[], object], repeats: int = 7) -> float:
    """Median time of a piece of work after one warm-up, milliseconds."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def measure_costs(space: SearchSpace, costs: CostTable, generator: torch.Generator) -> dict[str, float]:
    """Times of tables, look-ups and walks; the look-ups must equal the walks."""
    indices_KGV = Factorized(space.cardinalities).sample(1000, generator)

    def walk() -> list[int]:
        return [network_cost(resolve(space, Architecture.of(row))).macs for row in indices_KGV]

    if costs.cost(indices_KGV).tolist() != walk():
        raise AssertionError(f"{space.name}: look-ups differ from walks")
    return {
        "table_ms": median_ms(lambda: build_cost_table(space)),
        "look_up_1000_ms": median_ms(lambda: costs.cost(indices_KGV)),
        "walk_1000_ms": median_ms(walk, repeats=1),
    }


def architecture_step_ms(space: SearchSpace, generator: torch.Generator) -> float:
    """The arithmetic of an architecture step."""
    distribution = Joint(space.cardinalities)
    optimizer = torch.optim.Adam(distribution.parameters())

    def step() -> None:
        indices_KGV = distribution.sample(14, generator)
        distribution.entropy()
        optimizer.zero_grad()
        distribution.log_prob(indices_KGV).sum().backward()
        optimizer.step()

    return median_ms(step, repeats=21)


def peak_activation_bytes(module: nn.Module, *inputs: Any) -> int:
    """Peak of activations in a forward pass with gradients, as torch's own tracker of allocations sees it."""
    tracker = MemTracker()
    tracker.track_external(module, *(value for value in inputs if isinstance(value, Tensor)))
    with tracker:
        output = module(*inputs)
        snapshot = tracker.get_tracker_snapshot("peak")
    del output
    return sum(
        size
        for sizes in snapshot.values()
        for kind, size in sizes.items()
        if getattr(kind, "value", "") == "Activation"
    )


def measure_supernet(space: SearchSpace, generator: torch.Generator) -> dict[str, float]:
    """Construction, and one training step of a sampled architecture at the space's own input size, batch 2."""
    begin = time.perf_counter()
    supernet = SuperNet(space, space.in_channels, space.num_classes)
    construct_s = time.perf_counter() - begin
    indices_GV = Factorized(space.cardinalities).sample(1, generator)[0]
    spec = resolve(space, Architecture.of(indices_GV))
    images = torch.randn(2, space.in_channels, space.input_size, space.input_size, generator=generator)
    labels = torch.tensor([0, 1])
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    begin = time.perf_counter()
    loss = F.cross_entropy(supernet(images, spec), labels)
    loss.backward()
    optimizer.step()
    step_s = time.perf_counter() - begin
    if not math.isfinite(loss.item()):
        raise AssertionError(f"{space.name}: loss {loss.item()}")
    optimizer.zero_grad(set_to_none=True)
    network = supernet.extract(spec)
    return {
        "supernet_construct_s": construct_s,
        "supernet_params": sum(p.numel() for p in supernet.parameters()),
        "supernet_bytes": sum(t.numel() * t.element_size() for t in (*supernet.parameters(), *supernet.buffers())),
        "step_s": step_s,
        "step_macs": network_cost(spec).macs,
        "saved_activation_bytes": saved_activation_bytes(supernet, images, spec),
        "saved_activation_bytes_extracted": saved_activation_bytes(network, images),
        "peak_activation_bytes": peak_activation_bytes(supernet, images, spec),
        "peak_activation_bytes_extracted": peak_activation_bytes(network, images),
    }


def search_50_steps(space: SearchSpace, folder: Path) -> dict[str, float]:
    """A search with the defaults but for its size: the digits at 32 pixels, the space's median as the budget."""
    drawn = uniform_costs(space, build_cost_table(space, input_size=SEARCH_PIXELS, in_channels=1, num_classes=10))
    config = SearchConfig(
        data="digits",
        space=space.name,
        target_macs=str(int(statistics.median(drawn.tolist()))),
        output=folder / space.name,
        epochs=SEARCH_EPOCHS,
        batch_size=SEARCH_BATCH,
        architecture_batch_size=SEARCH_BATCH,
        max_images=2 * SEARCH_BATCH * STEPS_PER_EPOCH,
        image_size=SEARCH_PIXELS,
        workers=0,
        threads=torch.get_num_threads(),
        quiet=True,
    )
    result = run_search(config)
    lines = read_metrics(config.output / "metrics.jsonl")
    losses = [line[name] for line in lines for name in ("loss", "architecture_loss") if name in line]
    steps = sum("loss" in line for line in lines)
    if steps != SEARCH_EPOCHS * STEPS_PER_EPOCH or not all(map(math.isfinite, losses)):
        raise AssertionError(f"{space.name}: {steps} steps, losses {losses}")
    return {
        "search_steps": steps,
        "search_seconds": result.seconds,
        "search_budget_share": result.budget_share,
        "search_entropy_nats": result.entropy_nats,
    }


def measure(name: str, seed: int) -> dict[str, Any]:
    """All figures of a space."""
    space = load_space(name)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    costs = build_cost_table(space)
    row: dict[str, Any] = {"space": name} | measure_costs(space, costs, generator)
    row["architecture_step_ms"] = architecture_step_ms(space, generator)
    row |= measure_supernet(space, generator)
    with tempfile.TemporaryDirectory() as folder:
        row |= search_50_steps(space, Path(folder))
    row["process_peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("spaces", nargs="*", help="names; every built-in space when left out")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.spaces or builtin_space_names():
        rows.append(measure(name, options.seed))
        if not options.json:
            for figure, value in rows[-1].items():
                print(f"{figure:34}{value:,.4g}" if isinstance(value, float) else f"{figure:34}{value}")
            print(flush=True)
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
