"""The report as a file: what is in it, that names cannot do anything in it, how large it gets."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from finished_runs import copied, network_file

from fpnas.cli import main
from fpnas.errors import UserError
from fpnas.network_file import load_network
from fpnas.report.charts import Chart, search_charts, several_charts, training_charts
from fpnas.report.mistakes import confusion_chart, read_mistakes
from fpnas.report.network_drawing import draw_network
from fpnas.report.page import render
from fpnas.report.probabilities import probability_map
from fpnas.report.runs import read_run, read_runs, thinned
from fpnas.runtime.metrics import read_metrics

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"


class Outline(HTMLParser):
    """Tags of a page with their attributes, and the contents of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = (dict(attrs).get("id") or "code") if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


def titles(charts: list[Chart]) -> list[str]:
    return [chart.title for chart in charts]


def test_a_search_s_charts_are_its_record(search_run: Path) -> None:
    run = read_run(search_run)
    charts = search_charts(run)
    assert len(charts) == 5
    assert len(set(titles(charts))) == 5 and all(chart.summary for chart in charts)
    records = read_metrics(search_run / "metrics.jsonl")
    epochs = [record for record in records if "epoch" in record]
    drawn, fixed = charts[3].traces
    assert drawn["y"] == [record["samples_so_far"] for record in epochs]
    assert fixed["y"][-1] == max(r["samples"] for r in records if "samples" in r) * (len(records) - len(epochs))
    phases = charts[4].traces
    total = sum(sum(trace["y"]) for trace in phases)
    assert total == pytest.approx(epochs[-1]["seconds"], rel=0.02)


def test_probabilities_are_those_of_the_distribution(search_run: Path) -> None:
    found = probability_map(read_run(search_run))
    assert found
    chart, frames = found
    assert [frame["epoch"] for frame in frames] == [1, 2, 3]
    # Of every choice the probabilities sum to one: five choices a group.
    assert all(sum(value or 0 for value in row) == pytest.approx(5, abs=1e-3) for frame in frames for row in frame["z"])
    assert len(chart.traces[0]["x"]) == len(frames[0]["z"][0]) == len(chart.traces[0]["text"][0])


def test_the_page_holds_everything_and_asks_for_nothing(search_run: Path, train_run: Path) -> None:
    for paths in ([search_run], [train_run], [search_run, train_run]):
        page = render(read_runs(paths))
        outline = Outline(page)
        charts = json.loads(outline.scripts["charts"])
        places = {
            attributes["id"] for tag, attributes in outline.tags if (attributes.get("id") or "").startswith("chart-")
        }
        assert charts.keys() == places and charts
        for tag, attributes in outline.tags:
            assert tag != "link" or attributes["href"] == "data:,"
            assert "src" not in attributes or str(attributes["src"]).startswith("data:")
            if tag == "div" and attributes.get("class") == "chart":
                assert attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20
            if tag == "img":
                assert attributes["alt"]


def test_a_training_s_mistakes(train_run: Path) -> None:
    mistakes = read_mistakes(train_run)
    assert mistakes
    result = json.loads((train_run / "result.json").read_text())
    right = sum(row[index] for index, row in enumerate(mistakes.confusion))
    total = sum(map(sum, mistakes.confusion))
    assert total == result["images"] and 100 * right / total == pytest.approx(result["top1"])
    assert all(image.label != image.taken_for for image in mistakes.worst)
    assert [image.probability for image in mistakes.worst] == sorted(
        (i.probability for i in mistakes.worst), reverse=True
    )
    assert "taken for" in confusion_chart(mistakes).summary
    assert len(training_charts(read_run(train_run))) == 2


def test_names_can_do_nothing_in_the_page(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path / HOSTILE.replace("/", "-"))
    path = run / "mistakes.json"
    content = json.loads(path.read_text())
    content["class_names"] = [HOSTILE] * len(content["class_names"])
    content["worst"] = [row | {"label": HOSTILE, "taken_for": HOSTILE} for row in content["worst"]]
    path.write_text(json.dumps(content))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("data: digits", f"data: {json.dumps(HOSTILE)}"))
    clean, page = Outline(render([read_run(train_run)])), Outline(render([read_run(run, HOSTILE)]))
    # The same elements, with the same names of attributes: what differs is text.
    shapes = [[(tag, sorted(attributes)) for tag, attributes in outline.tags] for outline in (clean, page)]
    assert shapes[0] == shapes[1]
    for text in (*page.scripts.values(),):
        assert "<img" not in text or "plotly" in text
    # plotly reads its texts as HTML of its own.
    assert "&lt;/script&gt;" in json.loads(page.scripts["charts"])["chart-2"]["traces"][0]["x"][0]


