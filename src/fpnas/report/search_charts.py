"""Charts of one search: how the distribution makes up its mind, at what cost, and what it finds."""

from itertools import accumulate
from typing import Any

from fpnas.report.charts import Chart, axes, chart_text, column, line, macs_unit, panels, thinned, time_axis
from fpnas.report.runs import ReportedRun

__all__ = ["search_charts"]


def search_charts(run: ReportedRun) -> list[Chart]:
    """Charts of one search, those whose figures are there."""
    charts = [_entropy(run), _costs(run), _mode_accuracy(run), _samples(run), _phases(run), _losses(run)]
    return [chart for chart in charts if chart is not None]


def _stages(run: ReportedRun) -> dict[str, Any]:
    """Layout of a search's stages: its whole length, the warm-up shaded, a line where the distribution gets joint."""
    epochs, warm_up = run.setting("epochs"), run.setting("warmup_epochs")
    if not run.epochs or epochs is None or warm_up is None:
        return {}
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []

    def note(at: float, text: str) -> None:
        place = {"x": at, "y": 1, "xref": "x", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
        notes.append({**place, "text": text, "showarrow": False, "font": {"size": 11}})

    tall = {"yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    if warm_up:
        colour = {"fillcolor": "rgba(128,128,128,0.15)", "line": {"width": 0}}
        shapes.append({**tall, **colour, "type": "rect", "x0": 0, "x1": warm_up})
        note(0, "warm-up")
    if joint := _joint_from(run) * epochs:
        shapes.append({**tall, "type": "line", "x0": joint, "x1": joint, "line": {"dash": "dot", "color": "#808080"}})
        note(joint, "joint")
    return {"xaxis": {"range": [0, epochs]}, "shapes": shapes, "annotations": notes}


def _joint_from(run: ReportedRun) -> float:
    """Share of the search after which the distribution is the joint one; 0 where that is nothing to see."""
    if run.config.get("strategy") == "fp-nas-paper":
        from fpnas.strategies.fp_nas_paper import PAPER_JOINT_FROM  # and PyTorch with it

        return PAPER_JOINT_FROM
    share = run.setting("joint_from") or 0.0
    return share if run.config.get("strategy") == "fp-nas" and share < 1 else 0.0


def _with_stages(run: ReportedRun, layout: dict[str, Any]) -> dict[str, Any]:
    stages = _stages(run)
    return {**layout, **stages, "xaxis": {**layout["xaxis"], **stages.get("xaxis", {})}}


def _in_words(run: ReportedRun) -> str:
    """What `_stages` draws."""
    parts = []
    if warm_up := run.setting("warmup_epochs"):
        parts.append(f"In the warm-up (shaded, {warm_up:g} epochs) only the weights learn.")
    if (share := _joint_from(run)) and (epochs := run.setting("epochs")):
        parts.append(f"After epoch {share * epochs:.3g} (dotted) the distribution is the joint one.")
    return " ".join(parts)


def _entropy(run: ReportedRun) -> Chart | None:
    steps = thinned([step for step in run.steps if step.get("entropy_nats") is not None])
    if not steps:
        return None
    label, _ = time_axis(run)
    x, entropy = column(run, steps, "entropy_nats")
    places, samples = column(run, steps, "samples")
    return Chart(
        "Entropy of the distribution over architectures, and how many are drawn in a step",
        f"Entropy goes from {entropy[0]:.1f} to {entropy[-1]:.1f} nats: 0 would be one architecture for certain. "
        f"{samples[0]:.0f} architectures are drawn in the first learning step, {samples[-1]:.0f} in the last. "
        f"{_in_words(run)}",
        [
            line("entropy, nats", x, entropy, showlegend=False),
            line("drawn in a step", places, samples, yaxis="y2", line={"shape": "hv"}, showlegend=False),
        ],
        _with_stages(run, panels(label, "entropy, nats", "drawn in a step")),
    )


def _costs(run: ReportedRun) -> Chart | None:
    own = run.own_cost
    target = own[1] if own else run.target_macs
    if not run.epochs or target is None:
        return None
    recorded = "cost" if own else "macs"
    columns = {
        "drawn, mean of a step": column(run, thinned(run.steps), "sampled_cost"),
        "expected of the distribution": column(run, run.epochs, f"expected_{recorded}"),
        "most probable": column(run, run.epochs, f"mode_{recorded}"),
    }
    last = run.setting("epochs") or run.epochs[-1]["epoch"]
    unit, word = (1, f"unit of {own[0]}") if own else macs_unit(target)
    lines = [line("target", [0, last], [target / unit] * 2, line={"dash": "dash"})]
    for number, (name, (x, y)) in enumerate(columns.items()):
        if y:
            dash = {"width": 1} if number == 0 else {"dash": ("solid", "solid", "dot")[number]}
            lines.append(line(name, x, [value / unit for value in y], line=dash))
    ends = [f"{name} {values[-1] / unit:,.2f}" for name, (_, values) in columns.items() if values]
    return Chart(
        f"{'Cost' if own else 'Multiply-adds'} of the architectures against the target",
        f"The target is {target / unit:,.2f} {word}. At the end: {', '.join(ends)} {word}.",
        lines,
        _with_stages(run, axes("epoch", f"cost, {chart_text(own[0])}" if own else f"multiply-adds, {word}s")),
    )


def _mode_accuracy(run: ReportedRun) -> Chart | None:
    x, accuracy = column(run, run.epochs, "mode_top1")
    if not x:
        return None
    return Chart(
        "Accuracy of the most probable architecture, with the weights that all architectures share",
        f"On training images held out for it: {accuracy[0]:.1f}% after epoch {x[0]}, {accuracy[-1]:.1f}% after epoch "
        f"{x[-1]}. The same network trained by itself is another matter.",
        [line("top-1, %", x, accuracy)],
        _with_stages(run, axes("epoch", "accuracy, %")),
    )


def _samples(run: ReportedRun) -> Chart | None:
    """What was drawn and how long it took, against a number of architectures that is the same in every step."""
    x, samples = column(run, run.epochs, "samples_so_far")
    if not x:
        return None
    learning = _drawn_while_learning(run)
    most = max((number for drawn in learning for number in drawn), default=0)
    more = list(accumulate(most * len(drawn) - sum(drawn) for drawn in learning))
    fixed = [number + extra for number, extra in zip(samples, more, strict=True)]
    places, seconds = column(run, run.epochs, "seconds")
    lines = [
        line("as it was", x, samples, meta={"colour": 0}),
        line("seconds", places, seconds, yaxis="y2", meta={"colour": 0}, showlegend=False),
    ]
    said = f"{samples[-1]:,.0f} architectures in {seconds[-1]:,.0f} s."
    if most:
        same = f"{most:.0f} in every learning step"
        fewer = 100 * (1 - samples[-1] / fixed[-1])
        dashed: dict[str, Any] = {"line": {"dash": "dash"}, "meta": {"colour": 1}}
        lines.append(line(same, x, fixed, **dashed))
        said += f" With {same}, as at its start, it would be {fixed[-1]:,.0f}: {fewer:.0f}% are saved."
        if estimate := _seconds_at_fixed(run, most, learning):
            lines.append(line(f"seconds, {same}", x, estimate, yaxis="y2", showlegend=False, **dashed))
            said += f" They would take about {estimate[-1]:,.0f} s, if judging one takes as long as it did."
    return Chart(
        "Architectures drawn and seconds taken, against as many in every step as at most",
        said,
        lines,
        _with_stages(run, panels("epoch", "architectures", "seconds")),
    )


def _drawn_while_learning(run: ReportedRun) -> list[list[float]]:
    """By epoch, the architectures drawn in each of its steps in which the distribution learns."""
    steps = iter([step for step in run.steps if step.get("entropy_nats") is not None])
    step = next(steps, None)
    by_epoch: list[list[float]] = []
    for record in run.epochs:
        by_epoch.append([])
        while step is not None and step["step"] <= record["step"]:
            by_epoch[-1].append(step["samples"])
            step = next(steps, None)
    return by_epoch


def _seconds_at_fixed(run: ReportedRun, most: float, learning: list[list[float]]) -> list[float]:
    """Seconds at the end of every epoch, had all learning steps drawn as many: judging grows in proportion alone."""
    if any(record.get("seconds_judging") is None or record["seconds"] is None for record in run.epochs):
        return []
    extra = accumulate(
        record["seconds_judging"] * (most * len(drawn) / sum(drawn) - 1) if drawn else 0.0
        for record, drawn in zip(run.epochs, learning, strict=True)
    )
    return [record["seconds"] + more for record, more in zip(run.epochs, extra, strict=True)]


_PHASES = {
    "seconds_training": "training the shared weights",
    "seconds_judging": "judging architectures",
    "seconds_measuring": "measuring the most probable one",
}
# Over the colour, for those who see none.
_PATTERN = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.55)", "solidity": 0.15, "size": 8}


def _phases(run: ReportedRun) -> Chart | None:
    if not run.epochs or any(record.get("seconds_training") is None for record in run.epochs):
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
        "Seconds of every epoch, by what they went into",
        f"Of {total:,.0f} s: {shares}.",
        [
            {"type": "bar", "name": title, "x": epochs, "y": values, "marker": {"pattern": _PATTERN | {"shape": shape}}}
            for (title, values), shape in zip(parts.items(), ("", "/", ".", "x"), strict=True)
        ],
        axes("epoch", "seconds", barmode="stack"),
    )


def _losses(run: ReportedRun) -> Chart | None:
    x, loss = column(run, thinned(run.steps), "loss")
    if not loss:
        return None
    label, _ = time_axis(run)
    lines = [line("of the shared weights, training images", x, loss, line={"width": 1})]
    said = f"Of the shared weights {loss[0]:.2f} nats at first, {loss[-1]:.2f} in the last step"
    places, judged = column(run, thinned(run.steps), "architecture_loss")
    if judged:
        lines.append(line("of architectures drawn, images held out", places, judged, line={"width": 1, "dash": "dot"}))
        said += f"; of architectures drawn to be judged {judged[0]:.2f} and {judged[-1]:.2f}"
    return Chart(
        "Loss of the shared weights, and of the architectures drawn to be judged",
        f"{said}.",
        lines,
        _with_stages(run, axes(label, "cross-entropy, nats")),
    )
