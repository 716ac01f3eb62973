"""Pictures of the documentation: real searches, drawn from the rows beside this file and from one small search.

    python benchmarks/pictures.py [--output docs/pictures]

The search takes the digits in the space `tiny`: under a minute on one idle core. The same rows and the same search give
the same pictures.
"""

import argparse
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from ground_truth import EPOCHS, SPACE, decode, read_rows
from matplotlib.figure import Figure
from planned_searches import SEEDS, space_path
from searches import read_searches

from fpnas.network_spec import resolve
from fpnas.report.network_drawing import draw_network
from fpnas.runtime.metrics import read_metrics
from fpnas.search_config import SearchConfig
from fpnas.space_file import load_space
from fpnas.supernet_search import run_search

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
STEPS_PER_EPOCH = 234  # of the default searches: half of 60,000 images in batches of 128
STYLE = """<style>
svg { font: 12px sans-serif; background: #fff } .faint { fill: #666 } .inside { fill: #cfe3f2; stroke: #0072B2 }
.channels { fill: #0072B2 } .macs { fill: #D55E00 } .over { fill: #fff; font-weight: 600 }
.bypass { stroke: #999; stroke-width: 3; stroke-dasharray: 4 4 }
</style>"""

# A given salt makes the same drawing the same file; texts stay texts.
matplotlib.rcParams.update({"svg.hashsalt": "fpnas", "svg.fonttype": "none", "font.size": 9})

Row = dict[str, Any]


def drawn_searches() -> list[Row]:
    """The five searches that are drawn, on Fashion-MNIST: with earlier defaults, whose spans are below."""
    rows = [row for row in read_searches() if (row["experiment"], row["variant"]) == ("default", "two fifths, 1/4")]
    return sorted(rows, key=lambda row: row["seed"])


def entropy_and_samples(rows: list[Row]) -> Figure:
    """Entropy after every epoch, and how many architectures a step of that epoch drew."""
    drawing, (above, below) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    for row in rows:
        epochs = range(1, len(row["entropies"]) + 1)
        above.plot(epochs, row["entropies"], marker=".", label=f"seed {row['seed']}")
        drawn = [last - before for before, last in pairwise([0, *row["samples_by_epoch"]])]
        below.plot(epochs, [number / STEPS_PER_EPOCH for number in drawn], marker=".")
    for axes in (above, below):
        axes.axvspan(0.5, 6.5, color="#eeeeee")
        axes.axvline(8, color="#888888", linestyle=":")
    above.text(3.5, 30, "warm-up", ha="center")
    above.text(7.9, 4, "the joint form begins", ha="right")
    above.set(ylabel="entropy, nats", ylim=(0, None))
    below.set(xlabel="epoch", ylabel="architectures drawn in a step", ylim=(0, None), xlim=(0.5, 15.5))
    above.legend(fontsize="small", loc="upper right")
    return drawing


def strategies_in_small(rows: list[Row]) -> Figure:
    """What the paper's Fig. 3 shows: entropy and architectures drawn over the epochs, strategy by strategy."""
    drawing, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for strategy, colour in (("parsec", "#D55E00"), ("fp-nas-paper", "#0072B2"), ("fp-nas", "#009E73")):
        mine = [row for row in rows if (row["experiment"], row["variant"]) == ("strategies", strategy)]
        for row in [row for row in mine if row["seed"] in SEEDS]:
            epochs = range(1, len(row["entropies"]) + 1)
            left.plot(epochs, row["entropies"], color=colour, label=strategy if row["seed"] == 0 else None)
            right.plot(epochs, [drawn / 1000 for drawn in row["samples_by_epoch"]], color=colour)
    left.set(xlabel="epoch", ylabel="entropy, nats", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="architectures drawn, thousands", ylim=(0, None))
    left.legend(fontsize="small")
    return drawing