@pytest.mark.parametrize("broken", ["[]", "{}", '{"worst": [{}], "confusion": [], "class_names": []}', '{"worst": 3}'])
def test_broken_mistakes_are_refused(train_run: Path, tmp_path: Path, broken: str) -> None:
    run = copied(train_run, tmp_path)
    (run / "mistakes.json").write_text(broken)
    with pytest.raises(UserError, match=r"mistakes\.json"):
        read_mistakes(run)


def test_an_image_that_is_none_is_refused(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    content = json.loads((run / "mistakes.json").read_text())
    content["worst"] = [
        {"index": 0, "label": "a", "taken_for": "b", "probability": 0.5, "png": 'x" onerror="alert(1)'},
    ]
    (run / "mistakes.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="base64"):
        read_mistakes(run)


def test_a_run_that_has_just_begun(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    for name in ("metrics.jsonl", "result.json", "network.json"):
        (run / name).unlink()
    assert "no epoch done yet" in render([read_run(run)])


def test_twenty_long_runs_fit_a_page(search_run: Path, train_run: Path, tmp_path: Path) -> None:
    record = read_metrics(search_run / "metrics.jsonl")
    step, epoch = record[-3], record[-1]
    lines = [json.dumps(step | {"step": number}) for number in range(9_700)]
    lines += [json.dumps(epoch | {"step": 32 * number, "epoch": number}) for number in range(1, 301)]
    paths = []
    for number in range(20):
        path = copied(search_run, tmp_path / str(number)).rename(tmp_path / f"run {number}")
        (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        paths.append(path)
    assert len(render(read_runs(paths)).encode()) < 6_000_000


def test_several_runs_are_compared(search_run: Path, train_run: Path, tmp_path: Path) -> None:
    other = copied(train_run, tmp_path)
    found = several_charts(read_runs([search_run, train_run, other]))
    assert "over what they cost" in found[0].title and "Test accuracy" in found[1].title
    assert "(2 seeds)" in found[0].summary and "±" not in found[0].summary
    # The same network twice is one point.
    assert len(found[0].traces[0]["x"]) == 1


def test_names_are_told_apart(search_run: Path, tmp_path: Path) -> None:
    first, second = copied(search_run, tmp_path / "a"), copied(search_run, tmp_path / "b")
    assert [run.name for run in read_runs([first, second])] == ["a/copy", "b/copy"]
    with pytest.raises(UserError, match="is given twice"):
        read_runs([first, first])


@pytest.mark.parametrize("count", [1, 2, 399, 400, 401, 12_345])
def test_thinned_keeps_first_and_last(count: int) -> None:
    kept = thinned(range(count))
    assert kept[0] == 0 and kept[-1] == count - 1 and len(kept) == min(count, 400) and kept == sorted(set(kept))


def test_the_drawing_has_a_row_for_every_part(search_run: Path) -> None:
    spec = load_network(search_run / "network.json")
    drawing = draw_network(spec)
    active = [block for block in spec.blocks if block.kernel]
    assert drawing.count('class="macs"') == len(spec.blocks) + 2
    assert drawing.count('class="channels"') == len(active) + 2
    assert drawing.count('class="bypass"') == len(spec.blocks) - len(active)
    assert re.search(rf'aria-label="[^"]*{len(active)} of them active', drawing)


def test_the_command_writes_the_page(search_run: Path, tmp_path: Path, capfd: Any) -> None:
    output = tmp_path / "page.html"
    assert main(["report", str(search_run), "--output", str(output), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer == {"output": str(output), "bytes": output.stat().st_size} and answer["bytes"] < 6_000_000
    assert main(["report", str(tmp_path / "nowhere"), "--output", str(output)]) == 2


def test_a_page_after_every_epoch_which_no_failure_of_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(
        "fpnas.report.page.write_report", lambda paths, output: epochs.append(len(read_run(paths[0]).epochs))
    )
    command = ["train", str(network_file(tmp_path)), "--data=digits", "--max-images=100", "--epochs=3", "--quiet"]
    assert main([*command, f"--output={tmp_path / 'run'}"]) == 0
    assert epochs == [1, 2, 3, 3]
    monkeypatch.setattr("fpnas.report.page.write_report", lambda paths, output: 1 / 0)
    assert main([*command, f"--output={tmp_path / 'other'}"]) == 0
    assert capfd.readouterr().err.count("report.html: cannot be written: division by zero") == 4
