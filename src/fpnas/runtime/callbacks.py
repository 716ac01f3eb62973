"""What others are shown of a run under way, and how they end it early."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fpnas.checks import shown
from fpnas.distribution import Distribution
from fpnas.errors import UserError

__all__ = ["Callback", "Moment", "Watchers", "check_callbacks"]


@dataclass(frozen=True)
class Moment:
    """A run at one moment. Nothing in it is the run's own: whatever is done to it, the run stays the same to the bit.

    Attributes:
        kind: `step` after a step of a search, `epoch` after an epoch (and after the step that was its last), `end` once
            the result is there and written. A training has no `step`: reading its loss would make its device wait.
        step: steps that are done.
        total_steps: of the run, if nothing ends it early.
        figures: what the record holds of this step or epoch; at the end, those of the result.
        distribution: over architectures, a copy; None in a training.
        run: the run's directory; None where nothing is written.
    """

    kind: str
    step: int
    total_steps: int
    figures: Mapping[str, Any]
    distribution: Distribution | None = None
    run: Path | None = None


Callback = Callable[[Moment], bool | None]
"""Is called with every moment of a run; `True` ends the run after this step.

Such a run is finished, as if it had been planned that long: its network is derived, its files are written, and
`resume` gives its result. Of several processes the first alone calls. What a callback raises ends the run after a
checkpoint, and `resume` goes on behind that step. A run that was killed shows again what followed its last checkpoint.
"""


class Watchers:
    """The callbacks of one run.

    Args:
        callbacks: in the order in which they are called.
        total_steps: of the run.
        run: its directory, if there is one.
        distribution: gives what the run learns, if it learns one.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback],
        total_steps: int,
        run: Path | None,
        distribution: Callable[[], Distribution | None],
    ) -> None:
        self._callbacks = callbacks
        self._total_steps = total_steps
        self._run = run
        self._distribution = distribution

    def show(self, kind: str, step: int, figures: Mapping[str, Any]) -> bool:
        """Call all of them; whether one wants the run to end."""
        if not self._callbacks:
            return False
        distribution = self._distribution()
        moment = Moment(
            kind,
            step,
            self._total_steps,
            MappingProxyType(dict(figures)),
            None if distribution is None else distribution.copy(),
            self._run,
        )
        wishes = [callback(moment) for callback in self._callbacks]
        return any(map(_is_true, wishes))


def _is_true(wish: object) -> bool:
    """Whether it is `True`, that of NumPy and PyTorch included; whatever else a callback returns is no wish."""
    kind = str(getattr(wish, "dtype", type(wish).__name__)).removeprefix("torch.")
    return kind == "bool" and bool(wish)


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raises UserError when something else than a sequence of functions is given."""
    if not isinstance(callbacks, Sequence) or not all(callable(callback) for callback in callbacks):
        raise UserError(f"callbacks = {shown(callbacks)}: a list of functions of a Moment is accepted")
