"""Several runs side by side: what each found over what it costs, their curves together, a table of all."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from html import escape
from typing import Any

from fpnas.report.charts import Chart, axes, chart_text, column, line, macs_unit, short_names, summed_up, thinned
from fpnas.report.figures import Figure, figures
from fpnas.report.runs import ReportedRun
from fpnas.runtime.run_directory import MAY_CHANGE
from fpnas.search_config import SearchConfig
from fpnas.train_config import TrainConfig

__all__ = ["comparison_charts", "comparison_table"]

_ASIDE = {*MAY_CHANGE, "license"}
"""Settings that change nothing of what a run finds."""

_MOST_POINTS_NAMED = 10


def comparison_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """What each of several runs found over what it costs, by data, and their curves together."""
    charts = []
    by_data: dict[tuple[str, str, float], list[ReportedRun]] = {}
    for run in runs:
        by_data.setdefault((run.kind, str(run.config.get("data")), run.setting("hold_out") or 0.0), []).append(run)
    for (kind, data, _), alike in sorted(by_data.items(), reverse=True):
        charts.append(_pareto(kind, data, alike))
    for kind, held_out, name, title, label, unit in _CURVES:
        shown = [
            (number, run)
            for number, run in enumerate(runs)
            if run.kind == kind and (held_out is None or run.held_out == held_out)
        ]
        charts.append(_overlaid(shown, name, title, label, unit))
    return [chart for chart in charts if chart is not None]


# Kind of the runs, whether they held images out where that matters, what the record calls it, title, axis and unit.
_CURVES: tuple[tuple[str, bool | None, str, str, str, str], ...] = (
    ("train", False, "test_top1", "Test accuracy of the trainings, epoch by epoch", "test accuracy, %", "%"),
    (
        "train",
        True,
        "test_top1",
        "Accuracy of the trainings on the images that they held out, epoch by epoch",
        "held-out accuracy, %",
        "%",
    ),
    ("train", None, "loss", "Loss of the trainings on their training images, epoch by epoch", "loss, nats", " nats"),
    ("search", None, "entropy_nats", "Entropy of the searches after every epoch", "entropy, nats", " nats"),
    (
        "search",
        None,
        "mode_top1",
        "Accuracy of the searches' most probable architectures, with shared weights",
        "accuracy with shared weights, %",
        "%",
    ),
)


def _overlaid(runs: Sequence[tuple[int, ReportedRun]], name: str, title: str, label: str, unit: str) -> Chart | None:
    """A line per run; each says which run it is, so that the table's filter can take it out."""
    lines: list[dict[str, Any]] = []
    ends = []
    for (number, run), brief in zip(runs, short_names([run.name for _, run in runs]), strict=True):
        x, y = column(run, thinned(run.epochs, 100), name)
        if y:
            style = {"meta": {"run": number}, "mode": "lines" if len(x) > 12 else "lines+markers"}
            lines.append(line(brief, x, y, len(lines), **style))
            so_far = f" ({run.under_way})" if run.under_way else ""
            ends.append((y[-1], f"{run.name} {y[-1]:.2f}{unit}{so_far}"))
    if len(lines) < 2:
        return None
    return Chart(
        title,
        f"At the end, from the highest: {summed_up([text for _, text in sorted(ends, key=lambda end: -end[0])])}",
        lines,
        axes("epoch", label, from_zero=name != "test_top1"),
    )


@dataclass(frozen=True)
class _Point:
    """Runs alike but for their seed: least, mean and greatest of what they cost and reach."""

    name: str
    runs: int
    macs: tuple[float, float, float]
    accuracy: tuple[float, float, float]


