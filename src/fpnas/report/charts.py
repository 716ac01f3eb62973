"""Charts of runs, as plotly's JSON: what is drawn, in words too."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fpnas.report.runs import ReportedRun, thinned

__all__ = ["COLOURS", "Chart", "search_charts", "several_charts", "training_charts"]

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        title: says in words what is seen.
        summary: the text alternative: what the chart shows, in figures.
        traces: plotly's, without any text that was not escaped.
        layout: plotly's.
    """

    title: str
    summary: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)


def _line(name: str, x: Sequence[Any], y: Sequence[Any], number: int = 0, **more: Any) -> dict[str, Any]:
    """A trace of a line; colour and dash by its number."""
    style = {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number // len(COLOURS) % len(DASHES)], "width": 2}
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": html.escape(name),
        "x": list(x),
        "y": list(y),
        "line": style,
        **more,
    }


def _axes(x: str, y: str, **more: Any) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, "rangemode": "tozero"}, **more}


def _column(records: Sequence[dict[str, Any]], name: str) -> tuple[list[Any], list[Any]]:
    """Steps or epochs, and the values of a field, where it is there."""
    having = [record for record in records if isinstance(record.get(name), int | float)]
    axis = "epoch" if having and "epoch" in having[0] else "step"
    return [record[axis] for record in having], [record[name] for record in having]


def search_charts(run: ReportedRun) -> list[Chart]:
    """Charts of one search, those whose figures are there."""
    charts = [_entropy(run), _costs(run), _mode_accuracy(run), _samples(run), _phases(run)]
    return [chart for chart in charts if chart is not None]


def _entropy(run: ReportedRun) -> Chart | None:
    steps = thinned([step for step in run.steps if "entropy_nats" in step])
    if not steps:
        return None
    x, entropy = _column(steps, "entropy_nats")
    _, samples = _column(steps, "samples")
    return Chart(
        "The distribution makes up its mind: entropy, and architectures drawn in a step",
        f"Entropy goes from {entropy[0]:.1f} to {entropy[-1]:.1f} nats over {x[-1] - x[0] + 1} learning steps; "
        f"{samples[0]:.0f} architectures are drawn in the first of them, {samples[-1]:.0f} in the last.",
        [
            _line("entropy, nats", x, entropy, 0),
            _line("architectures drawn", x, samples, 1, yaxis="y2"),
        ],
        _axes(
            "step",
            "entropy, nats",
            yaxis2={
                "title": {"text": "architectures a step"},
                "overlaying": "y",
                "side": "right",
                "rangemode": "tozero",
            },
        ),
    )


def _costs(run: ReportedRun) -> Chart | None:
    target = run.target_macs
    if not run.epochs or target is None:
        return None
    steps = thinned(run.steps, 300)
    x, sampled = _column(steps, "sampled_cost")
    length = len(run.steps) / len(run.epochs) if run.steps else 1
    lines = []
    if sampled:
        lines.append(_line("drawn in a step, mean", [(step + 1) / length for step in x], [v / 1e6 for v in sampled], 2))
    for number, (name, title) in enumerate((("expected_macs", "expected"), ("mode_macs", "most probable network"))):
        epochs, values = _column(run.epochs, name)
        lines.append(_line(title, epochs, [value / 1e6 for value in values], number))
    last = len(run.epochs)
    lines.append(_line("target", [0, last], [target / 1e6] * 2, 6, mode="lines"))
    _, expected = _column(run.epochs, "expected_macs")
    _, mode = _column(run.epochs, "mode_macs")
    return Chart(
        "Where the search is to its budget: multiply-adds drawn, expected and of the most probable network",
        f"The target is {target / 1e6:.2f}M multiply-adds. At the end {expected[-1] / 1e6:.2f}M are expected of an "
        f"architecture, and the most probable one has {mode[-1] / 1e6:.2f}M.",
        lines,
        _axes("epoch", "multiply-adds, millions"),
    )


def _mode_accuracy(run: ReportedRun) -> Chart | None:
    x, accuracy = _column(run.epochs, "mode_top1")
    if not x:
        return None
    return Chart(
        "How good the most probable network is with the weights that all share",
        f"Of training images held out: {accuracy[0]:.1f}% after epoch {x[0]}, {accuracy[-1]:.1f}% after epoch {x[-1]}.",
        [_line("top-1, %", x, accuracy)],
        _axes("epoch", "accuracy with shared weights, %"),
    )


def _samples(run: ReportedRun) -> Chart | None:
    x, samples = _column(run.epochs, "samples_so_far")
    if not x:
        return None
    steps = len(run.steps) / len(x)
    most = max((step["samples"] for step in run.steps), default=0)
    fixed = [most * steps * epoch for epoch in x]
    seconds = run.epochs[-1].get("seconds", 0.0)
    saved = 100 * (1 - samples[-1] / fixed[-1]) if fixed[-1] else 0.0
    return Chart(
        "Architectures drawn so far, against a number that does not follow the entropy",
        f"{samples[-1]:,.0f} architectures in {seconds:,.0f} s; {most:.0f} at every step would be {fixed[-1]:,.0f}: "
        f"{saved:.0f}% fewer.",
        [_line("drawn", x, samples, 0), _line(f"{most:.0f} at every step", x, fixed, 1)],
        _axes("epoch", "architectures"),
    )


