"""A signal while a step takes long."""

import os
import signal
import time

import pytest

from fpnas.runtime import interruption
from fpnas.runtime.interruption import Interruption


def test_ctrl_c_waits_for_the_step_and_sigterm_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.05)
    with Interruption() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        assert asked.requested
    with pytest.raises(SystemExit) as left, Interruption():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert left.value.code == 143
