"""The report as a file: what is in it, that names cannot do anything in it, how large it gets."""

import html
import json
import os
import platform
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import copied, network_file, repeatable_metrics
from reported_runs import HOSTILE, hostile_search, hostile_training, set_configuration, twenty_long_runs

import fpnas
from fpnas.cli import main
from fpnas.cost import network_cost
from fpnas.errors import UserError
from fpnas.network_file import load_network
from fpnas.report.charts import Chart, short, thinned
from fpnas.report.figures import figures
from fpnas.report.mistakes import confusion_chart, read_mistakes
from fpnas.report.network_drawing import draw_network, network_in_words
from fpnas.report.page import render, write_report
from fpnas.report.probabilities import probability_map, probability_table
from fpnas.report.runs import read_run, read_runs
from fpnas.report.search_charts import search_charts
from fpnas.report.settings import full_command
from fpnas.report.training_charts import training_charts
from fpnas.runtime.metrics import read_metrics
from fpnas.version import __version__


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
    entropy, costs, accuracy, drawn, phases, losses = search_charts(run)
    records = read_metrics(search_run / "metrics.jsonl")
    epochs = [record for record in records if "epoch" in record]
    steps = [record for record in records if "epoch" not in record]
    learning = [record for record in steps if "entropy_nats" in record]
    # Eleven steps an epoch, the first of which is warm-up: charts share one axis.
    assert entropy.traces[0]["x"] == [round((record["step"] + 1) / 11, 3) for record in learning]
    assert entropy.traces[0]["y"] == [record["entropy_nats"] for record in learning]
    assert entropy.traces[1]["y"] == [record["samples"] for record in learning]
    assert costs.traces[0]["y"] == [300, 300] and costs.traces[0]["x"] == [0, 3]
    for trace, (part, name) in zip(
        costs.traces[1:], ((steps, "sampled_cost"), (epochs, "expected_macs"), (epochs, "mode_macs")), strict=True
    ):
        assert trace["y"] == [record[name] / 1000 for record in part]
    assert accuracy.traces[0]["y"] == [record["mode_top1"] for record in epochs]
    assert losses.traces[0]["y"] == [record["loss"] for record in steps]
    assert losses.traces[1]["y"] == [record["architecture_loss"] for record in learning]
    parts = [sum(values) for values in zip(*(trace["y"] for trace in phases.traces), strict=True)]
    ends = [record["seconds"] for record in epochs]
    assert parts == pytest.approx([end - begin for begin, end in zip([0.0, *ends], ends, strict=False)], rel=0.02)
    assert [trace["y"] for trace in drawn.traces[:2]] == [[record["samples_so_far"] for record in epochs], ends]


