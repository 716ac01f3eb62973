"""The few figures by which a run is known, at the head of its part of the page and as columns of a table of runs."""

from dataclasses import dataclass
from typing import Any

from fpnas.report.runs import ReportedRun

__all__ = ["Figure", "figures"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: with its unit.
        text: as it is shown.
        value: what a table is sorted by; None sorts by the text.
    """

    name: str
    text: str
    value: float | None = None


def figures(run: ReportedRun) -> list[Figure]:
    """Those that are there so far."""
    known: dict[str, Any] = {}
    for record in run.epochs:  # not every one has an accuracy
        known |= record
    known |= run.result or {}
    if run.result and "samples" in run.result:  # those of an epoch that was not ended, too
        known["samples_so_far"] = run.result["samples"]
    found = []
    for name, field, form in _SEARCH if run.kind == "search" else _TRAINING:
        value = known.get(field)
        if value is not None:
            value = 100 * value if field == "budget_share" else value
            name = "held-out accuracy, %" if field == "test_top1" and run.held_out else name
            found.append(Figure(name, format(value, form), value))
    return found


# Name, field of the result or of the last epoch's record that has it, and the form it is shown in.
_SEARCH = (
    ("multiply-adds", "macs", ",.0f"),
    ("of the target, %", "budget_share", ".1f"),
    ("accuracy with shared weights, %", "supernet_top1", ".2f"),
    ("entropy, nats", "entropy_nats", ".2f"),
    ("architectures drawn", "samples_so_far", ",.0f"),
    ("time, s", "seconds", ",.0f"),
)
_TRAINING = (
    ("multiply-adds", "macs", ",.0f"),
    ("parameters", "params", ",.0f"),
    ("test accuracy, %", "test_top1", ".2f"),
    ("top-5, %", "test_top5", ".2f"),
    ("loss, nats", "loss", ".3f"),
    ("time, s", "seconds", ",.0f"),
)