def fixed_and_adaptive(rows: list[Row]) -> Figure:
    """The paper's Fig. 3: fixed numbers of samples against numbers in proportion to the entropy, search seed 0."""
    drawing, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    for strategy, values, usual, colours in (
        ("parsec", ("4", "8", "14"), "14", plt.get_cmap("Oranges")),
        ("fp-nas-paper", ("1/16", "1/8", "1/4", "1/2"), "1/4", plt.get_cmap("Blues")),
    ):
        for place, value in enumerate(values):
            named = ("strategies", strategy) if value == usual else ("samples", f"{strategy}-{value}")
            found = [row for row in rows if (row["experiment"], row["variant"], row["seed"]) == (*named, 0)]
            for row in found:
                look = {"color": colours(0.4 + 0.6 * place / len(values)), "label": f"{strategy}, {value}"}
                epochs = range(1, len(row["entropies"]) + 1)
                axes[0].plot(epochs, row["entropies"], **look)
                axes[1].plot(epochs, [drawn / 1000 for drawn in row["samples_by_epoch"]], **look)
                axes[2].plot(row["samples"] / 1000, statistics.mean(row["top1"]), "o", **look)
    axes[0].set(xlabel="epoch", ylabel="entropy, nats", ylim=(0, None))
    axes[1].set(xlabel="epoch", ylabel="architectures drawn, thousands", ylim=(0, None))
    axes[2].set(xlabel="architectures drawn, thousands", ylabel="test top-1 of what was found, %", xlim=(0, None))
    axes[2].legend(fontsize="x-small")
    return drawing


def cost_by_entropy(rows: list[Row]) -> Figure:
    """What searches of the default strategy cost over the nats of their spaces, all of the same number of steps."""
    searched = [row for row in rows if row["experiment"] == "nats"]
    nats = [load_space(space_path(row["settings"]["space"])).entropy_nats for row in searched]
    drawing, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for axes, figure in ((left, "seconds"), (right, "samples")):
        taken = [row[figure] for row in searched]
        axes.plot(nats, taken, "o", color="#009E73")
        axes.set(xlabel="nats of the space", xlim=(0, 1.1 * max(nats)), ylim=(0, 1.1 * max(taken)))
    left.set(ylabel="seconds of the processor")
    right.set(ylabel="architectures drawn")
    return drawing


def found_among_random(rows: list[Row]) -> Figure:
    """The table of random networks as a histogram, and where the networks of the searches lie in it."""
    table = [row.top1 for row in read_rows() if row.epochs == EPOCHS and row.seed == 0]
    drawing, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.hist(table, bins=24, color="#56B4E9", label=f"{len(table)} random networks of the budget")
    for row in rows:
        axes.axvline(row["top1"][0], color="#D55E00", label="found by a search" if row is rows[0] else None)
    axes.axvline(statistics.mean(table), color="black", linestyle=":", label="mean of the random ones")
    axes.set(xlabel="test top-1, % (two epochs, training seed 0)", ylabel="networks")
    axes.legend(fontsize="small", loc="upper left")
    return drawing


def probabilities(run: Path) -> Figure:
    """The probability of every value of every choice of a search, epoch by epoch."""
    space = load_space(run / "space.toml")
    epochs = [record["probabilities"] for record in read_metrics(run / "metrics.jsonl") if "probabilities" in record]
    labels: list[str] = []
    rows: list[list[float]] = []
    lines: list[int] = []
    for g, group in enumerate(space.groups):
        for v, choice in enumerate(group.choices):
            if len(choice.values) == 1:
                continue
            lines.append(len(rows))
            for place, value in enumerate(choice.values):
                labels.append(f"{group.name}: {choice.name} {value}")
                rows.append([epoch[g][v][place] for epoch in epochs])
    drawing, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    image = axes.imshow(rows, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    for line in lines:
        axes.axhline(line - 0.5, color="white", linewidth=1.5)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_xticks(range(4, len(epochs), 5), [str(epoch + 1) for epoch in range(4, len(epochs), 5)])
    axes.set(xlabel="epoch")
    drawing.colorbar(image, label="probability", shrink=0.6)
    return drawing


def found_network(row: Row) -> str:
    """The network of a default search, as its report draws it, in a file of its own."""
    spec = resolve(load_space(SPACE), decode(row["architecture"]))
    opening, _, rest = draw_network(spec).partition(">")
    return opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + ">" + STYLE + rest + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = drawn_searches()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        config = SearchConfig(
            data="digits",
            space="tiny",
            target_macs="0.2M",
            output=run,
            epochs=30,
            batch_size=64,
            threads=1,
            # As in the searches that are drawn.
            warmup_epochs=12,
            samples_per_nat=0.25,
            joint_from=0.5,
        )
        run_search(config)
        drawings = {
            "entropy": entropy_and_samples(rows),
            "strategies": strategies_in_small(read_searches()),
            "samples": fixed_and_adaptive(read_searches()),
            "spaces": cost_by_entropy(read_searches()),
            "table": found_among_random(rows),
            "probabilities": probabilities(run),
        }
    for name, drawing in drawings.items():
        drawing.savefig(arguments.output / f"{name}.svg", metadata={"Date": None})
    (arguments.output / "network.svg").write_text(found_network(rows[0]), encoding="utf-8")


if __name__ == "__main__":
    main()
