"""The page: one HTML file with everything inside, plotly's code too."""

import json
import platform
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from fpnas.files import write_text_atomic
from fpnas.report.charts import Chart, search_charts, several_charts, training_charts
from fpnas.report.network_drawing import draw_network
from fpnas.report.probabilities import probability_map, probability_table
from fpnas.report.runs import ReportedRun, read_runs
from fpnas.version import __version__

__all__ = ["render", "write_report"]

_HERE = Path(__file__).parent


class _Page:
    """Collects the parts of a page; charts and data go to its end."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.charts: dict[str, dict[str, Any]] = {}
        self.data: dict[str, Any] = {}

    def add(self, html: str) -> None:
        """HTML, escaped where it has to be."""
        self.parts.append(html)

    def chart(self, chart: Chart, controls: str = "") -> str:
        """A chart's figure; gives its name."""
        name = f"chart-{len(self.charts)}"
        self.charts[name] = {"traces": chart.traces, "layout": chart.layout}
        self.add(
            f"<figure><h3>{escape(chart.title)}</h3>{controls.replace('CHART', name)}"
            f'<div class="chart" id="{name}" role="img" aria-label="{escape(f"{chart.title}. {chart.summary}")}"></div>'
            f"<figcaption>{escape(chart.summary)}</figcaption></figure>"
        )
        return name


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
        live: a state; the page asks its server for it, and loads again when there is another.
    """
    page = _Page()
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    page.add(f"<header><h1>fpnas: {escape(title)}</h1></header><main>")
    if len(runs) > 1:
        _several(page, runs)
    for number, run in enumerate(runs):
        _run(page, run, number, alone=len(runs) == 1)
    page.add(f"</main><footer><p>fpnas {__version__}, Python {platform.python_version()}, {_machine()}.</p></footer>")
    from plotly.offline import get_plotlyjs

    live_attribute = f' data-live="{escape(live)}"' if live else ""
    scripts = "".join(
        f'<script type="application/json" id="{name}">{_json(value)}</script>'
        for name, value in ({"charts": page.charts} | page.data).items()
    )
    style, code = ((_HERE / name).read_text() for name in ("page.css", "page.js"))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>fpnas: {escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body{live_attribute}>{''.join(page.parts)}{scripts}"
        f"<script>{get_plotlyjs()}</script><script>{code}</script></body></html>"
    )


def _json(value: Any) -> str:
    """JSON that can stand in a page: no tag can end or begin in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _machine() -> str:
    import os

    return escape(f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processors")


def _figures(figures: dict[str, str]) -> str:
    items = "".join(f"<li>{escape(name)}<br><b>{escape(value)}</b></li>" for name, value in figures.items())
    return f'<ul class="figures">{items}</ul>'


def _run(page: _Page, run: ReportedRun, number: int, *, alone: bool) -> None:
    """A section about one run."""
    page.add(
        f'<section id="run-{number}"><h2>{escape(run.name)}: {"search" if run.kind == "search" else "training"}</h2>'
    )
    if run.result is None:
        done = f"{run.epochs[-1]['epoch']} epochs done" if run.epochs else "no epoch done yet"
        page.add(f"<p>Under way, or interrupted: {escape(done)}.</p>")
    page.add(_figures(_headline(run)))
    if run.network is not None:
        kind = "found" if run.kind == "search" else "trained"
        drawing = draw_network(run.network)
        page.add(f"<figure><h3>The network {kind}</h3><div class='scroll' tabindex='0'>{drawing}</div></figure>")
    charts = search_charts(run) if run.kind == "search" else training_charts(run)
    if not alone:  # twenty times a run's details would be a page that nobody reads, and too large
        charts = charts[:2]
    page.add('<div class="grid">')
    for chart in charts:
        page.chart(chart)
    page.add("</div>")
    if alone and run.kind == "search" and (found := probability_map(run)):
        chart, frames = found
        page.data["frames"] = frames
        slider = (
            '<label>Epoch: <span id="frame-label"></span><input type="range" data-map="CHART" data-frames="frames" '
            f'data-label="frame-label" min="0" max="{len(frames) - 1}" value="{len(frames) - 1}"></label>'
        )
        page.chart(chart, slider)
        page.add(
            f"<details open><summary>Probabilities at the end, in figures</summary>{probability_table(run)}</details>"
        )
    if alone and run.kind == "train":
        _mistakes(page, run)
    summary = "Configuration, and the command that repeats it"
    page.add(f"<details><summary>{summary}</summary>{_configuration(run)}</details></section>")


def _headline(run: ReportedRun) -> dict[str, str]:
    result = run.result or {}
    figures: dict[str, str] = {}
    if "macs" in result:
        figures["multiply-adds"] = f"{result['macs']:,}"
    if run.kind == "search":
        if "budget_share" in result:
            figures["of the budget"] = f"{100 * result['budget_share']:.1f}%"
        if run.epochs:
            figures["entropy"] = f"{run.epochs[-1]['entropy_nats']:.2f} nats"
            figures["architectures drawn"] = f"{run.epochs[-1]['samples_so_far']:,}"
    else:
        if "params" in result:
            figures["parameters"] = f"{result['params']:,}"
        if run.epochs:
            figures["test accuracy"] = f"{run.epochs[-1]['test_top1']:.2f}%"
    if run.epochs and "seconds" in run.epochs[-1]:
        figures["time"] = f"{run.epochs[-1]['seconds']:,.0f} s"
    return figures


def _configuration(run: ReportedRun) -> str:
    config = {name: value for name, value in run.config.items() if value is not None}
    aside = {"data", "space", "target_macs", "output", "resume"}
    options = " ".join(
        f"--{name.replace('_', '-')}={shlex.quote(str(value).lower() if isinstance(value, bool) else str(value))}"
        for name, value in config.items()
        if name not in aside
    )
    given = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(config[name]))}"
        for name in ("data", "space", "target_macs", "output")
        if name in config
    )
    network = "" if run.kind == "search" else " NETWORK"
    command = f"fpnas {run.kind}{network} {given} {options}"
    if "cost" in config:  # which the command line does not know
        command = (
            f"fpnas.search(..., cost={config['cost']}, target={config['target']}), in Python, with these settings:"
        )
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in config.items())
    return (
        f"<pre tabindex='0'>{escape(command)}</pre>"
        "<div class='scroll' tabindex='0'><table><thead><tr><th scope='col'>setting</th><th scope='col'>value</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _mistakes(page: _Page, run: ReportedRun) -> None:
    """Confusion matrix, and the images a training is most wrong about."""
    from fpnas.report.mistakes import confusion_chart, read_mistakes

    mistakes = read_mistakes(run.directory.path)
    if mistakes is None:
        return
    page.chart(confusion_chart(mistakes))
    items = "".join(
        f'<li><img alt="test image {image.index}" src="data:image/png;base64,{image.png}">is {escape(image.label)}, '
        f"taken for {escape(image.taken_for)} ({100 * image.probability:.0f}%)</li>"
        for image in mistakes.worst
    )
    if items:
        page.add(f"<h3>Images it is most wrong about</h3><ul class='mistakes'>{items}</ul>")


def _several(page: _Page, runs: Sequence[ReportedRun]) -> None:
    """What several runs have in common and what tells them apart."""
    names = ["run", "kind", *dict.fromkeys(name for run in runs for name in _headline(run))]
    heads = "".join(f"<th scope='col'><button type='button'>{escape(name)}</button></th>" for name in names)
    rows = []
    for number, run in enumerate(runs):
        figures = {"kind": run.kind} | _headline(run)
        cells = "".join(
            f"<td{_sort_value(figures.get(name, ''))}>{escape(figures.get(name, ''))}</td>" for name in names[1:]
        )
        rows.append(f"<tr><td><a href='#run-{number}'>{escape(run.name)}</a></td>{cells}</tr>")
    page.add(
        "<section><h2>All runs</h2><label>Show those that contain <input type='search' id='filter'></label>"
        f"<div class='scroll' tabindex='0'><table data-sorted='filter'><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div><div class='grid'>"
    )
    for chart in several_charts(runs):
        page.chart(chart)
    page.add("</div></section>")


def _sort_value(text: str) -> str:
    """The number a cell is sorted by, where it is one."""
    number = text.replace(",", "").removesuffix(" s").removesuffix(" nats").removesuffix("%")
    try:
        return f' data-value="{float(number)}"'
    except ValueError:
        return ""
