"""The record of a run: one JSON object per line, appended, and the same figures as TensorBoard curves."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fpnas.errors import UserError
from fpnas.files import read_text
from fpnas.runtime.run_directory import METRICS_FILE
from fpnas.space import SearchSpace

__all__ = ["EVENT_FILES", "MetricsLog", "probability_curves", "read_metrics"]

EVENT_FILES = "events.out.tfevents.*"
"""Pattern of the files of curves in a run's directory."""


class MetricsLog:
    """Appends records to `metrics.jsonl` of a run, the source of every report.

    Durations go into fields whose names start with `seconds`: all others are equal in two runs of one seed.

    Args:
        run_path: the run's directory.
        recorded_bytes: of the record that hold, all when left out; what a run that goes on finds after them is dropped.
        first_step: where it goes on.
    """

    def __init__(
        self, run_path: str | os.PathLike[str], *, recorded_bytes: int | None = None, first_step: int = 0
    ) -> None:
        # Importing TensorBoard takes a second; commands that write no record should not wait for it.
        from torch.utils.tensorboard import SummaryWriter

        self._path = path = Path(run_path) / METRICS_FILE
        self._file = path.open("ab")
        # Whole lines alone: one that was cut must not swallow the next.
        self._file.truncate(path.read_bytes()[:recorded_bytes].rfind(b"\n") + 1)
        self._file.seek(0, os.SEEK_END)  # truncating leaves the position, and with it what `tell` says, where it was
        self._curves = SummaryWriter(str(run_path), purge_step=first_step or None)

    def write(self, record: Mapping[str, Any], curves: Mapping[str, float] | None = None) -> None:
        """Append one record; numbers in it also become points at `record["step"]` of a TensorBoard curve.

        Args:
            record: `step` and whatever else.
            curves: what the record holds in a nested form, by the names of its curves.

        Raises:
            UserError: the file cannot be written, a full disk included.
        """
        try:
            self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            step = record["step"]
            for name, value in (*record.items(), *(curves or {}).items()):
                if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                    self._curves.add_scalar(name, value, step)
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from None

    def synchronise(self) -> int:
        """Have all that was written reach the disk; gives the length of the record, bytes.

        Raises:
            UserError: it does not reach it, a full quota included.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from None
        return self._file.tell()

    def close(self) -> None:
        """Finish both files; what cannot be written any more was said by `write`."""
        for file in (self._file, self._curves):
            with contextlib.suppress(OSError):
                file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def probability_curves(space: SearchSpace, probabilities: Sequence[Sequence[Sequence[float]]]) -> dict[str, float]:
    """Names of curves, a section of TensorBoard per group, for the probability of every value that can be chosen.

    Args:
        space: that is searched.
        probabilities: by group, choice and value.
    """
    return {
        f"probability_group_{group.name}/{choice.name}_{value}": probability
        for group, of_group in zip(space.groups, probabilities, strict=True)
        for choice, of_choice in zip(group.choices, of_group, strict=True)
        for value, probability in zip(choice.values, of_choice, strict=True)
        if len(choice.values) > 1
    }


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, in order.

    A last line without its end is what an interrupted write leaves; it is not a record and is left out.

    Raises:
        UserError: unreadable, or a whole line that is not a JSON object.
    """
    records = []
    lines = read_text(path, "metrics file").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise UserError(f"metrics file {path}: line {number}: a JSON object is expected")
        records.append(record)
    return records
