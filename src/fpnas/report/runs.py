"""What a report reads of a run: its record, its configuration, and the files that are there so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.quantities import parse_quantity
from fpnas.runtime.metrics import read_metrics
from fpnas.runtime.run_directory import RunDirectory
from fpnas.space import SearchSpace
from fpnas.space_file import load_space

__all__ = ["ReportedRun", "read_run", "read_runs", "thinned"]


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
    def target_macs(self) -> int | None:
        """The budget of a search."""
        target = self.config.get("target_macs")
        return None if target is None else parse_quantity(str(target), "target_macs")

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration."""
        return self.directory.config


def read_run(path: Path, name: str | None = None) -> ReportedRun:
    """A run as it is now.

    Raises:
        UserError: not a run, or a file of it is broken.
    """
    run = RunDirectory.open(path)
    records = read_metrics(run.metrics_path) if run.metrics_path.is_file() else []
    return ReportedRun(
        name=name or path.resolve().name,
        directory=run,
        steps=[record for record in records if "epoch" not in record],
        epochs=[record for record in records if "epoch" in record],
        result=read_json(run.result_path, "result") if run.result_path.is_file() else None,
        network=load_network(run.network_path) if run.network_path.is_file() else None,
        space=load_space(run.space_path) if run.kind == "search" and run.space_path.is_file() else None,
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


def thinned(records: Sequence[Any], most: int = 400) -> list[Any]:
    """Evenly spaced ones of many, first and last among them: no screen shows more."""
    if len(records) <= most:
        return list(records)
    return [records[round(index * (len(records) - 1) / (most - 1))] for index in range(most)]
