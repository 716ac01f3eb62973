"""The report in a real browser, opened from disk: it asks for nothing, shows what it should, and can be used by all."""

import time
from pathlib import Path

import pytest
from finished_runs import copied, search_config
from real_browser import Browser
from reported_runs import HOSTILE, hostile_search, hostile_training, twenty_long_runs

from fpnas.report.page import write_report
from fpnas.runtime.metrics import read_metrics
from fpnas.supernet_search import run_search

SIZES = (400, 1600)
SCHEMES = ("light", "dark")

# Every chart with its traces, whether there is a finite number in each, and how large what is drawn is.
CHARTS = """return [...document.querySelectorAll('.chart')].map(place => ({
    title: place.closest('figure').querySelector('h3').textContent,
    label: place.getAttribute('aria-label'),
    traces: (place.data || []).map(trace => [trace.y, trace.z].some(values => values?.flat().some(Number.isFinite))),
    drawn: place.querySelector('.main-svg')?.getBoundingClientRect().height || 0,
}))"""


@pytest.fixture(scope="session")
def pages(search_run: Path, train_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of a search, one of a training, one of several runs with seeds."""
    place = tmp_path_factory.mktemp("pages")
    run_search(search_config(place / "second search", target_macs="0.2M", seed=1))
    several = [search_run, place / "second search", train_run, copied(train_run, place)]
    found = {"search": [search_run], "training": [train_run], "several": several}
    for name, runs in found.items():
        write_report(runs, place / f"{name}.html")
    return {name: place / f"{name}.html" for name in found}


KINDS = ("search", "training", "several")


@pytest.mark.parametrize("kind", KINDS)
def test_it_asks_for_nothing_says_nothing_and_every_chart_has_data(
    browser: Browser,
    pages: dict[str, Path],
    kind: str,
) -> None:
    browser.open(pages[kind])
    charts = browser.run(CHARTS)
    assert len(charts) == {"search": 7, "training": 3, "several": 5 + 4 * 2}[kind]
    for chart in charts:
        assert chart["traces"] and all(chart["traces"]), chart["title"]
        assert chart["drawn"] > 200 and len(chart["label"]) > len(chart["title"]) + 20, chart
    for scheme in SCHEMES:  # drawn anew
        change_window(browser, 800, scheme)
    assert browser.console() == []
    assert browser.requests() == [pages[kind].resolve().as_uri()]


def change_window(browser: Browser, width: int, scheme: str) -> None:
    """What a reader does whose window or whose day changes; the charts follow."""
    browser.prefer(scheme)
    browser.resize(width)
    drawn = """return innerWidth === arguments[0] && [...document.querySelectorAll('.chart')].every(place =>
        place._fullLayout.font.color === arguments[1] && place._fullLayout.width === place.clientWidth)"""
    text = {"light": "#1b1b1b", "dark": "#ececec"}[scheme]
    browser.wait(lambda: browser.run(drawn, width, text), 60, f"charts drawn for {width} pixels, {scheme}")


@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_its_window(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    browser.open(pages[kind])
    for scheme in SCHEMES:
        for width in SIZES:
            change_window(browser, width, scheme)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            # What is wider than its place is in one that can be moved, by the keyboard too.
            assert browser.run(WIDE) == []
            assert browser.run("return [...document.querySelectorAll('.scroll')].every(place => place.tabIndex === 0)")
            assert browser.run(CUT) == []


WIDE = """return [...document.querySelectorAll('main *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !element.closest('.scroll') && !element.closest('svg')
        && getComputedStyle(element).clipPath === 'none';
}).map(element => element.outerHTML.slice(0, 200))"""

# Words of charts that are cut by the chart's edge.
CUT = """return [...document.querySelectorAll('.chart')].flatMap(place => {
    const edge = place.getBoundingClientRect();
    return [...place.querySelectorAll('svg text')].filter(text => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < edge.left - 1 || box.right > edge.right + 1 || box.top < edge.top - 1
            || box.bottom > edge.bottom + 1);
    }).map(text => place.getAttribute('aria-label').slice(0, 60) + ': ' + text.textContent);
})"""


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(r, g, b)` or `#rrggbb`."""
    if colour.startswith("#"):
        parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    else:
        parts = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in parts)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_counted_right() -> None:
    assert contrast("#ffffff", "rgb(0, 0, 0)") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )


