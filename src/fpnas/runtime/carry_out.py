"""What a search and a training do alike around their steps: the directory, the keeper, and who of several processes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from fpnas.distribution import Distribution
from fpnas.runtime.callbacks import Callback, Watchers
from fpnas.runtime.checkpoint import Checkpoints
from fpnas.runtime.keeper import RunKeeper, check_identity
from fpnas.runtime.processes import Processes
from fpnas.runtime.run_directory import MAY_CHANGE, RunDirectory, goes_on

__all__ = ["RunFiles", "carry_out", "check_output", "defaults_of"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class RunFiles(Generic[Result]):
    """What a run does with its directory; all of it is the first process's business.

    Attributes:
        output: the directory.
        kind: `search` or `train`.
        config: the effective configuration.
        defaults: of its fields.
        resume: whether a run that is there is to go on.
        prepare: writes what is known before the first step.
        write: writes the result.
        read: gives what `write` wrote.
    """

    output: Path
    kind: str
    config: Mapping[str, Any]
    defaults: Mapping[str, Any]
    resume: bool
    prepare: Callable[[RunDirectory], None]
    write: Callable[[RunDirectory, Result], None]
    read: Callable[[RunDirectory], Result]


def defaults_of(configuration: type[Any]) -> dict[str, Any]:
    """Fields of a dataclass that have a default, and it."""
    return {field.name: field.default for field in fields(configuration) if field.default is not MISSING}


def check_output(processes: Processes, output: Path, kind: str, *, resume: bool) -> None:
    """`RunDirectory.check_free`, before slow work. Raises UserError."""
    accepted = kind if goes_on(output, resume) else None
    processes.from_first(lambda: RunDirectory.check_free(output, resume=accepted))


def carry_out(
    work: Callable[[RunKeeper], Result],
    files: RunFiles[Result] | None,
    *,
    processes: Processes,
    identity: Mapping[str, str],
    total_steps: int,
    checkpoint_minutes: float,
    callbacks: Sequence[Callback] = (),
    distribution: Callable[[], Distribution | None] = lambda: None,
    figures: Callable[[Result], Mapping[str, Any]] = lambda result: {},
) -> Result:
    """Do a run, or what is left of it; of one that is finished, the result is read, and nothing is shown.

    Args:
        work: all steps that are left, and the result; in every process.
        files: what is written; None for a run that leaves nothing.
        processes: of the run.
        identity, total_steps, checkpoint_minutes: as `RunKeeper` takes them.
        callbacks: are shown the run by the first process, with what `distribution` gives; at the end, the `figures` of
            the result.

    Raises:
        UserError: the directory is not free, or the run in it cannot go on; the processes were given different work.
    """
    processes.check_same_work(identity)
    run: RunDirectory | None = None

    def begin() -> Result | None:
        nonlocal run
        if files is None:
            return None
        may_change = MAY_CHANGE if goes_on(files.output, files.resume) else None
        run = at_work.enter_context(
            RunDirectory.create(files.output, files.kind, files.config, resume=may_change, defaults=files.defaults)
        )
        if not (run.goes_on and run.result_path.exists()):
            return None
        if (last := next(Checkpoints(run.checkpoints, run.kind).whole([]), None)) is not None:
            check_identity(run, last, identity)
        return files.read(run)

    with ExitStack() as at_work:
        finished = processes.from_first(begin)
        if finished is not None:
            return finished
        keeper = RunKeeper(
            run,
            total_steps=total_steps,
            identity=identity,
            checkpoint_minutes=checkpoint_minutes,
            processes=processes,
            watchers=Watchers(callbacks, total_steps, run.path if run else None, distribution),
        )
        with keeper:
            # Only now: what is in the directory of a run that was refused is its record.
            processes.from_first(lambda: files.prepare(run) if files is not None and run is not None else None)
            result = work(keeper)
            if run is not None and files is not None:
                files.write(run, result)
            keeper.show_end(figures(result))
            processes.wait()
        return result