def _pareto(kind: str, data: str, runs: Sequence[ReportedRun]) -> Chart | None:
    """Accuracy over cost, a point for runs that are alike but for the seed, and those that none beats at less."""
    groups: dict[Any, list[ReportedRun]] = {}
    name = "top1" if kind == "train" else "supernet_top1"
    for run in runs:
        # A network that was derived afterwards has no accuracy with shared weights.
        if run.result is not None and run.result.get(name) is not None:
            alike = {name: value for name, value in _settings(run).items() if name not in {*_ASIDE, "seed"}}
            groups.setdefault((run.network if kind == "train" else None, repr(sorted(alike.items()))), []).append(run)
    points = [
        _Point(group[0].name, len(group), _spread(group, "macs"), _spread(group, name)) for group in groups.values()
    ]
    if len(points) < 2:
        return None
    points.sort(key=lambda point: (point.macs[1], -point.accuracy[1]))
    front: list[_Point] = []
    for point in points:
        if not front or point.accuracy[1] > front[-1].accuracy[1]:
            front.append(point)
    unit, word = macs_unit(points[-1].macs[1])
    reached = "Held-out accuracy" if runs[0].held_out else "Test accuracy"
    if kind == "search":
        reached = "Accuracy with shared weights"
    several = any(point.runs > 1 for point in points)
    bars = " Bars go from the least to the greatest of the seeds." if several else ""
    least, most = points[0].macs[1], points[-1].macs[1]
    return Chart(
        f"{reached} over multiply-adds on {data}, with the Pareto front",
        f"On the front, where none is better at fewer: {summed_up([_said(point, unit, word) for point in front])} "
        f"{len(points) - len(front) or 'None'} of {len(points)} below it.{bars}",
        [
            {
                "type": "scatter",
                "mode": "markers+text" if len(points) <= _MOST_POINTS_NAMED else "markers",
                "name": "mean of the seeds" if several else "networks",
                "x": [point.macs[1] / unit for point in points],
                "y": [point.accuracy[1] for point in points],
                "error_x": _error_bars([point.macs for point in points], unit),
                "error_y": _error_bars([point.accuracy for point in points], 1),
                "text": [
                    chart_text(brief) + (f" ({point.runs} seeds)" if point.runs > 1 else "")
                    for point, brief in zip(points, short_names([point.name for point in points]), strict=True)
                ],
                # Away from the bars, and from the edges.
                "textposition": [f"top {'left' if 2 * point.macs[1] > least + most else 'right'}" for point in points],
                "cliponaxis": False,
                "customdata": [chart_text(_said(point, unit, word)) for point in points],
                "hovertemplate": "%{customdata}<extra></extra>",
                "marker": {"size": 10},
            },
            line(
                "Pareto front",
                [*(point.macs[1] / unit for point in front), most / unit],
                [*(point.accuracy[1] for point in front), front[-1].accuracy[1]],
                line={"shape": "hv", "dash": "dash"},
                mode="lines+markers",
                marker={"size": [16] * len(front) + [0], "symbol": "circle-open"},
                hoverinfo="skip",
            ),
        ],
        axes(f"multiply-adds, {word}s", f"{reached[0].lower()}{reached[1:]}, %", from_zero=False, hovermode="closest"),
        height=420,
    )


def _said(point: _Point, unit: float, word: str) -> str:
    seeds = f", mean of {point.runs} seeds from {point.accuracy[0]:.2f} to {point.accuracy[2]:.2f}%"
    macs = f"{point.macs[1] / unit:,.2f} {word}"
    return f"{point.name}: {point.accuracy[1]:.2f}% at {macs}{seeds if point.runs > 1 else ''}"


def _spread(runs: Sequence[ReportedRun], name: str) -> tuple[float, float, float]:
    values = [run.result[name] for run in runs if run.result]
    return min(values), sum(values) / len(values), max(values)


def _error_bars(spreads: Sequence[tuple[float, float, float]], unit: float) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [(most - mean) / unit for _, mean, most in spreads],
        "arrayminus": [(mean - least) / unit for least, mean, _ in spreads],
    }


def comparison_table(runs: Sequence[ReportedRun], link: Callable[[int], str]) -> str:
    """A table that the page sorts and filters: a row per run with its figures, then the settings that tell runs apart.

    Args:
        runs: all of the page.
        link: where in the page a run is, by its number.
    """
    telling = _telling(runs)
    rows = []
    for run in runs:
        settings = [
            Figure(_words(name), _as_text(value), run.setting(name))
            for name, value in _settings(run).items()
            if name in telling
        ]
        known = [Figure("kind", "search" if run.kind == "search" else "training")]
        if any(other.under_way for other in runs):
            known.append(Figure("state", run.under_way or "ended"))
        known += figures(run)
        rows.append({figure.name: figure for figure in (*known, *sorted(settings, key=lambda figure: figure.name))})
    # The same order whichever run comes first: figures of trainings, of searches, settings.
    trained_first = sorted(rows, key=lambda row: row["kind"].text, reverse=True)
    names = list(dict.fromkeys(name for row in trained_first for name in row))
    names.sort(key=lambda name: name in map(_words, telling))
    heads = "".join(f"<th scope='col'><button type='button'>{escape(name)}</button></th>" for name in ["run", *names])
    lines = []
    for number, (run, row) in enumerate(zip(runs, rows, strict=True)):
        cells = "".join(_cell(row.get(name)) for name in names)
        name = f"<th scope='row'><a href='{link(number)}'>{escape(run.name)}</a></th>"
        lines.append(f"<tr data-run='{number}'>{name}{cells}</tr>")
    return f"<table data-sorted='filter'><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _settings(run: ReportedRun) -> dict[str, Any]:
    """The configuration of a run; of one from before there were some settings, with what was in effect then."""
    configuration = SearchConfig if run.kind == "search" else TrainConfig
    return {field.name: field.default for field in fields(configuration) if field.default is not MISSING} | run.config


def _telling(runs: Sequence[ReportedRun]) -> set[str]:
    """Settings that not all runs of a kind have alike; the data, where not all runs have the same."""
    names = {"data"} if len({repr(run.config.get("data")) for run in runs}) > 1 else set()
    for kind in ("search", "train"):
        configs = [_settings(run) for run in runs if run.kind == kind]
        for name in {name for config in configs for name in config} - _ASIDE:
            if len({repr(config.get(name)) for config in configs}) > 1:
                names.add(name)
    return names


def _words(setting: str) -> str:
    return setting.replace("_", " ")


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)


def _cell(figure: Figure | None) -> str:
    if figure is None or not figure.text:
        return "<td></td>"
    value = "" if figure.value is None else f" data-value='{figure.value!r}'"
    kind = "" if figure.value is not None else " class='words'"
    return f"<td{value}{kind}>{escape(figure.text)}</td>"
