"""Where the time goes, on a clock that is set by hand."""

import time

import pytest

from fpnas.runtime.phases import PhaseClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the clock shows, in its only place."""
    shown = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: shown[0])
    return shown


def test_seconds_are_those_of_their_phase_since_they_were_taken(now: list[float]) -> None:
    clock = PhaseClock("judging", "training")

    def work(seconds: float) -> float:
        now[0] += seconds
        return 2 * seconds

    now[0] += 7
    with clock.phase("judging"):
        now[0] += 1.5
    timed = clock.timed("training", work)
    assert [timed(2.0), timed(seconds=0.25)] == [4.0, 0.5]
    with clock.phase("judging"):
        now[0] += 0.5
    assert clock.taken() == {"seconds_judging": 2.0, "seconds_training": 2.25}
    assert clock.taken() == {"seconds_judging": 0.0, "seconds_training": 0.0}


def test_a_phase_that_fails_has_taken_its_time(now: list[float]) -> None:
    clock = PhaseClock("judging")
    with pytest.raises(KeyError), clock.phase("judging"):
        now[0] += 3
        raise KeyError
    assert clock.taken() == {"seconds_judging": 3.0}
    with pytest.raises(KeyError), clock.phase("another"):
        pass
