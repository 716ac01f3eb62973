"""What a report reads of a run: its record, its configuration, and the files that are there so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.files import printable, read_json
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.quantities import parse_quantity
from fpnas.runtime.metrics import read_metrics
from fpnas.runtime.run_directory import RunDirectory
from fpnas.search_result import MAY_BE_UNKNOWN
from fpnas.space import SearchSpace
from fpnas.space_file import load_space

__all__ = ["ReportedRun", "read_run", "read_runs"]

_EVERY_STEP = ("step", "samples", "loss")
_EVERY_EPOCH = {
    "search": ("step", "epoch", "seconds", "entropy_nats", "samples_so_far", "expected_macs", "mode_macs", "mode_top1"),
    "train": ("step", "epoch", "seconds", "learning_rate", "loss"),
}
_RESULT = {
    "search": ("macs", "entropy_nats", "samples", "seconds"),
    "train": ("macs", "params", "top1", "top5", "seconds"),
}


@dataclass(frozen=True)
class ReportedRun:
    """A run, finished or under way.

    Attributes:
        name: of its folder, told apart from others of the same name by the folders above it.
        directory: its files.
        steps: records of single steps; none in a training.
        epochs: records of epochs.
        result: figures at the end; None while the run is under way.
        network: found by a search, or trained; None where there is none yet.
        space: that a search searches.
    """

    name: str
    directory: RunDirectory
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    result: dict[str, Any] | None
    network: NetworkSpec | None
    space: SearchSpace | None

    @property
    def kind(self) -> str:
        """`search` or `train`."""
        return self.directory.kind

    @property
    def held_out(self) -> bool:
        """Whether a training is judged by training images that it held out, in place of test images."""
        return bool(self.config.get("hold_out"))

    @property
    def judged_by(self) -> str:
        """What a training's accuracy is of."""
        return "held-out training images" if self.held_out else "test images"

    @property
    def target_macs(self) -> int | None:
        """The budget of a search."""
        target = self.config.get("target_macs")
        return None if target is None else parse_quantity(str(target), "target_macs")

    @property
    def own_cost(self) -> tuple[str, int] | None:
        """Name and budget of a search whose cost is not multiply-adds."""
        config = self.config
        return (str(config["cost"]), int(config["target"])) if "cost" in config else None

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration."""
        return self.directory.config

    @property
    def under_way(self) -> str:
        """How far a run is that is under way, or was interrupted; empty for one that has ended."""
        if self.result is not None:
            return ""
        of = f" of {epochs:.0f}" if (epochs := self.setting("epochs")) else ""
        return f"{self.epochs[-1]['epoch']}{of} epochs done" if self.epochs else "no epoch done yet"

    def setting(self, name: str) -> float | None:
        """A number of the configuration; None where there is none."""
        value = self.config.get(name)
        return value if _is_finite(value) else None


def read_run(path: Path, name: str | None = None) -> ReportedRun:
    """A run as it is now.

    Raises:
        UserError: not a run, or a file of it is broken.
    """
    run = RunDirectory.open(path)
    records = read_metrics(run.metrics_path) if run.metrics_path.is_file() else []
    space = load_space(run.space_path) if run.kind == "search" and run.space_path.is_file() else None
    for number, record in enumerate(records, 1):
        problem = _problem(record, _EVERY_EPOCH[run.kind] if "epoch" in record else _EVERY_STEP)
        if not problem and space is not None and "probabilities" in record:
            problem = _problem_of_probabilities(record["probabilities"], space)
        if problem:
            raise UserError(f"metrics file {run.metrics_path}: line {number}: {problem}")
    result = read_json(run.result_path, "result") if run.result_path.is_file() else None
    if result is not None:
        known = [name for name in MAY_BE_UNKNOWN if result.get(name) is not None]
        if problem := _problem(result, [*_RESULT[run.kind], *known]):
            raise UserError(f"result {run.result_path}: {problem}")
    return ReportedRun(
        name=printable(name or path.resolve().name),
        directory=run,
        steps=[record for record in records if "epoch" not in record],
        epochs=[record for record in records if "epoch" in record],
        result=result,
        network=load_network(run.network_path) if run.network_path.is_file() else None,
        space=space,
    )


def read_runs(paths: Sequence[Path]) -> list[ReportedRun]:
    """Runs under names of their own. Raises UserError, for a path that is given twice too."""
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise UserError(f"run {path}: is given twice")
    depth = 1
    while len({path.parts[-depth:] for path in resolved}) < len(resolved):
        depth += 1
    return [read_run(path, "/".join(full.parts[-depth:])) for path, full in zip(paths, resolved, strict=True)]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_finite(value: Any) -> TypeGuard[float]:
    return _is_number(value) and math.isfinite(value)


def _problem(record: dict[str, Any], names: Sequence[str]) -> str:
    """What is wrong: a named field that is no number, another one that is text. What is not finite becomes None."""
    for name in names:
        if not _is_number(record.get(name)) or (name in ("step", "epoch") and type(record[name]) is not int):
            found = f"{name} = {shown(record[name])}" if name in record else f"{name} is missing"
            return f"{found}: a number is expected"
    for name, value in record.items():
        if type(value) is float and not math.isfinite(value):
            record[name] = None
        elif type(value) is str:
            return f"{name} = {shown(value)}: a number is expected"
    return ""


def _problem_of_probabilities(found: Any, space: SearchSpace) -> str:
    """What is wrong unless there is a number for every value of every choice of every group."""
    try:
        sizes = tuple(tuple(len(choice) for choice in group) for group in found)
        numbers = all(_is_finite(value) for group in found for choice in group for value in choice)
    except TypeError:
        sizes, numbers = (), False
    if sizes != space.cardinalities or not numbers:
        return f"probabilities: those of the choices of space {space.name} are expected"
    return ""
