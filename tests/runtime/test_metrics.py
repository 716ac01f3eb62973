"""The record of a run: append-only, whole lines, the same figures as curves."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fpnas.errors import UserError
from fpnas.runtime.metrics import MetricsLog, read_metrics

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
