"""Several runs side by side: points, fronts and bars against figures worked out by hand; the table."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from finished_runs import copied

from fpnas.report.charts import line, short_names, summed_up
from fpnas.report.comparison import comparison_charts, comparison_table
from fpnas.report.figures import figures
from fpnas.report.page import render
from fpnas.report.runs import ReportedRun, read_runs


def trained(train_run: Path, place: Path, top1: float, *, classes: int = 10, **settings: Any) -> Path:
    """A copy of a training with another accuracy, other settings, and another network where it has more classes."""
    run = copied(train_run, place).rename(place / f"top1 {top1}")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"top1": top1, "macs": 1000 * classes}))
    network = json.loads((run / "network.json").read_text())
    (run / "network.json").write_text(json.dumps(network | {"num_classes": classes}))
    document = yaml.safe_load((run / "config.yaml").read_text())
    assert settings.keys() <= document["configuration"].keys()
    document["configuration"] |= settings
    (run / "config.yaml").write_text(yaml.safe_dump(document))
    return run


@pytest.fixture
def trainings(train_run: Path, tmp_path: Path) -> list[ReportedRun]:
    """One network with three seeds; a larger one that is better, and one that is larger still and worse."""
    return read_runs(
        [
            trained(train_run, tmp_path / "a", 90.0, seed=0),
            trained(train_run, tmp_path / "b", 91.0, seed=1, output="elsewhere"),
            trained(train_run, tmp_path / "c", 95.0, seed=2),
            trained(train_run, tmp_path / "d", 96.0, classes=11),
            trained(train_run, tmp_path / "e", 94.0, classes=12),
        ]
    )


def test_accuracy_over_cost(trainings: list[ReportedRun]) -> None:
    chart = comparison_charts(trainings)[0]
    points, front = chart.traces
    assert points["x"] == [10, 11, 12] and points["y"] == [92.0, 96.0, 94.0]
    # From the least to the greatest of three seeds, which is not the same both ways from their mean.
    assert points["error_y"]["arrayminus"] == [2.0, 0.0, 0.0] and points["error_y"]["array"] == [3.0, 0.0, 0.0]
    assert points["text"] == ["top1 90.0 (3 seeds)", "top1 96.0", "top1 94.0"]
    # The front has the first two, and goes on to the right.
    assert front["x"] == [10, 11, 12] and front["y"] == [92.0, 96.0, 96.0]
    assert "with the Pareto front" in chart.title and "1 of 3 below it" in chart.summary
    assert "mean of 3 seeds from 90.00 to 95.00%" in chart.summary


def test_what_differs_in_more_than_the_seed_is_another_point(train_run: Path, tmp_path: Path) -> None:
    runs = read_runs(
        [
            trained(train_run, tmp_path / "a", 90.0),
            trained(train_run, tmp_path / "b", 91.0, learning_rate=0.1),
            trained(train_run, tmp_path / "c", 92.0, data="others"),
        ]
    )
    charts = comparison_charts(runs)
    # The third is of other data: nothing to be compared with.
    assert charts[0].traces[0]["y"] == [91.0, 90.0] and " on digits, " in charts[0].title
    assert "Test accuracy of the trainings" in charts[1].title


def test_curves_are_overlaid_and_know_their_run(search_run: Path, train_run: Path, tmp_path: Path) -> None:
    paths = [train_run, search_run, copied(train_run, tmp_path / "a"), copied(search_run, tmp_path / "b")]
    charts = {chart.title: chart for chart in comparison_charts(read_runs(paths))}
    assert [len(chart.traces) for chart in charts.values()] == [2] * 4
    for title, name, numbers in (
        ("Test accuracy of the trainings, epoch by epoch", "test_top1", [0, 2]),
        ("Entropy of the searches after every epoch", "entropy_nats", [1, 3]),
    ):
        assert [trace["meta"]["run"] for trace in charts[title].traces] == numbers
        run = read_runs(paths)[numbers[0]]
        assert charts[title].traces[0]["y"] == [record[name] for record in run.epochs]


def test_what_was_held_out_is_no_test(train_run: Path, tmp_path: Path) -> None:
    tested = [trained(train_run, tmp_path / name, 90.0 + seed, seed=seed) for seed, name in enumerate("ab")]
    held = [
        trained(train_run, tmp_path / name, 95.0, hold_out=0.5, learning_rate=rate)
        for rate, name in ((1, "c"), (2, "d"))
    ]
    runs = read_runs([*tested, *held])
    charts = comparison_charts(runs)
    curves = {
        chart.title: [trace["meta"]["run"] for trace in chart.traces] for chart in charts if "epoch" in chart.title
    }
    assert curves == {
        "Test accuracy of the trainings, epoch by epoch": [0, 1],
        "Accuracy of the trainings on the images that they held out, epoch by epoch": [2, 3],
        "Loss of the trainings on their training images, epoch by epoch": [0, 1, 2, 3],
    }
    fronts = [chart.title for chart in charts if "Pareto" in chart.title]
    assert fronts == ["Held-out accuracy over multiply-adds on digits, with the Pareto front"]
    assert [figure.text for figure in figures(runs[2]) if figure.name == "held-out accuracy, %"]
    assert not [figure.text for figure in figures(runs[0]) if figure.name == "held-out accuracy, %"]
    alone = render([runs[2]])
    assert "held-out training images" in alone and "test image" not in alone.lower()


def test_lines_are_told_apart_without_colours_too() -> None:
    looks = [line("", [0, 1], [0, 1], number)["line"]["dash"] for number in range(24)]
    assert len({(number % 6, dash) for number, dash in enumerate(looks)}) == 24
    assert len(set(looks[:4])) == 4 and all(one != other for one, other in pairwise(looks))


def test_the_table_has_figures_and_the_settings_that_differ(trainings: list[ReportedRun], search_run: Path) -> None:
    runs = [*trainings, *read_runs([search_run])]
    table = comparison_table(runs, lambda number: f"#run-{number}")
    heads = re.findall(r"<button type='button'>(.*?)</button>", table)
    assert heads[:3] == ["run", "kind", "multiply-adds"] and heads[-1] == "seed"
    assert {"test accuracy, %", "entropy, nats"} < set(heads) and "output" not in heads
    rows = re.findall(r"<tr data-run=.*?</tr>", table)
    assert len(rows) == 6 and all(len(re.findall("<t[hd]", row)) == len(heads) for row in rows)
    assert "<td data-value='2'>2</td></tr>" in rows[2] and "<td></td>" in rows[5]
    # Every link leads somewhere.
    page = render(runs)
    for target in re.findall(r"href='#([^']+)'", page):
        assert f"id='{target}'" in page


def test_a_run_that_has_not_ended_is_told_apart(search_run: Path, tmp_path: Path) -> None:
    killed = copied(search_run, tmp_path / "killed")
    (killed / "result.json").unlink()
    runs = read_runs([search_run, killed])
    epochs = runs[0].config["epochs"]
    assert (runs[0].under_way, runs[1].under_way) == ("", f"{epochs} of {epochs} epochs done")
    rows = re.findall(r"<tr data-run=.*?</tr>", comparison_table(runs, str))
    assert ">ended</td>" in rows[0] and f">{epochs} of {epochs} epochs done</td>" in rows[1]
    entropy = next(chart for chart in comparison_charts(runs) if "Entropy" in chart.title)
    assert entropy.summary.count(f"({epochs} of {epochs} epochs done)") == 1
    assert "state" not in re.findall(r"<button type='button'>(.*?)</button>", comparison_table(runs[:1], str))


def test_long_names_are_told_apart() -> None:
    alike = [f"mobile-tiny-digits-seed-{seed}-mixup-0.2-cosine-20-epochs" for seed in (1, 2)]
    assert short_names([*alike, "short", "a-name-that-is-long-and-like-no-other"]) == [
        *alike,
        "short",
        "a-name-that…ike-no-other",
    ]


def test_a_long_list_says_how_much_is_left_out() -> None:
    assert summed_up(["a", "b"]) == "a; b."
    assert summed_up(list("abcdefghij")) == "a; b; c; d; e; f; g; h; and 2 more."
