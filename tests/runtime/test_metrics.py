"""The record of a run: append-only, whole lines, the same figures as curves."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fpnas.errors import UserError
from fpnas.runtime.metrics import MetricsLog, read_metrics
from fpnas.space_file import load_space

RECORDS = [{"step": 1, "loss": 2.5, "name": "é", "done": False}, {"step": 2, "loss": 0.1}]


def test_records_come_back(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for number, record in enumerate(RECORDS, 1):
            log.write(record)
            # Each is on disk at once: a run that is killed keeps its record.
            assert read_metrics(tmp_path / "metrics.jsonl") == RECORDS[:number]


def test_a_second_log_appends(tmp_path: Path) -> None:
    for record in RECORDS:
        with MetricsLog(tmp_path) as log:
            log.write(record)
    assert read_metrics(tmp_path / "metrics.jsonl") == RECORDS


def test_numbers_become_curves(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for record in RECORDS:
            log.write(record)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(point.step, round(point.value, 6)) for point in events.Scalars("loss")] == [(1, 2.5), (2, 0.1)]


def test_a_search_has_every_figure_of_its_record_as_a_curve(search_run: Path) -> None:
    events = EventAccumulator(str(search_run), size_guidance={"scalars": 0}).Reload()
    curves = {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    records = read_metrics(search_run / "metrics.jsonl")
    for name in {name for record in records for name in record} - {"step", "probabilities"}:
        expected = [(record["step"], record[name]) for record in records if name in record]
        assert curves[name] == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected], name
    space = load_space(search_run / "space.toml")
    open_values = 0
    for g, group in enumerate(space.groups):
        for v, choice in enumerate(group.choices):
            for place, value in enumerate(choice.values if len(choice.values) > 1 else ()):
                open_values += 1
                expected = [
                    (record["step"], record["probabilities"][g][v][place]) for record in records if "epoch" in record
                ]
                assert curves[f"probability_group_{group.name}/{choice.name}_{value}"] == [
                    (step, pytest.approx(probability, abs=1e-6)) for step, probability in expected
                ]
    assert open_values == sum(tag.startswith("probability_") for tag in curves) > 20
    assert {value for _, value in curves["target_macs"]} == {300_000}


def test_a_training_has_every_figure_of_its_record_as_a_curve(train_run: Path) -> None:
    events = EventAccumulator(str(train_run)).Reload()
    records = read_metrics(train_run / "metrics.jsonl")
    assert set(events.Tags()["scalars"]) == set(records[0]) - {"step"}
    for name in set(records[0]) - {"step"}:
        points = [point.value for point in events.Scalars(name)]
        assert points == pytest.approx([record[name] for record in records], rel=1e-6), name


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2')
    assert read_metrics(path) == [{"step": 1}]


@pytest.mark.parametrize("line", ["{", "3", "", "null"])
def test_a_whole_line_that_is_no_record_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(UserError, match="line 2"):
        read_metrics(path)


def test_the_length_of_a_shortened_record_is_what_is_left(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.write(RECORDS[0])
        kept = log.synchronise()
        log.write(RECORDS[1])
    with MetricsLog(tmp_path, recorded_bytes=kept) as log:
        assert log.synchronise() == kept == (tmp_path / "metrics.jsonl").stat().st_size
