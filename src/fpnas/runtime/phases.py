"""Where the time of a run goes."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["PhaseClock"]

Result = TypeVar("Result")


class PhaseClock:
    """Seconds by phase, on the clock of the process that waits; a device may still be at work when a phase ends.

    Args:
        phases: their names.
    """

    def __init__(self, *phases: str) -> None:
        self._seconds = dict.fromkeys(phases, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Around what belongs to a phase."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begin

    def timed(self, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
        """The function, every call of which belongs to a phase."""

        def call(*arguments: Any, **options: Any) -> Result:
            with self.phase(name):
                return function(*arguments, **options)

        return call

    def state_dict(self) -> dict[str, float]:
        """Seconds by phase since they were last taken."""
        return dict(self._seconds)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Count on from `state_dict`."""
        self._seconds = dict(state)

    def taken(self) -> dict[str, float]:
        """Seconds since the last call, as fields of a record: `seconds_` and the phase."""
        fields = {f"seconds_{name}": round(seconds, 4) for name, seconds in self._seconds.items()}
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        return fields
