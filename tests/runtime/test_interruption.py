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


def test_an_alarm_of_the_program_s_own_is_its_own() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with Interruption() as asked:
            asked.be_patient()
            time.sleep(0.3)
        assert heard == [signal.SIGALRM] and not asked.requested
        signal.setitimer(signal.ITIMER_REAL, 1000)
        with Interruption():
            pass
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
