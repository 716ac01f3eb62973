"""A run under way: its record, its checkpoints, and how it leaves and goes on."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from fpnas.errors import ProcessLost, UserError, tell
from fpnas.runtime.callbacks import Watchers
from fpnas.runtime.checkpoint import Checkpoint, Checkpoints
from fpnas.runtime.interruption import PATIENCE_SECONDS, Interruption
from fpnas.runtime.memory import return_free_memory
from fpnas.runtime.metrics import MetricsLog
from fpnas.runtime.processes import Processes
from fpnas.runtime.run_directory import RunDirectory

__all__ = ["RunKeeper", "check_identity"]

State = Callable[[], Mapping[str, Any]]


def check_identity(run: RunDirectory, checkpoint: Checkpoint, identity: Mapping[str, str]) -> None:
    """Raises UserError where a run, by its checkpoint, began with something else than is given now."""
    known = checkpoint.state["keeper"]["identity"]
    for option, digest in identity.items():
        if known.get(option, digest) != digest:
            raise UserError(f"{option}: not what {run.path} began with; without --resume a new run is made")


class RunKeeper:
    """Writes what a run records, and checkpoints from which it goes on bitwise; without a directory it does nothing.

    A checkpoint holds how long the record was when it was written. What a killed run recorded after it is done, and
    recorded, again.

    Args:
        run: the run's directory; None for a run that leaves no files.
        total_steps: of the run.
        identity: what the run works on, by the name of the option that says so; a run that goes on must find the same
            where it was known before.
        checkpoint_minutes: time between checkpoints within an epoch.
        processes: of the run. The first has the directory, and the others go on from what it reads.
        watchers: are shown what is recorded, by the first process.

    Attributes:
        first_step: steps that were done before.
        steps_done: as things stand.
        state: of the run at its first step; None at its beginning.
        stopped: whether a watcher has ended the run.

    Raises:
        UserError: no checkpoint is whole, or the run began with another identity.
    """

    def __init__(
        self,
        run: RunDirectory | None,
        *,
        total_steps: int,
        identity: Mapping[str, str],
        checkpoint_minutes: float,
        processes: Processes | None = None,
        watchers: Watchers | None = None,
    ) -> None:
        self._run = run
        self._total_steps = total_steps
        self._processes = processes or Processes()
        self._watchers = watchers if self._processes.is_first else None
        self._recorded: list[Mapping[str, Any]] = []
        self.first_step = 0
        self.state: dict[str, Any] | None = None
        self.stopped = False
        self._identity = dict(identity)
        self._interval_seconds = 60 * checkpoint_minutes
        self._interruption = Interruption()
        self._started = self._last_checkpoint = self._step_began = time.monotonic()
        self._checkpoint_seconds = 0.0
        self._seconds_before = 0.0
        self._checkpoints: Checkpoints | None = None
        self._last_path: Path | None = None
        self._log: MetricsLog | None = None
        if run is not None:
            self._checkpoints = Checkpoints(run.checkpoints, run.kind)
            self._checkpoints.clear_unfinished()
        checkpoint = self._processes.from_first(self._found)
        recorded_bytes = 0
        if checkpoint is not None:
            self.first_step = checkpoint.step
            self.state = checkpoint.state
            kept = checkpoint.state["keeper"]
            self.stopped = bool(kept.get("stopped", False))
            self._seconds_before = float(kept["seconds"])
            recorded_bytes = int(kept["recorded_bytes"])
        self.steps_done = self.first_step
        if run is not None:
            self._log = MetricsLog(run.path, recorded_bytes=recorded_bytes, first_step=self.first_step)

    def _found(self) -> Checkpoint | None:
        """The checkpoint that the run goes on from."""
        run = self._run
        checkpoint = self._newest(run) if run and run.goes_on else None
        if run is None or checkpoint is None:
            return None
        # First: fewer images have fewer steps, too, and are what is to blame.
        check_identity(run, checkpoint, self._identity)
        if checkpoint.step > self._total_steps:
            raise UserError(
                f"--epochs: {self._total_steps} steps in all, but {run.path} is at step {checkpoint.step}; "
                "at least as many are accepted"
            )
        tell(f"fpnas: {run.path} goes on at step {checkpoint.step} of {self._total_steps}")
        return checkpoint

    def _newest(self, run: RunDirectory) -> Checkpoint | None:
        """The newest whole checkpoint whose record is whole, too, and of others say why they are not taken."""
        assert self._checkpoints is not None
        recorded_bytes = run.metrics_path.stat().st_size if run.metrics_path.exists() else 0
        skipped: list[str] = []
        newest = taken = None
        for checkpoint in self._checkpoints.whole(skipped):
            newest = newest or checkpoint
            if checkpoint.state["keeper"]["recorded_bytes"] <= recorded_bytes:
                taken = checkpoint
                break
            skipped.append(f"of step {checkpoint.step}: {run.metrics_path.name} ends before it")
        if newest is None and skipped:
            raise UserError(f"run {run.path}: no checkpoint is whole; a new --output is needed ({'; '.join(skipped)})")
        for reason in skipped:
            tell(f"fpnas: checkpoint skipped: {reason}")
        if taken is None and newest is not None:
            tell(f"fpnas: {run.metrics_path}: records before step {newest.step} are lost")
            return newest
        if taken is None:
            tell(f"fpnas: {run.path} has no checkpoint yet and begins again")
        return taken

    @property
    def seconds(self) -> float:
        """Wall time of the run, its earlier parts included."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def way_back(self) -> str:
        """What to do where a run cannot go on: the checkpoint that is whole, and a hint."""
        newest = f"{self._last_path} is the last checkpoint; " if self._last_path else ""
        return f"{newest}a new run with a lower --learning-rate may help"

    def steps_left(self) -> Iterator[int]:
        """The steps to do, by their numbers; no more once a watcher has ended the run."""
        for step in range(self.first_step, self._total_steps):
            if self.stopped:
                return
            yield step

    def record(self, figures: Mapping[str, Any], curves: Mapping[str, float] | None = None) -> None:
        """Add a line to the record, as `MetricsLog.write` does, to be shown to the watchers when the step is done."""
        if self._log:
            self._log.write(figures, curves)
        if self._watchers:
            self._recorded.append(figures)

    def step_done(self, step: int, state: State, *, epoch_ended: bool = False, score: float | None = None) -> None:
        """After a step: show what was recorded, write a checkpoint where one is due, and leave if that was asked for.

        Args:
            step: steps that are done.
            state: gives what the run needs to go on from here; its tensors are not copied.
            epoch_ended: whether the step was an epoch's last.
            score: as `Checkpoints.save`.

        Raises:
            SystemExit, KeyboardInterrupt: SIGTERM or SIGINT came; the checkpoint is written.
        """
        self.steps_done = step
        self._show_recorded(state)
        # Processes that are told at different times, or whose clocks differ, still do the same.
        now = time.monotonic()
        # A signal does not wait for the end of a long step. Where steps are long, each has its checkpoint, if that is
        # quick beside it.
        long = now - self._step_began >= max(PATIENCE_SECONDS / 2, 10 * self._checkpoint_seconds)
        due = long or now - self._last_checkpoint >= self._interval_seconds
        leaving, due, self.stopped = self._processes.any(self._interruption.requested, due, self.stopped)
        if epoch_ended or leaving or due or self.stopped:
            self._save(step, state, score)
        self._step_began = time.monotonic()
        if epoch_ended:
            return_free_memory()
        if leaving:
            # torchrun takes the end of one process for a reason to end the others, who may be writing still.
            self._processes.wait()
            self._interruption.leave()

    def show_end(self, figures: Mapping[str, Any]) -> None:
        """Show the figures of the result to the watchers."""
        if self._watchers:
            self._watchers.show("end", self.steps_done, figures)

    def _show_recorded(self, state: State) -> None:
        recorded, self._recorded = self._recorded, []
        try:
            for figures in recorded:
                assert self._watchers is not None
                kind = "epoch" if "epoch" in figures else "step"
                self.stopped |= self._watchers.show(kind, self.steps_done, figures)
        except BaseException:  # a mistake in a callback, or a signal that did not wait for it: no step is lost
            self._save(self.steps_done, state, None)
            raise

    @contextmanager
    def interruptible(self, step: int, state: State) -> Iterator[None]:
        """Around long work after a step that changes nothing: a signal ends it at once, with a checkpoint.

        So does the end of another process, who may have been told earlier.
        """
        self.steps_done = step
        self._show_recorded(state)  # a run that goes on does not show it again
        try:
            with self._interruption.at_once():
                yield
        except (SystemExit, KeyboardInterrupt, ProcessLost):
            self._save(step, state, None)
            raise

    def _save(self, step: int, state: State, score: float | None) -> None:
        if self._checkpoints and self._log:
            self._interruption.be_patient()
            kept = {
                "identity": self._identity,
                "recorded_bytes": self._log.synchronise(),
                "seconds": self.seconds,
                "stopped": self.stopped,
            }
            began = time.monotonic()
            self._last_path = self._checkpoints.save(step, {**state(), "keeper": kept}, score)
            self._checkpoint_seconds = time.monotonic() - began
        self._last_checkpoint = time.monotonic()

    def __enter__(self) -> "RunKeeper":
        self._interruption.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interruption.__exit__(kind, error, trace)
        if self._log:
            self._log.close()
