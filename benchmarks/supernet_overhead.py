"""What the supernet costs over the network that is searched: time of a training step, activations kept.

Both take the same step (gradients to None, forward, cross-entropy, backward, SGD with Nesterov momentum) on the same
images and architecture: the supernet under a spec, and the network extracted from it. The claim is that of one model's
memory and at most a tenth more time. In the warm-up of a search, shortcuts add their bypasses: what the dearest step
keeps then is compared with the training of the largest network that was drawn.

    python benchmarks/supernet_overhead.py --json
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpnas.architecture import Architecture
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.activation_memory import saved_activation_bytes
from fpnas.nn.supernet import SuperNet
from fpnas.space import SearchSpace
from fpnas.space_file import load_space


class TrainingStep:
    """One step of training a module on fixed images; `inputs` are the module's arguments."""

    def __init__(self, module: nn.Module, inputs: tuple[object, ...], labels: Tensor) -> None:
        self.module, self.inputs, self.labels = module, inputs, labels
        self.optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.module(*self.inputs), self.labels).backward()
        self.optimizer.step()

    def seconds(self) -> float:
        start = time.perf_counter()
        self()
        return time.perf_counter() - start


def random_spec(space: SearchSpace, generator: torch.Generator, **data: int) -> NetworkSpec:
    """The network of a uniformly drawn architecture."""
    rows = [[int(torch.randint(size, (1,), generator=generator)) for size in sizes] for sizes in space.cardinalities]
    return resolve(space, Architecture.of(rows), **data)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """The median over architectures of the ratio of times; of bytes kept, the greatest ratio and the warm-up's."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    space = load_space(options.space)
    size = options.input_size or space.input_size
    shape = (options.batch_size, space.in_channels, size, size)
    images = torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(space.num_classes, (options.batch_size,), generator=generator)
    supernet = SuperNet(space, space.in_channels, space.num_classes).to(memory_format=torch.channels_last)
    time_ratios, byte_ratios, network_bytes, warm_up_bytes = [], [], [], []
    for _ in range(options.architectures):
        spec = random_spec(space, generator, input_size=size)
        network = supernet.extract(spec).to(memory_format=torch.channels_last)
        network_bytes.append(saved_activation_bytes(network, images))
        byte_ratios.append(saved_activation_bytes(supernet, images, spec) / network_bytes[-1])
        supernet.shortcut = 1.0
        warm_up_bytes.append(saved_activation_bytes(supernet, images, spec))
        supernet.shortcut = 0.0
        steps = TrainingStep(supernet, (images, spec), labels), TrainingStep(network, (images,), labels)
        for step in steps:  # momentum buffers and kernels of this architecture are made outside the clock
            step()
        # Alternating, so that whatever else the machine does meets both; medians, so that it is forgotten.
        times: tuple[list[float], list[float]] = ([], [])
        for repeat in range(options.repeats):
            for which in (0, 1) if repeat % 2 else (1, 0):
                times[which].append(steps[which].seconds())
        time_ratios.append(statistics.median(times[0]) / statistics.median(times[1]))
    return {
        "time_ratio_median": statistics.median(time_ratios),
        "activation_ratio_max": max(byte_ratios),
        "warm_up_activation_ratio": max(warm_up_bytes) / max(network_bytes),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--space", default="fbnetv2-f-32", help="built-in name or space file")
    parser.add_argument("--input-size", type=int, help="pixels; the space's own when left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--architectures", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5, help="timed steps per architecture and side")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"time of a step, supernet / network, median: {result['time_ratio_median']:.3f} (at most 1.10)")
        print(f"activations kept, supernet / network, most:  {result['activation_ratio_max']:.3f} (at most 1.00)")
        print(f"with shortcuts, largest / largest network:   {result['warm_up_activation_ratio']:.3f} (at most 1.05)")


if __name__ == "__main__":
    main()
