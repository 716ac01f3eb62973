"""What a search and a training do alike around each of their steps."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.progress import Progress

__all__ = ["Stepwise", "run_steps"]

Result = TypeVar("Result")


class Stepwise(Protocol):
    """What is done in steps and measured after every epoch of them."""

    @property
    def total_steps(self) -> int:
        """Of the whole."""
        ...

    @property
    def steps_per_epoch(self) -> int | None:
        """None where there are no epochs."""
        ...

    @property
    def epochs_recorded(self) -> int:
        """Epochs that were measured."""
        ...

    def step(self, step: int) -> Mapping[str, float]:
        """Do a step; its figures for the record, if any. Raises FloatingPointError when the loss is not finite."""
        ...

    def end_epoch(self, step: int, keeper: RunKeeper, progress: Progress) -> None:
        """Measure and record the epoch that ends with a step, and tell both that the step is done."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """All that changes from step to step. May raise FloatingPointError, as `step`."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        ...


def run_steps(loop: Stepwise, keeper: RunKeeper, conclude: Callable[[], Result], *, quiet: bool) -> Result:
    """Every step that is left, then the result.

    Args:
        loop: has the steps.
        keeper: of the run.
        conclude: makes the result, after the last step; it changes nothing that a checkpoint holds.
        quiet: no progress on standard error.

    Raises:
        FloatingPointError: the loss is not finite; the step is named, and the way back.
    """
    if keeper.state is not None:
        loop.load_state_dict(keeper.state)
    epoch, first = loop.steps_per_epoch, keeper.first_step
    with Progress(loop.total_steps, quiet=quiet, first_step=first) as progress:
        if epoch and first // epoch > loop.epochs_recorded:  # stopped while it measured an epoch's end
            loop.end_epoch(first - 1, keeper, progress)
        for step in keeper.steps_left():
            try:
                figures = loop.step(step)
                if figures:
                    keeper.record({"step": step, **figures})
                if epoch and (step + 1) % epoch == 0:
                    loop.end_epoch(step, keeper, progress)
                else:
                    progress.update(step + 1)
                    keeper.step_done(step + 1, loop.state_dict)
            except FloatingPointError as error:
                raise FloatingPointError(f"step {step}: {error}; {keeper.way_back}") from None
        with keeper.interruptible(keeper.steps_done, loop.state_dict):
            return conclude()