_PHASES = {
    "seconds_training": "training the shared weights",
    "seconds_judging": "judging architectures",
    "seconds_measuring": "measuring the most probable network",
}


def _phases(run: ReportedRun) -> Chart | None:
    if not run.epochs or "seconds_training" not in run.epochs[0]:
        return None
    ends = [record.get("seconds", 0.0) for record in run.epochs]
    lengths = [max(0.0, end - begin) for begin, end in zip([0.0, *ends], ends, strict=False)]
    parts = {title: [record.get(name, 0.0) for record in run.epochs] for name, title in _PHASES.items()}
    parts["everything else"] = [
        max(0.0, length - sum(part[index] for part in parts.values())) for index, length in enumerate(lengths)
    ]
    total = sum(map(sum, parts.values())) or 1.0
    shares = ", ".join(f"{title} {100 * sum(values) / total:.0f}%" for title, values in parts.items())
    epochs = [record["epoch"] for record in run.epochs]
    return Chart(
        "Where the time of every epoch went",
        f"Of {total:,.0f} s: {shares}.",
        [
            {"type": "bar", "name": title, "x": epochs, "y": values, "marker": {"color": colour}}
            for (title, values), colour in zip(parts.items(), COLOURS, strict=False)
        ],
        _axes("epoch", "seconds", barmode="stack"),
    )


def training_charts(run: ReportedRun) -> list[Chart]:
    """Charts of one training, those whose figures are there."""
    if not run.epochs:
        return []
    epochs, loss = _column(run.epochs, "loss")
    _, accuracy = _column(run.epochs, "test_top1")
    _, rate = _column(run.epochs, "learning_rate")
    charts = [
        Chart(
            "Accuracy on the test images after every epoch",
            f"{accuracy[0]:.2f}% after the first epoch, {accuracy[-1]:.2f}% after epoch {epochs[-1]}.",
            [_line("top-1, %", epochs, accuracy)],
            {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "accuracy, %"}}},
        ),
        Chart(
            "Loss on the training images, and the learning rate",
            f"The loss goes from {loss[0]:.3f} to {loss[-1]:.3f}, the rate from {rate[0]:.3g} to {rate[-1]:.3g}.",
            [_line("loss", epochs, loss, 0), _line("learning rate", epochs, rate, 1, yaxis="y2")],
            _axes(
                "epoch",
                "loss",
                yaxis2={"title": {"text": "learning rate"}, "overlaying": "y", "side": "right", "rangemode": "tozero"},
            ),
        ),
    ]
    return charts


def several_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """Charts of several runs: what each found over what it costs, and their curves together."""
    charts = []
    if pareto := _pareto(runs):
        charts.append(pareto)
    for kind, name, title, label in (
        ("search", "entropy_nats", "Entropy of the searches", "entropy, nats"),
        ("search", "mode_top1", "Accuracy of the most probable networks with shared weights", "accuracy, %"),
        ("train", "test_top1", "Test accuracy of the trainings", "accuracy, %"),
    ):
        lines: list[dict[str, Any]] = []
        for run in runs:
            if run.kind == kind:
                x, y = _column(thinned(run.epochs, 200), name)
                if x:
                    lines.append(_line(run.name, x, y, len(lines)))
        if len(lines) > 1:
            last = "; ".join(f"{html.unescape(line['name'])} ends at {line['y'][-1]:.2f}" for line in lines)
            charts.append(Chart(f"{title}, epoch by epoch", f"{last}.", lines, _axes("epoch", label)))
    return charts


def _pareto(runs: Sequence[ReportedRun]) -> Chart | None:
    """Accuracy over cost: a point per network, with the spread over seeds where one was trained several times."""
    trained = [run for run in runs if run.kind == "train" and run.result]
    if len(trained) < 2:
        return None
    by_network: dict[Any, list[ReportedRun]] = {}
    for run in trained:
        by_network.setdefault(run.network or run.name, []).append(run)
    points = []
    for group in by_network.values():
        values = [run.result["top1"] for run in group if run.result]
        macs = group[0].result["macs"] if group[0].result else 0
        points.append((macs, sum(values) / len(values), (max(values) - min(values)) / 2, group[0].name, len(values)))
    points.sort(key=lambda point: (point[0], -point[1]))
    front: list[Any] = []
    for point in points:
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return Chart(
        "What the networks reach over what they cost; the line joins those that none beats at less",
        "; ".join(
            f"{name}: {accuracy:.2f}% at {macs / 1e6:.2f}M" + (f" ({count} seeds)" if count > 1 else "")
            for macs, accuracy, _, name, count in points
        )
        + ".",
        [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "networks",
                "x": [macs / 1e6 for macs, *_ in points],
                "y": [point[1] for point in points],
                "error_y": {"type": "data", "array": [point[2] for point in points], "visible": True},
                "text": [html.escape(point[3]) for point in points],
                "marker": {"color": COLOURS[0], "size": 9},
            },
            _line("best at its cost", [p[0] / 1e6 for p in front], [p[1] for p in front], 1, mode="lines"),
        ],
        {"xaxis": {"title": {"text": "multiply-adds, millions"}}, "yaxis": {"title": {"text": "test accuracy, %"}}},
    )
