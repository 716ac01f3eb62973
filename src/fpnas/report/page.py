"""The page: one HTML file with everything inside, plotly's code too."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from fpnas.files import printable, write_text_atomic
from fpnas.report.charts import Chart
from fpnas.report.comparison import comparison_charts, comparison_table
from fpnas.report.figures import figures
from fpnas.report.network_drawing import draw_network, network_in_words
from fpnas.report.probabilities import LEAST_SHARE, probability_map, probability_table
from fpnas.report.runs import ReportedRun, read_runs
from fpnas.report.search_charts import search_charts
from fpnas.report.settings import settings_of
from fpnas.report.training_charts import training_charts
from fpnas.version import __version__

__all__ = ["render", "write_report"]

_HERE = Path(__file__).parent

_CHARTS_BESIDE_OTHERS = 2
"""Charts of a run that is one of several: twenty times all of them would be a page that nobody reads, and too large."""


class _Page:
    """Collects the parts of a page; charts and data go to its end."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.charts: dict[str, dict[str, Any]] = {}
        self.data: dict[str, Any] = {}

    def add(self, html: str) -> None:
        """HTML, escaped where it has to be."""
        self.parts.append(html)

    def chart(self, chart: Chart, controls: str = "") -> None:
        """A chart's figure; in `controls` the chart is called CHART."""
        name = f"chart-{len(self.charts)}"
        self.charts[name] = {"traces": chart.traces, "layout": chart.layout, "height": chart.height}
        room = f"height:{chart.height}px"
        for bound, width in (("min", chart.least_width), ("max", chart.most_width)):
            room += f";{bound}-width:{width}px" if width else ""
        place = (
            f'<div class="chart" id="{name}" role="img" style="{room}" '
            f'aria-label="{escape(f"{chart.title}. {chart.summary}")}"></div>'
        )
        if chart.least_width:
            place = _movable(place, chart.title)
        self.add(
            f"<figure><h3>{escape(chart.title)}</h3>{controls.replace('CHART', name)}{place}"
            f"<figcaption>{escape(chart.summary)}</figcaption></figure>"
        )


def write_report(paths: Sequence[Path], output: Path) -> None:
    """Write the report of runs, finished or under way.

    Raises:
        UserError: not a run, or a place that cannot be written.
    """
    write_text_atomic(output, render(read_runs(paths)))