def test_a_fixed_number_of_samples_is_that_of_the_first_learning_step(search_run: Path) -> None:
    run = read_run(search_run)
    fixed, seconds = search_charts(run)[3].traces[2:]
    most = max(step["samples"] for step in run.steps if "entropy_nats" in step)
    assert most == 2  # the fewest
    # The warm-up would be the same: one architecture trained in a step, and none judged.
    assert fixed["y"] == [11 + most * 11 * epoch for epoch in range(3)]
    by_epoch = [[step["samples"] for step in run.steps if step["step"] // 11 == epoch] for epoch in range(3)]
    extra = [
        record["seconds_judging"] * (most * 11 / sum(samples) - 1)
        for record, samples in zip(run.epochs[1:], by_epoch[1:], strict=True)
    ]
    ends = [record["seconds"] for record in run.epochs]
    assert seconds["y"] == pytest.approx([ends[0], ends[1] + extra[0], ends[2] + sum(extra)])


def test_the_stages_of_a_search_are_marked(search_run: Path) -> None:
    for chart in search_charts(read_run(search_run))[:4]:
        warm_up, joint = chart.layout["shapes"]
        assert (warm_up["x0"], warm_up["x1"]) == (0, 1) and joint["x0"] == pytest.approx(0.8 * 3)
        assert [note["text"] for note in chart.layout["annotations"]] == ["warm-up", "joint"]
    assert "After epoch 2.4 (dotted)" in search_charts(read_run(search_run))[0].summary


def test_probabilities_are_those_of_the_distribution(search_run: Path) -> None:
    found = probability_map(read_run(search_run))
    assert found
    chart, frames = found
    assert [frame["epoch"] for frame in frames] == [1, 2, 3]
    # Of every choice the probabilities sum to one: five choices a group.
    assert all(sum(value or 0 for value in row) == pytest.approx(5, abs=1e-3) for frame in frames for row in frame["z"])
    trace = chart.traces[0]
    assert {len(part) for part in (*trace["x"], *frames[0]["z"], *trace["text"], *trace["customdata"])} == {13}
    records = [record for record in read_metrics(search_run / "metrics.jsonl") if "epoch" in record]
    last = records[-1]["probabilities"]
    # The second group has three kernels, two activations, four splits, two expansions, two widths: no cell is blank.
    assert frames[-1]["z"][1] == [value for choice in last[1] for value in choice]
    assert frames[-1]["z"][0][2] is None and trace["text"][0][2] == ""
    best = max(zip(last[1][2], ("0", "1", "2", "4"), strict=True))
    assert f"<b>{best[1]} {100 * best[0]:.0f}%</b>" in probability_table(read_run(search_run))


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
            assert tag not in ("base", "iframe", "object", "embed", "form") and "http-equiv" not in attributes
            assert "src" not in attributes or str(attributes["src"]).startswith("data:")
            if tag == "div" and attributes.get("class") == "chart":
                assert attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20
            if tag == "img":
                assert attributes["alt"]


def test_a_training_s_mistakes(train_run: Path) -> None:
    mistakes = read_mistakes(train_run / "mistakes.json")
    assert mistakes
    result = json.loads((train_run / "result.json").read_text())
    right = sum(row[index] for index, row in enumerate(mistakes.confusion))
    total = sum(map(sum, mistakes.confusion))
    assert total == result["images"] and 100 * right / total == pytest.approx(result["top1"])
    assert all(image.label != image.taken_for for image in mistakes.worst)
    assert [image.probability for image in mistakes.worst] == sorted(
        (i.probability for i in mistakes.worst), reverse=True
    )
    assert "taken for" in confusion_chart(mistakes, "test images").summary
    assert len(training_charts(read_run(train_run))) == 2


@pytest.mark.parametrize("kind", ["search", "train"])
def test_names_can_do_nothing_in_the_page(search_run: Path, train_run: Path, tmp_path: Path, kind: str) -> None:
    def outline(name: str, place: Path) -> Outline:
        run = hostile_search(search_run, place, name) if kind == "search" else hostile_training(train_run, place, name)
        return Outline(render([read_run(run, name)]))

    clean, page = outline("plain", tmp_path / "a"), outline(HOSTILE, tmp_path / "b")
    # The same elements, with the same names of attributes: what differs is text. (The words of commands are more.)
    shapes = [
        [(tag, sorted(attributes)) for tag, attributes in outline.tags if tag != "span"] for outline in (clean, page)
    ]
    assert shapes[0] == shapes[1]
    for text in (*page.scripts.values(),):
        assert "<img" not in text or "plotly" in text
    # plotly reads its texts as HTML of its own.
    charts = json.loads(page.scripts["charts"])
    if kind == "search":
        probabilities = charts["chart-6"]
        assert probabilities["traces"][0]["customdata"][1][0][0] == html.escape(f"group {HOSTILE}", quote=False)
        assert probabilities["layout"]["yaxis"]["ticktext"][1] == html.escape(
            short(f"group {HOSTILE}", 16), quote=False
        )
    else:
        confusion = charts["chart-2"]
        assert confusion["traces"][0]["customdata"][0][0] == [html.escape(HOSTILE, quote=False)] * 2
        assert confusion["layout"]["xaxis"]["ticktext"][0] == html.escape(short(HOSTILE, 16), quote=False)


@pytest.mark.parametrize(
    "broken",
    [
        "[]",
        "{}",
        '{"worst": [], "confusion": [[1, 2]], "class_names": ["a", "b"]}',
        '{"worst": [], "confusion": [[1], [2]], "class_names": ["a", "b"]}',
        '{"worst": [{}], "confusion": [], "class_names": []}',
        '{"worst": 3}',
    ],
)
def test_broken_mistakes_are_refused(train_run: Path, tmp_path: Path, broken: str) -> None:
    run = copied(train_run, tmp_path)
    (run / "mistakes.json").write_text(broken)
    with pytest.raises(UserError, match=r"mistakes\.json"):
        read_mistakes(run / "mistakes.json")


def test_an_image_that_is_none_is_refused(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    content = json.loads((run / "mistakes.json").read_text())
    content["worst"] = [
        {"index": 0, "label": "a", "taken_for": "b", "probability": 0.5, "png": 'x" onerror="alert(1)'},
    ]
    (run / "mistakes.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="base64"):
        read_mistakes(run / "mistakes.json")


def test_a_run_that_has_just_begun(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    for name in ("metrics.jsonl", "result.json", "network.json"):
        (run / name).unlink()
    assert "no epoch done yet" in render([read_run(run)])


def test_twenty_long_runs_fit_a_page(search_run: Path, tmp_path: Path) -> None:
    assert len(render(read_runs(twenty_long_runs(search_run, tmp_path))).encode()) < 6_000_000


def test_names_are_told_apart(search_run: Path, tmp_path: Path) -> None:
    first, second = copied(search_run, tmp_path / "a"), copied(search_run, tmp_path / "b")
    assert [run.name for run in read_runs([first, second])] == ["a/copy", "b/copy"]
    with pytest.raises(UserError, match="is given twice"):
        read_runs([first, first])


@pytest.mark.parametrize("count", [1, 2, 299, 300, 301, 12_345])
def test_thinned_keeps_first_and_last(count: int) -> None:
    kept = thinned(range(count))
    assert kept[0] == 0 and kept[-1] == count - 1 and len(kept) == min(count, 300) and kept == sorted(set(kept))


def test_the_drawing_has_a_row_for_every_part(search_run: Path) -> None:
    spec = load_network(search_run / "network.json")
    cost = network_cost(spec)
    drawing = draw_network(spec)
    rows = re.findall(r"<tr><th scope='row'>(.*?)</tr>", drawing)
    assert len(rows) == len(spec.blocks) + 2
    widest = max(spec.head.channels, *(max(block.channels, block.hidden) for block in spec.blocks if block.kernel))
    most = max(part.macs for part in cost.parts)
    for row, block, part in zip(rows[1:-1], spec.blocks, cost.parts[1:-1], strict=True):
        assert (
            f"{part.macs / 1000:,.3f}<" in row
            and f"<span class='macs' style='width:{100 * part.macs / most:.1f}%'" in row
        )
        assert (f"{block.in_size} → {block.out_size}</td>" in row) == (block.stride > 1)
        if block.kernel:
            assert f"{block.kernel}x{block.kernel}" in row and f">{block.activation}<" in row
            assert f">{block.expansion:g}</td>" in row and row.count("<circle") == block.splits
            assert f"{block.in_channels} → {block.hidden} → {block.channels}</td>" in row
            assert f"'inside' style='width:{100 * block.hidden / widest:.1f}%'" in row
            assert f"'channels' style='width:{100 * block.channels / widest:.1f}%'" in row
        else:
            assert "passed by" in row and "dashes" in row and "class='inside'" not in row
            assert ("1x1 convolution" in row) == (not block.keeps_shape)
    active = sum(block.kernel > 0 for block in spec.blocks)
    assert f"{len(spec.blocks)} blocks, {active} of them active, {cost.macs:,} multiply-adds" in network_in_words(spec)


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


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"step": 1}', "samples is missing: a number is expected"),
        ('{"step": "1", "samples": 1, "loss": 2}', "step = '1': a number is expected"),
        ('{"step": 1.5, "samples": 1, "loss": 2}', "step = 1.5: a number is expected"),
        ('{"step": 1, "epoch": 1, "seconds": 3}', "entropy_nats is missing: a number is expected"),
        (
            '{"step": 1, "samples": 1, "loss": 2, "architecture_loss": "3"}',
            "architecture_loss = '3': a number is expected",
        ),
        ('{"step": 1, "samples": true, "loss": 2}', "samples = True: a number is expected"),
    ],
)
def test_a_record_that_is_none_is_one_line(
    search_run: Path, tmp_path: Path, capfd: Any, line: str, problem: str
) -> None:
    run = copied(search_run, tmp_path)
    (run / "metrics.jsonl").write_text(line + "\n")
    assert main(["report", str(run), "--output", str(tmp_path / "page.html")]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and f"metrics.jsonl: line 1: {problem}" in error
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("change", ["[]", "[[[1.0]]]", "3", "null"])
def test_probabilities_of_another_space_are_one_line(search_run: Path, tmp_path: Path, change: str) -> None:
    run = copied(search_run, tmp_path)
    *before, last = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(last) | {"probabilities": json.loads(change)}
    (run / "metrics.jsonl").write_text("\n".join([*before, json.dumps(record)]) + "\n")
    with pytest.raises(UserError, match=f"line {len(before) + 1}: probabilities: those of the choices of space tiny"):
        read_run(run)


def test_a_result_that_is_none_is_one_line(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"macs": "many"}))
    with pytest.raises(UserError, match=r"result .*: macs = 'many': a number is expected"):
        read_run(run)


def test_what_is_not_finite_is_left_out(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    figures = re.compile(r'"(loss|architecture_loss|entropy_nats|mode_top1)": [0-9.e-]+')
    (run / "metrics.jsonl").write_text(figures.sub(r'"\1": NaN', (run / "metrics.jsonl").read_text()))
    charts = titles(search_charts(read_run(run)))
    assert len(charts) == 3 and not any("Entropy" in title or "Loss" in title for title in charts)
    assert "NaN" not in Outline(render([read_run(run)])).scripts["charts"]


def test_a_number_that_is_none_is_one_line(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    record = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(re.sub(r'"probabilities": \[\[\[[0-9.]+', '"probabilities": [[[NaN', record))
    with pytest.raises(UserError, match="probabilities: those of the choices of space"):
        read_run(run)
    (run / "metrics.jsonl").write_text(record)
    (run / "result.json").unlink()
    config = run / "config.yaml"
    config.write_text(re.sub(r"epochs: \d+", "epochs: .inf", config.read_text(), count=1))
    assert "epochs done" in render([read_run(run)])


def test_a_name_of_any_bytes(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path).rename(tmp_path / os.fsdecode(b"caf\xe9"))
    output = tmp_path / "page.html"
    write_report([run], output)
    assert "Search: caf\ufffd" in output.read_text()


def test_the_page_says_how_the_run_was_made(search_run: Path) -> None:
    page = render([read_run(search_run)])
    for text in (torch.__version__, __version__, platform.machine(), "UTC", "<th scope='row'>seed</th><td>0</td>"):
        assert str(text) in page


def test_the_page_leaves_out_what_a_strategy_does_not_look_at(search_run: Path, tmp_path: Path) -> None:
    for strategy, left_out in (("fp-nas", False), ("parsec", True), ("random", True), ("of my own", False)):
        run = copied(search_run, tmp_path / strategy)
        set_configuration(run, "strategy", strategy)
        words = " ".join(full_command(read_run(run)))
        assert ("--samples-per-nat" not in words) == left_out and ("--joint-from" not in words) == left_out
        assert ("--budget-floor" in words) == (strategy != "parsec")
        row = "<th scope='row'>joint_from</th><td>without effect in this strategy</td>"
        assert (row in render([read_run(run)])) == left_out


def test_the_command_of_a_search_of_a_space_that_has_no_file(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    set_configuration(run, "space", "mine")
    _, kind, *words = full_command(read_run(run))
    assert f"--space={run / 'space.toml'}" in words
    words = [f"--output={tmp_path / 'again'}" if word.startswith("--output=") else word for word in words]
    assert main([kind, *words]) == 0
    assert repeatable_metrics(tmp_path / "again") == repeatable_metrics(run)


def test_the_command_of_a_search_of_a_changed_space_of_a_known_name(search_run: Path) -> None:
    run = read_run(search_run)
    assert "--space=tiny" in full_command(run)
    assert run.space is not None
    changed = replace(run.space, stem=replace(run.space.stem, channels=run.space.stem.channels + 1))
    assert f"--space={search_run / 'space.toml'}" in full_command(replace(run, space=changed))


def test_a_choice_of_more_values_than_have_a_share(search_run: Path) -> None:
    run = read_run(search_run)
    assert run.space is not None
    group, *_ = run.space.groups
    choices = tuple(replace(c, values=tuple(range(1, 257))) if c.name == "channels" else c for c in group.choices)
    space = replace(run.space, groups=(replace(group, choices=choices),))
    probabilities = [[[1 / len(choice.values)] * len(choice.values) for choice in choices]]
    table = probability_table(replace(run, space=space, epochs=[{"probabilities": probabilities}]))
    assert "<b>256 values</b>" in table


def test_the_figures_of_a_search_that_ended_within_an_epoch_are_those_of_its_end(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 3, "warmup_epochs": 0, "batch_size": 128, "threads": 1}  # 5 steps an epoch
    output = tmp_path / "run"
    fpnas.search(
        "tiny", "digits", target_macs="0.3M", output=output, callbacks=[lambda moment: moment.step == 7], **settings
    )
    run = read_run(tmp_path / "run")
    assert run.result is not None
    assert run.result["samples"] != run.epochs[-1]["samples_so_far"]
    drawn = next(figure for figure in figures(run) if figure.name == "architectures drawn")
    assert drawn.value == run.result["samples"]


def test_the_command_of_the_page_makes_the_run_again(search_run: Path, train_run: Path, tmp_path: Path) -> None:
    for run in (search_run, train_run):
        program, kind, *words = full_command(read_run(run))
        assert program == "fpnas" and kind in ("search", "train")
        words = [f"--output={tmp_path / kind}" if word.startswith("--output=") else word for word in words]
        if words[0] == "NETWORK":
            words[0] = str(run / "network.json")
        assert main([kind, *words]) == 0
        assert repeatable_metrics(tmp_path / kind) == repeatable_metrics(run)
