"""What a run that goes on is refused for before it does."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
