"""SIGTERM and Ctrl-C as requests, so that a run can write a checkpoint before it leaves."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from fpnas.errors import TERMINATED

__all__ = ["PATIENCE_SECONDS", "Interruption"]

PATIENCE_SECONDS = 7.0
"""Schedulers kill what has not left some 10 s after SIGTERM; a step that takes longer is not waited for."""

_REPEAT_SECONDS = 1.0
"""A scheduler and a launcher may both hand on one signal; only later is it a second one."""


class Interruption:
    """While entered, SIGTERM and SIGINT are noted; the run asks between its steps, and leaves by `leave`.

    Where a step takes too long after SIGTERM, and at a second signal, what the signal stands for is raised wherever the
    program is: SystemExit(143) or KeyboardInterrupt. No checkpoint of that step is written then. Outside the main
    thread nothing is caught.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._at_once = False
        self._noted = 0.0
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether there was a signal."""
        return self._number is not None

    def leave(self) -> None:
        """Raise what the noted signal stands for."""
        # Without a signal of its own a process leaves because another one was told to.
        raise KeyboardInterrupt if self._number == signal.SIGINT else SystemExit(TERMINATED)

    def be_patient(self) -> None:
        """From now on wait however long it takes to leave: a checkpoint is being written."""
        self._clear_timer()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it a signal is not noted but raised: for long work that changes nothing."""
        if self.requested:
            self.leave()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # Shells have background jobs ignore Ctrl-C, and that is to stay so.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear_timer()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested and time.monotonic() - self._noted < _REPEAT_SECONDS:
            return
        again = self.requested
        self._number, self._noted = number, time.monotonic()
        if again or self._at_once:
            self.leave()
        if number == signal.SIGTERM:  # who pressed Ctrl-C can do so again
            # Not before: a program that searches may have an alarm of its own.
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._out_of_patience)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)

    def _clear_timer(self) -> None:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _out_of_patience(self, number: int, frame: FrameType | None) -> None:
        self.leave()
