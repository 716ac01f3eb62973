"""When a checkpoint is written, and what a run that goes on is refused for before it does."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpnas.errors import UserError
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.run_directory import RunDirectory


@contextmanager
def keeper(path: Path, total_steps: int) -> Iterator[RunKeeper]:
    with (
        RunDirectory.create(path, "train", {}, resume=()) as run,
        RunKeeper(run, total_steps=total_steps, identity={}, checkpoint_minutes=math.inf) as kept,
    ):
        yield kept


def test_a_run_that_is_further_on_than_it_is_to_come_is_refused(tmp_path: Path) -> None:
    with keeper(tmp_path, 5) as begun:
        begun.step_done(3, dict, epoch_ended=True)
    with keeper(tmp_path, 3) as whole:
        assert whole.first_step == 3 and list(whole.steps_left()) == []
    with pytest.raises(UserError) as error, keeper(tmp_path, 2):
        pass
    assert str(error.value) == f"--epochs: 2 steps in all, but {tmp_path} is at step 3; at least as many are accepted"


def test_a_step_too_long_for_a_signal_to_wait_leaves_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("fpnas.runtime.keeper.time", SimpleNamespace(monotonic=lambda: now))

    def passes(seconds: float) -> dict[str, object]:
        nonlocal now
        now += seconds
        return {}

    with keeper(tmp_path, 9) as kept:

        def left_by_step_of(seconds: float) -> int:
            passes(seconds)
            kept.step_done(kept.steps_done + 1, lambda: passes(0.5))
            return len(list((tmp_path / "checkpoints").glob("step-*")))

        assert [left_by_step_of(seconds) for seconds in (1.0, 3.0, 4.0)] == [0, 0, 1]
        # One that takes half a second is not for steps of less than five.
        assert [left_by_step_of(seconds) for seconds in (4.0, 6.0)] == [1, 2]
