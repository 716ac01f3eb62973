"""How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column

from fpnas.errors import tell

__all__ = ["Progress"]

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows steps, time left and figures; standard output stays free for results.

    Args:
        total_steps: of the run.
        quiet: show nothing.
        first_step: steps done before, when a run goes on.
    """

    def __init__(self, total_steps: int, quiet: bool = False, first_step: int = 0) -> None:
        self._total = total_steps
        self._first = first_step
        self._quiet = quiet
        self._figures: dict[str, float] = {}
        self._bar: Bar | None = None
        self._started = self._last_line = time.monotonic()
        console = Console(stderr=True)
        # Rich takes a file for a terminal where FORCE_COLOR asks for colours; a bar would fill it.
        if not quiet and sys.stderr.isatty() and console.is_interactive:
            columns = (
                BarColumn(),
                # Where it is narrow the bar gives way, not the numbers.
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                TimeRemainingColumn(table_column=Column(no_wrap=True)),
                TextColumn("left"),
                TextColumn("{task.fields[figures]}", markup=False),
            )
            # Redirecting would send what is printed for --json through the bar's console.
            self._bar = Bar(*columns, console=console, redirect_stdout=False)
            self._task = self._bar.add_task("", total=total_steps, completed=first_step, figures="")

    def __enter__(self) -> "Progress":
        self._started = self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, **figures: float) -> None:
        """Say that `step` steps are done; figures stay shown until new ones of their name come."""
        if self._quiet:
            return
        self._figures |= figures
        text = "  ".join(f"{name} {_number(value)}" for name, value in self._figures.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, figures=text)
            return
        now = time.monotonic()
        if not (figures or step == self._total or now - self._last_line >= _SECONDS_BETWEEN_LINES):
            return
        # Figures come once an epoch; short epochs must not fill a log file.
        if now - self._last_line < 1.0 and step != self._total:
            return
        self._last_line = now
        left = (now - self._started) / max(1, step - self._first) * (self._total - step)
        tell(f"step {step}/{self._total}  {_clock(left)} left  {text}".rstrip())


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _clock(seconds: float) -> str:
    minutes, seconds_left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds_left:02}"
