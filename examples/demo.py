"""The main job in a few minutes: search, train, evaluate, export, and hold the result against random networks.

    python examples/demo.py [--output FOLDER] [--quick]

Fashion-MNIST where it is found on this machine, else scikit-learn's digits. `--quick` takes the digits in any case.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from fpnas.export import export_model
from fpnas.predict import evaluate_model
from fpnas.search_config import SearchConfig
from fpnas.supernet_search import run_search
from fpnas.train import run_train
from fpnas.train_config import TrainConfig
from fpnas.training.load import fashion_mnist_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from against_random import candidates_of, compare, show

RANDOM_NETWORKS = 5


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}")
    parser.add_argument("--quick", action="store_true", help="digits, whatever is on this machine")
    arguments = parser.parse_args()
    started = time.perf_counter()
    threads = len(os.sched_getaffinity(0))
    search_folder, train_folder = arguments.output / "search", arguments.output / "train"
    recipe: dict[str, object]
    if fashion_mnist_folder() is None or arguments.quick:
        search_config = SearchConfig(
            data="digits", space="tiny", target_macs="0.3M", output=search_folder, epochs=60, batch_size=64
        )
        recipe = {"data": "digits", "epochs": 20, "max_images": None}
    else:
        search_config = SearchConfig(
            data="fashion-mnist",
            space="fbnetv2-f-32",
            target_macs="2.5M",
            output=search_folder,
            epochs=8,
            max_images=20000,
        )
        recipe = {"data": "fashion-mnist", "epochs": 4, "max_images": 10000}
    print(f"1. Search for the best network of {search_config.space} within {search_config.target_macs} MACs")
    result = run_search(search_config)
    print(
        f"   found {result.macs:,} MACs, {100 * result.budget_share:.1f}% of the budget, at {result.entropy_nats:.1f} "
        f"nats, in {result.seconds:.0f} s"
    )
    print("2. Train it")
    run_train(search_folder / "network.json", TrainConfig(output=train_folder, **recipe))  # type: ignore[arg-type]
    print("3. Evaluate it on the test images")
    accuracy = evaluate_model(train_folder, search_config.data)
    print(f"   {accuracy.top1:.2f}% of {accuracy.images} images")
    print("4. Export it to ONNX")
    exported = export_model(train_folder, train_folder / "model.onnx")
    print(f"   {exported.path}, largest difference from PyTorch {exported.largest_difference:.1e}")
    print(f"5. Train it and {RANDOM_NETWORKS} random networks of the budget side by side")
    candidates = candidates_of([search_folder], RANDOM_NETWORKS, seed=0)
    rows = compare(candidates, recipe, seeds=1, processes=threads)
    show(rows, candidates)
    print(f"ONNX file: {exported.path}")
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
