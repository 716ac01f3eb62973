"""Plots of the searches in `searches.jsonl`, for `docs/results.md`.

    python benchmarks/plots.py [--rows searches.jsonl] [--output docs/figures]

A plot whose searches are not there yet is left out.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from planned_searches import space_path
from searches import SPACE, TABLE, read_searches

from fpnas.space_file import load_space

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
Row = dict[str, Any]

# Okabe and Ito's colours, which the colour-blind can tell apart; markers say the same again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def by_variant(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by what was searched, in order of their appearance."""
    return {row["variant"]: [other for other in rows if other["variant"] == row["variant"]] for row in rows}


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Deviation 0 of a single value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def entropies_and(figure: str, label: str, rows: list[Row]) -> Figure | None:
    """Entropy over the epochs on the left, test accuracy over a figure of the search on the right."""
    if not rows:
        return None
    drawing, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for (variant, mine), colour, marker in zip(by_variant(rows).items(), COLOURS, MARKERS, strict=False):
        for row in mine:
            epochs = range(1, len(row["entropies"]) + 1)
            left.plot(epochs, row["entropies"], color=colour, label=variant if row is mine[0] else None)
        x, x_deviation = mean_and_deviation([row[figure] for row in mine])
        y, y_deviation = mean_and_deviation([statistics.mean(row["top1"]) for row in mine])
        right.errorbar(x, y, y_deviation, x_deviation, color=colour, marker=marker, capsize=3, label=variant)
    left.set(xlabel="epoch", ylabel="entropy, nats", ylim=(0, None))
    right.set(xlabel=label, ylabel="test accuracy of the network found, %")
    left.legend(fontsize="small")
    return drawing


def seconds_over_nats(rows: list[Row]) -> Figure | None:
    """What a search costs over the entropy it starts from, a point per search."""
    if not rows:
        return None
    drawing, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        space = load_space(space_path(row["settings"].get("space", SPACE)))
        points.setdefault(space.name, []).append((space.entropy_nats, row["seconds"]))
    for (name, mine), colour, marker in zip(points.items(), COLOURS, MARKERS, strict=False):
        axes.scatter(*zip(*mine, strict=True), color=colour, marker=marker, label=name)
    axes.set(xlabel="entropy of the space, nats", ylabel="seconds of the search", xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize="small")
    return drawing


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=FIGURES)
    arguments = parser.parse_args()
    rows = read_searches(arguments.rows)

    def of(*experiments: str, variants: Callable[[str], bool] = lambda variant: True) -> list[Row]:
        return [row for row in rows if row["experiment"] in experiments and variants(row["variant"])]

    sampling = of("samples", "strategies", variants=lambda variant: variant.startswith(("parsec", "fp-nas-paper")))
    usual = of("strategies", variants=lambda variant: variant == "fp-nas")
    default = [{**row, "variant": "switch at 0.5"} for row in usual]
    drawings = {
        "samples": entropies_and("samples", "architectures sampled", sampling),
        "distribution": entropies_and("seconds", "seconds of the search", default + of("distribution")),
        "spaces": seconds_over_nats(usual + of("fine", "spaces")),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings.items():
        if drawing:
            drawing.savefig(arguments.output / f"{name}.svg", metadata={"Date": None})
            print(arguments.output / f"{name}.svg")


if __name__ == "__main__":
    main()
