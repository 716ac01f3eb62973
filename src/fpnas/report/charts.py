"""Pieces that all charts are made of: plotly's JSON, and words. Colours are the page's, which has two schemes."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fpnas.report.runs import ReportedRun

__all__ = [
    "Chart",
    "axes",
    "chart_text",
    "column",
    "heat_map",
    "line",
    "macs_unit",
    "panels",
    "short",
    "summed_up",
    "thinned",
    "time_axis",
]

_DASHES = ("solid", "dash", "dot", "dashdot")
_COLOURS = 6
"""Of the page; a line further on has one of them again, with another dash."""

_MOST_NAMED = 8


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        title: says in words what is seen.
        summary: the text alternative: what the chart shows, in figures.
        traces: plotly's, without any text that was not escaped.
        layout: plotly's.
        height: pixels.
        least_width: pixels; where there is less room the chart can be moved sideways in its place.
        most_width: pixels; 0 for all that there is.
    """

    title: str
    summary: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 340
    least_width: int = 0
    most_width: int = 0


def chart_text(text: str) -> str:
    """A text that plotly, which reads its texts as HTML of its own kind, shows as it is: it does not know `&quot;`."""
    return html.escape(text, quote=False)


def line(name: str, x: Sequence[Any], y: Sequence[Any], number: int = 0, **more: Any) -> dict[str, Any]:
    """A trace of a line.

    Args:
        name: as the legend has it.
        x, y: its points.
        number: among the lines of a chart that must be told apart without colours, too: its dash.
        **more: plotly's.
    """
    dash = _DASHES[(number // _COLOURS + number) % len(_DASHES)]
    style = {"dash": dash, "width": 2, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": chart_text(name),
        "x": list(x),
        "y": list(y),
        "line": style,
        **more,
    }


def heat_map(z: Sequence[Sequence[float | None]], most: float, title: str, **more: Any) -> dict[str, Any]:
    """A trace of cells, from 0 to a value, with the scale of their colours below: beside a low map is no room for it.

    The colours are the page's: one hue, so that the text of every cell can be read.

    Args:
        z: values by row; None leaves a cell blank.
        most: the greatest value there can be.
        title: of the scale, with its unit.
        **more: plotly's.
    """
    scale = {"title": {"text": title, "side": "right"}, "orientation": "h", "thickness": 12, "len": 0.6}
    scale |= {"yref": "container", "y": 0, "yanchor": "bottom"}
    return {
        "type": "heatmap",
        "z": z,
        "zmin": 0,
        "zmax": most,
        "colorbar": {**scale, "x": 0, "xanchor": "left", **more.pop("colorbar", {})},
        "texttemplate": "%{text}",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        **more,
    }


def axes(x: str, y: str, *, from_zero: bool = True, **more: Any) -> dict[str, Any]:
    """Layout of a chart with an axis each way, each with its title and unit."""
    vertical = {"title": {"text": y}} | ({"rangemode": "tozero"} if from_zero else {})
    return {"xaxis": {"title": {"text": x}}, "yaxis": vertical, **more}


def panels(x: str, upper: str, lower: str, **more: Any) -> dict[str, Any]:
    """Layout of two charts over one axis: two scales in one picture would be read against each other."""
    return {
        "xaxis": {"title": {"text": x}, "anchor": "y2"},
        "yaxis": {"title": {"text": upper}, "rangemode": "tozero", "domain": [0.55, 1]},
        "yaxis2": {"title": {"text": lower}, "rangemode": "tozero", "domain": [0, 0.45]},
        **more,
    }


def time_axis(run: ReportedRun) -> tuple[str, Callable[[dict[str, Any]], float]]:
    """What a run's charts have below them, and where a record stands on it: epochs, or steps before the first ends."""
    if not run.epochs:
        return "step", lambda record: float(record["step"] + 1)
    length = (run.epochs[-1]["step"] + 1) / run.epochs[-1]["epoch"]
    return "epoch", lambda record: record["epoch"] if "epoch" in record else round((record["step"] + 1) / length, 3)


def column(run: ReportedRun, records: Sequence[dict[str, Any]], name: str) -> tuple[list[Any], list[Any]]:
    """Places on the run's axis, and the values of a field, where it is there."""
    _, place = time_axis(run)
    having = [record for record in records if record.get(name) is not None]
    return [place(record) for record in having], [record[name] for record in having]


def thinned(records: Sequence[Any], most: int = 300) -> list[Any]:
    """Evenly spaced ones of many, first and last among them: no screen shows more."""
    if len(records) <= most:
        return list(records)
    return [records[round(index * (len(records) - 1) / (most - 1))] for index in range(most)]


def macs_unit(most: float) -> tuple[float, str]:
    """What multiply-adds up to so many are divided by, and the word for it."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if most >= size:
            return size, word
    return 1e3, "thousand"


def short(name: str, most: int = 24) -> str:
    """A name that fits where there is little room; both ends tell names apart."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"


def short_names(names: Sequence[str]) -> list[str]:
    """Names of things that are shown together, shortened but for those that would be alike then."""
    shortened = [short(name) for name in names]
    return [name if shortened.count(brief) > 1 else brief for name, brief in zip(names, shortened, strict=True)]


def summed_up(items: Sequence[str]) -> str:
    """A list in a sentence; of a long one, how many more there are."""
    more = len(items) - _MOST_NAMED
    return "; ".join(items[:_MOST_NAMED]) + (f"; and {more} more." if more > 0 else ".")