@pytest.mark.parametrize("kind", KINDS)
def test_charts_can_be_seen(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    browser.open(pages[kind])
    backs = set()
    for scheme in SCHEMES:
        change_window(browser, 1600, scheme)
        seen = 0
        for chart in browser.run(COLOURS):
            backs.add(chart["back"])
            assert all(contrast(colour, chart["back"]) >= 4.5 for colour in set(chart["words"])), chart["title"]
            lines = {colour for colour in chart["lines"] if colour.startswith("rgb(")}
            assert all(contrast(colour, chart["back"]) >= 3 for colour in lines), chart["title"]
            if chart["cells"]:
                text, *ends = chart["cells"]
                assert all(contrast(text, end) >= 4.5 for end in ends), chart["title"]
                assert contrast(*ends) >= 2
            seen += len(lines) + len(chart["cells"])
        assert seen > 3
        back, *drawn = browser.run(DRAWN)
        assert all(contrast(colour, back) >= 3 for colour in drawn)
    assert len(backs) == 2


COLOURS = """return [...document.querySelectorAll('.chart')].map(place => {
    const texts = [...place.querySelectorAll('svg text')].filter(text => !text.closest('.hm'));
    const lines = [...place.querySelectorAll('path.js-line')].map(path => getComputedStyle(path).stroke);
    const points = [...place.querySelectorAll('path.point')].map(path => getComputedStyle(path).fill);
    const map = place.data[0].type === 'heatmap' ? place.data[0] : null;
    return {
        title: place.getAttribute('aria-label').slice(0, 60),
        back: getComputedStyle(place.closest('figure')).backgroundColor,
        words: texts.map(text => getComputedStyle(text).fill),
        lines: [...lines, ...points],
        cells: map ? [map.textfont.color, ...map.colorscale.map(step => step[1])] : [],
    };
})"""

# Of the drawing of a network.
DRAWN = """const card = document.querySelector('.card');
const colour = (name, what) => getComputedStyle(card.querySelector(name))[what];
return [getComputedStyle(card).backgroundColor, colour('.channels', 'backgroundColor'),
    colour('.inside', 'borderTopColor'), colour('.macs', 'backgroundColor'), colour('.fill', 'fill')]"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 400)])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_serious(
    browser: Browser, pages: dict[str, Path], kind: str, scheme: str, width: int
) -> None:
    from selenium_axe_python import Axe

    browser.open(pages[kind], scheme=scheme, width=width)
    browser.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    axe = Axe(browser.driver)
    axe.inject()
    # To a reader who does not see, a chart is a picture with a text: what is inside it is tested above.
    report = axe.run({"exclude": [[".chart > *"]]})
    found = [
        (rule["id"], rule["impact"], [node["html"][:150] for node in rule["nodes"]]) for rule in report["violations"]
    ]
    assert [rule for rule in found if rule[1] in ("serious", "critical")] == []
    passed = {rule["id"] for rule in report["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang", "role-img-alt"} <= passed


CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']"


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_is_reached_and_its_focus_is_seen(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    browser.open(pages[kind])
    expected = browser.run(
        f"""window.controls = [...document.querySelectorAll("{CONTROLS}")].filter(control => control.checkVisibility());
        return window.controls.length"""
    )
    reached = []
    for _ in range(expected + 1):
        browser.press("\ue004")  # Tab
        number, style, width, colour, inside = browser.run(
            """const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
            return [window.controls.indexOf(at), style.outlineStyle, parseFloat(style.outlineWidth), style.outlineColor,
                box.bottom > 0 && box.top < innerHeight]"""
        )
        if number < 0:  # past the last one
            break
        assert style == "solid" and width >= 2 and inside, number
        assert contrast(colour, browser.run("return getComputedStyle(document.body).backgroundColor")) >= 3
        reached.append(number)
    # In the order of the page, without a trap.
    assert reached == list(range(expected))


def focus(browser: Browser, selector: str) -> None:
    browser.run("document.querySelector(arguments[0]).focus()", selector)


def column(browser: Browser, name: str) -> list[str]:
    """Cells of a column of the table of runs, as they stand, of rows that are shown."""
    return browser.run(
        """const table = document.querySelector('table[data-sorted]');
        const place = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === arguments[0]);
        const shown = [...table.tBodies[0].rows].filter(row => row.checkVisibility());
        return shown.map(row => row.cells[place].textContent)""",
        name,
    )


def test_the_table_is_sorted_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["several"])
    figures = column(browser, "multiply-adds")
    number = browser.run(
        "return [...document.querySelectorAll('thead th')].findIndex(head => head.textContent === 'multiply-adds') + 1"
    )
    focus(browser, f"thead th:nth-child({number}) button")
    for key, direction in (("\ue007", "ascending"), (" ", "descending")):  # Enter, space
        browser.press(key)
        values = [int(text.replace(",", "")) for text in column(browser, "multiply-adds")]
        assert values == sorted((int(text.replace(",", "")) for text in figures), reverse=direction == "descending")
        assert browser.run("return document.activeElement.closest('th').ariaSort") == direction
        assert browser.run("return document.querySelectorAll('[aria-sort]').length") == 1
    # Runs that have no such figure come last both ways.
    number = browser.run(
        "return [...document.querySelectorAll('thead th')].findIndex(head => head.textContent === 'parameters') + 1"
    )
    focus(browser, f"thead th:nth-child({number}) button")
    for _ in range(2):
        browser.press("\ue007")
        assert column(browser, "parameters")[2:] == ["", ""] and "" not in column(browser, "parameters")[:2]


def test_the_table_and_the_curves_are_filtered_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["several"])
    focus(browser, "#filter")
    shown = """return [...document.querySelectorAll('.chart')].flatMap(place =>
        place.data.filter(t => t.meta?.run !== undefined && t.visible !== false).map(t => t.meta.run))"""
    everything = sorted(browser.run(shown))
    assert set(everything) == {0, 1, 2, 3}
    browser.press(*"SECOND")
    (name,) = column(browser, "run")
    assert name.endswith("second search")
    assert set(browser.run(shown)) == {1}
    assert browser.run("return document.getElementById('filtered').textContent") == "1 of 4 runs, in the curves too"
    browser.press(*["\ue003"] * 6)  # Backspace
    assert len(column(browser, "run")) == 4 and sorted(browser.run(shown)) == everything


def test_the_slider_goes_through_the_epochs(browser: Browser, pages: dict[str, Path], search_run: Path) -> None:
    browser.open(pages["search"])
    epochs = [record for record in read_metrics(search_run / "metrics.jsonl") if "epoch" in record]
    focus(browser, "input[type=range]")
    for step, epoch in enumerate((3, 2, 1)):
        if step:
            browser.press("\ue012")  # arrow to the left
        state = browser.run(
            """const slider = document.querySelector('input[type=range]');
            const chart = document.getElementById(slider.dataset.map);
            return [slider.labels[0].textContent, slider.getAttribute('aria-valuetext'), chart.data[0].z]"""
        )
        assert state[0] == state[1] == f"After epoch {epoch} of 3"
        expected = [value for choice in epochs[epoch - 1]["probabilities"][1] for value in choice]
        assert state[2][1] == pytest.approx(expected, rel=1e-5)


def test_details_open_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["several"])
    focus(browser, "summary")
    before = browser.run("return document.activeElement.parentNode.open")
    browser.press("\ue007")
    assert browser.run("return document.activeElement.parentNode.open") != before


HARMFUL = ", ".join(f".chart {what}" for what in ("img", "script", "a", "iframe", "[onerror]", "[onload]"))


@pytest.mark.parametrize("kind", KINDS)
def test_names_do_nothing(
    browser: Browser,
    search_run: Path,
    train_run: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    makers = {"search": [(hostile_search, search_run)], "training": [(hostile_training, train_run)]}
    makers["several"] = makers["search"] + makers["training"]
    elements: list[dict[str, int]] = []
    for number, name in enumerate(("plain", HOSTILE)):
        place = tmp_path / str(number)
        runs = []
        for maker, run in makers[kind]:
            (place / maker.__name__).mkdir(parents=True)
            runs.append(maker(run, place / maker.__name__, name))
        write_report(runs, place / "page.html")
        browser.open(place / "page.html")
        elements.append(
            browser.run(
                """const count = {};
                for (const element of document.querySelectorAll('main *:not(.chart *):not(pre span)')) {
                    count[element.tagName] = (count[element.tagName] || 0) + 1;
                    for (const name of element.getAttributeNames()) if (name.startsWith('on')) count[name] = 1;
                }
                return count"""
            )
        )
        # Nothing but drawings and their words in charts.
        assert browser.run(f"return document.querySelectorAll({HARMFUL!r}).length") == 0
        assert browser.console() == [] and browser.requests() == [(place / "page.html").resolve().as_uri()]
    assert elements[0] == elements[1]
    text = browser.run("return document.body.innerText")
    assert HOSTILE in text and HOSTILE.replace("/", "-") in text
    if kind == "training":
        # What a chart says under the pointer is text, too.
        browser.point_at("#chart-2 .nsewdrag")
        said = "return document.querySelector('#chart-2 .hoverlayer').textContent"
        words = browser.wait(lambda: browser.run(said), 10, "words at the pointer")
        assert words.startswith(f"{HOSTILE} taken for {HOSTILE}")


def test_twenty_long_runs_open(browser: Browser, search_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    begin = time.monotonic()
    write_report(twenty_long_runs(search_run, tmp_path), page)
    built = time.monotonic()
    browser.open(page)
    charts = browser.run(CHARTS)
    opened = time.monotonic()
    print(f"built in {built - begin:.1f} s, opened in {opened - built:.1f} s, {page.stat().st_size:,} bytes")
    assert page.stat().st_size < 6_000_000
    assert len(charts) == 2 * 20 + 2 and all(chart["traces"] and all(chart["traces"]) for chart in charts)
    assert browser.console() == []
    # Generous: these machines may be busy. A minute would be a page that nobody waits for.
    assert built - begin < 60 and opened - built < 60
