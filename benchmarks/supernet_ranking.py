"""How well the shared weights of a search rank the networks of the table: Kendall's tau.

    python benchmarks/supernet_ranking.py RUN [RUN...] [--images 1000]

RUN is a finished search of `fbnetv2-f-32` on Fashion-MNIST. Every network of `ground_truth.csv` is judged by slices of
its shared weights, as a search judges them: cross-entropy with the batches' own statistics, here on test images, the
same for all. A search of the strategy `random` trains every choice evenly to its end; others train what they prefer.
"""

import argparse
from pathlib import Path

import torch
from ground_truth import SPACE, accuracy_by_network, decode, load_images, read_rows
from scipy.stats import kendalltau

from fpnas.finished_search import open_finished_search
from fpnas.space_file import load_space
from fpnas.training.evaluation import normalised_batches
from fpnas.training.optim import build_optimizer
from fpnas.training.supernet_trainer import SuperNetTrainer


def cross_entropies(run: Path, architectures: list[str], images: int) -> list[float]:
    """Mean over test images, nats, of every architecture with a search's shared weights."""
    search = open_finished_search(run, "RUN")
    if search.space.digest != load_space(SPACE).digest:
        raise SystemExit(f"RUN {run}: a search of {SPACE} is expected, this is one of {search.space.name}")
    dataset = load_images()
    supernet = search.supernet()
    trainer = SuperNetTrainer(
        supernet,
        build_optimizer(supernet, name="sgd", learning_rate=0, weight_decay=0),
        input_size=dataset.image_size,
        in_channels=dataset.in_channels,
        num_classes=len(dataset.class_names),
    )
    assert dataset.test is not None
    batches = normalised_batches(dataset.test, dataset.mean, dataset.std, torch.device("cpu"))
    indices_KGV = torch.stack([torch.tensor(decode(text).indices) for text in architectures])
    total_K = torch.zeros(len(architectures))
    judged = 0
    for inputs, labels in batches:
        total_K += len(labels) * trainer.judge(inputs, labels, indices_KGV)[0]
        judged += len(labels)
        if judged >= images:
            break
    return (total_K / judged).tolist()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows()
    architectures = {row.network: row.architecture for row in rows}
    top1 = accuracy_by_network(rows)
    best = sorted(top1, key=lambda name: -top1[name])[: len(top1) // 2]
    for run in arguments.runs:
        nats = dict(
            zip(top1, cross_entropies(run, [architectures[name] for name in top1], arguments.images), strict=True)
        )
        for what, names in ((f"all {len(top1)} networks", list(top1)), (f"the better {len(best)}", best)):
            tau = kendalltau([-nats[name] for name in names], [top1[name] for name in names])
            print(f"{run.name}, {what}: Kendall's tau {tau.statistic:.2f}, p = {tau.pvalue:.3f}", flush=True)


if __name__ == "__main__":
    main()