def render(runs: Sequence[ReportedRun], *, live: str = "") -> str:
    """The page as text.

    Args:
        runs: what is shown.
        live: a state; the page asks its server for it, and takes the new page's content when there is another.
    """
    page = _Page()
    title = f"{_kind(runs[0])}: {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs"
    page.add(f"<h1>{escape(title)}</h1>")
    if len(runs) == 1:
        _alone(page, runs[0])
    else:
        _several(page, runs)
    page.add(f"<footer><p>Written by fpnas {__version__}.</p></footer>")
    from plotly.offline import get_plotlyjs

    scripts = "".join(
        f'<script type="application/json" id="{name}">{_json(value)}</script>'
        for name, value in ({"charts": page.charts} | page.data).items()
    )
    state = f' data-live="{escape(live)}"' if live else ""
    status = '<p id="live" role="status">Live: the page follows its runs.</p>' if live else ""
    style, code = ((_HERE / name).read_text() for name in ("page.css", "page.js"))
    # A run's command and settings name files, too.
    return printable(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>fpnas: {escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body>{status}<main{state}>{''.join(page.parts)}{scripts}</main>"
        f"<script>{get_plotlyjs()}</script><script>{code}</script></body></html>"
    )


def _json(value: Any) -> str:
    """JSON that can stand in a page: no tag can end or begin in it."""
    text = json.dumps(_rounded(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rounded(value: Any) -> Any:
    """Numbers to six digits: nobody sees more, and a page of twenty runs is a third smaller."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return {name: _rounded(item) for name, item in value.items()} if isinstance(value, dict) else value


def _kind(run: ReportedRun) -> str:
    return "Search" if run.kind == "search" else "Training"


def _movable(content: str, label: str) -> str:
    """What may be wider than the page, in a place that is moved sideways by itself, with the keyboard too."""
    return f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">{content}</div>'


def _lead(run: ReportedRun) -> str:
    """What the run is, and how far it is."""
    config = run.config
    if run.kind == "search":
        budget = (
            f"{run.own_cost[1]:,} of {run.own_cost[0]}"
            if run.own_cost
            else f"{config.get('target_macs')} multiply-adds"
        )
        where = f"in space {config.get('space')} on {config.get('data')}"
        what = f"Strategy {config.get('strategy')} {where}, within {budget}."
    else:
        name = run.network.name if run.network else "that is not written yet"
        what = f"Network {name} on {config.get('data')}."
    if run.under_way:
        what += f" Under way, or interrupted: {run.under_way}."
    return f"<p>{escape(what)}</p>"


def _figures(run: ReportedRun) -> str:
    items = "".join(f"<li>{escape(figure.name)}<br><b>{escape(figure.text)}</b></li>" for figure in figures(run))
    return f'<ul class="figures">{items}</ul>' if items else ""


def _alone(page: _Page, run: ReportedRun) -> None:
    """Everything about one run."""
    page.add(_lead(run) + _figures(run))
    if run.kind == "search":
        _network(page, run, "h2")
        _charts(page, "How the search went", search_charts(run))
        _probabilities(page, run)
    else:
        _charts(page, "How the training went", training_charts(run))
        _mistakes(page, run)
        _network(page, run, "h2")
    page.add(f"<h2>How it was made</h2>{settings_of(run, opened=True)}")


def _charts(page: _Page, heading: str, charts: Sequence[Chart]) -> None:
    if charts:
        page.add(f"<h2>{heading}</h2><div class='grid'>")
        for chart in charts:
            page.chart(chart)
        page.add("</div>")


def _network(page: _Page, run: ReportedRun, heading: str) -> None:
    if run.network is not None:
        title = "The network found" if run.kind == "search" else "The network trained"
        drawing = _movable(draw_network(run.network), title)
        said = escape(network_in_words(run.network))
        page.add(f"<{heading}>{title}</{heading}><div class='card'><p>{said}</p>{drawing}</div>")


def _probabilities(page: _Page, run: ReportedRun) -> None:
    """The distribution, epoch by epoch and at the end."""
    found = probability_map(run)
    if found is None:
        return
    chart, frames = found
    page.add("<h2>What the distribution prefers</h2>")
    page.data["frames"] = frames
    slider = (
        '<label><span id="frame-label">Epoch</span><input type="range" data-map="CHART" data-frames="frames" '
        f'data-label="frame-label" min="0" max="{len(frames) - 1}" value="{len(frames) - 1}"></label>'
    )
    page.chart(chart, slider)
    title = f"Probabilities after epoch {frames[-1]['epoch']}"
    page.add(
        f"<h3>{title}, in figures</h3><p>Values under {100 * LEAST_SHARE}% are left out; one without a percentage is "
        "the only one that its group has. Kernel 0: the block is passed by. Splits 0: no attention, 1: "
        "squeeze-excite.</p>"
        f"{_movable(probability_table(run), title)}"
    )


def _mistakes(page: _Page, run: ReportedRun) -> None:
    """Confusion matrix, and the images a training is most wrong about."""
    # Imports PyTorch, which takes seconds and which no other part of a page needs.
    from fpnas.report.mistakes import confusion_chart, read_mistakes

    mistakes = read_mistakes(run.directory.mistakes_path)
    if mistakes is None:
        return
    page.add("<h2>What it gets wrong</h2>")
    if mistakes.confusion:
        page.chart(confusion_chart(mistakes, run.judged_by))
    else:
        page.add(f"<p>A confusion matrix of {len(mistakes.class_names)} classes would show nothing.</p>")
    items = "".join(
        f'<li><img alt="Image number {image.index} of the {run.judged_by}, of class {escape(image.label)}" '
        f'src="data:image/png;base64,{image.png}">is {escape(image.label)}, taken for {escape(image.taken_for)} with '
        f"{100 * image.probability:.0f}%</li>"
        for image in mistakes.worst
    )
    if items:
        page.add(
            f"<h3>{run.judged_by.capitalize()} it is most wrong about, by the probability it gives to the wrong class"
            "</h3>"
            f"<ul class='mistakes'>{items}</ul>"
        )


def _several(page: _Page, runs: Sequence[ReportedRun]) -> None:
    """What several runs have in common and what tells them apart, then each by itself."""
    table = comparison_table(runs, lambda number: f"#run-{number}")
    page.add(
        "<p>Each run below the comparison has its network, its first curves, and how it was made; "
        "<code>fpnas report RUN</code> shows one in full.</p><h2 id='runs'>All runs</h2>"
        "<p>Figures of every run, then the settings in which they differ. A heading sorts by its column.</p>"
        "<label>Show runs that contain <input type='search' id='filter'></label> "
        f"<p id='filtered' role='status'>{len(runs)} runs</p>{_movable(table, 'All runs')}"
    )
    _charts(page, "Side by side", comparison_charts(runs))
    for number, run in enumerate(runs):
        page.add(f"<section id='run-{number}'><h2>{_kind(run)}: {escape(run.name)}</h2>{_lead(run)}{_figures(run)}")
        _network(page, run, "h3")
        charts = search_charts(run) if run.kind == "search" else training_charts(run)
        page.add("<div class='grid'>")
        for chart in charts[:_CHARTS_BESIDE_OTHERS]:
            page.chart(chart)
        page.add(f"</div>{settings_of(run, opened=False)}<p><a href='#runs'>All runs</a></p></section>")
