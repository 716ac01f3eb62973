"""What share of a training's time goes to waiting for images: a class folder of JPEG files, in memory and streamed.

    python benchmarks/loading.py --workers 2

Images of noise over gradients, about as large as photographs of their size, are made once in a temporary folder.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from fpnas.builtin_files import find_network
from fpnas.network_file import load_network
from fpnas.nn.network import build_network
from fpnas.runtime.setup import generator_for
from fpnas.training import streams
from fpnas.training.augment import Augment, normalise
from fpnas.training.batches import BatchStream
from fpnas.training.load import load_data


def make_image(path: Path, side: int, seed: int) -> None:
    """A JPEG file."""
    generator = np.random.default_rng(seed)
    slope = np.linspace(0, 160, side)
    pixels = slope[:, None, None] * generator.random(3) + slope[None, :, None] * generator.random(3)
    pixels = pixels / 2 + generator.normal(60, 12, (side, side, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def share_waiting(root: Path, options: argparse.Namespace, *, streamed: bool) -> tuple[float, float, float]:
    """Seconds of reading at the start, of a step, and the share of the steps that was waiting for images."""
    streams.MEMORY_LIMIT = 0 if streamed else 2 * 1024**3
    begin = time.perf_counter()
    dataset = load_data(str(root), image_size=options.size, workers=options.workers, parts=("train",))
    reading = time.perf_counter() - begin
    assert dataset.train is not None
    model = build_network(load_network(find_network("fbnetv2-f1")).at_input_size(options.size))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    indices = torch.arange(len(dataset.train))
    stream = BatchStream(dataset.train, indices, options.batch_size, generator_for(0), options.workers)
    augment, generator = Augment(True, dataset.shift), generator_for(1)
    waiting = 0.0
    stream.next()
    begin = time.perf_counter()
    for _ in range(options.steps):
        asked = time.perf_counter()
        images, labels = stream.next()
        waiting += time.perf_counter() - asked
        inputs = normalise(augment(images, generator), dataset.mean, dataset.std)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    seconds = time.perf_counter() - begin
    return reading, seconds / options.steps, waiting / seconds


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=128, help="side that the network is given, pixels")
    parser.add_argument("--side", type=int, default=256, help="of the files, pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [root / "train" / f"class{i % 10}" / f"{i}.jpg" for i in range(options.images)]
        for name in {path.parent for path in paths}:
            name.mkdir(parents=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda pair: make_image(pair[1], options.side, pair[0]), enumerate(paths)))
        size = sum(path.stat().st_size for path in paths) / len(paths)
        print(f"{options.images} JPEG files of {size / 1000:.0f} kB", flush=True)
        for streamed in (False, True):
            reading, seconds, share = share_waiting(root, options, streamed=streamed)
            where = "streamed" if streamed else "in memory"
            print(f"{where}: {reading:.1f} s at the start, {seconds:.3f} s a step, {100 * share:.2f}% of it waiting")


if __name__ == "__main__":
    main()
