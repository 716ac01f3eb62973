"""Judges architectures by any function of theirs."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fpnas.errors import UserError
from fpnas.gates import Gates
from fpnas.strategies import Judgement

__all__ = ["ObjectiveEvaluator", "fitted_scale"]

SPREAD_NATS = 0.3
"""Deviation of the cross-entropies that an objective is scaled to.

In searches of 200 steps on a landscape in which rows depend on each other, the most probable network was behind 0 to 47
better ones with it, behind 12 to 122 with a tenth of it.
"""

FAR = 2.0
"""The better quarter of 64 normally distributed values spreads over 1.7 deviations; hardly one is 3.4 behind it."""

ENOUGH_WITHOUT_NUMBER = 64
"""Networks judged in vain from the first on, after which nothing is to be expected of an objective."""


def fitted_scale(values_N: Tensor) -> float:
    """The factor that gives values the spread of cross-entropies; 1 where they do not differ.

    What is far behind the better ones, a penalty, counts as `FAR` times as far behind as those spread: or nothing would
    be seen of how the others differ.
    """
    finite = values_N[values_N.isfinite()].sort().values
    for share in (0.25, 0.5, 0.75, 1.0):
        better = finite[: math.ceil(share * len(finite))]
        if len(better) and better[-1] > better[0]:
            far = better[-1] + FAR * (better[-1] - better[0])
            return SPREAD_NATS / float(finite.clamp(max=far).std(correction=0))
    return 1.0


class ObjectiveEvaluator:
    """Judges architectures by a function of theirs.

    Args:
        values: of architectures (N, G, V), all different: float64, shape (N,), less is better.
        scale: factor that makes cross-entropies of them, nats.
        train: is given architectures (n, G, V) and their weights (n,) to train what they share; gives their losses,
            shape (n,). When left out nothing is trained.
        mixture: the value of a mixture of all choices by gates, differentiable, for strategies that need it.
    """

    score_name = "score"

    def __init__(
        self,
        values: Callable[[Tensor], Tensor],
        *,
        scale: float = 1.0,
        train: Callable[[Tensor, Tensor], Tensor] | None = None,
        mixture: Callable[[Gates], Tensor] | None = None,
    ) -> None:
        self._values = values
        self._scale = scale
        self._train = train
        self._mixture = mixture
        self._without_number: int | None = 0  # None once there was a finite value

    def begin_step(self, progress: float, warm_up_left: float) -> None:
        """Nothing to do."""

    def judge(self, indices_KGV: Tensor) -> Judgement:
        """Scaled values, infinite where there is no number, and as scores the same with the sign changed.

        Raises:
            UserError: of as many as show it, no value so far was a finite number.
        """
        unique, inverse = torch.unique(indices_KGV, dim=0, return_inverse=True)
        cross_entropies = self._scale * self._values(unique).double()[inverse]
        finite = cross_entropies.isfinite()
        if finite.any():
            self._without_number = None
        elif self._without_number is not None:
            self._without_number += len(unique)
            if self._without_number >= ENOUGH_WITHOUT_NUMBER:
                raise UserError(
                    f"objective: {float(cross_entropies[0])} for the last of {self._without_number} networks, and no "
                    "number for any of them: a finite number is needed"
                )
        cross_entropies = torch.where(finite, cross_entropies, math.inf)
        return Judgement(cross_entropies, -cross_entropies)

    def train_weights(self, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        """What `train` does."""
        return torch.zeros(len(weight_n)) if self._train is None else self._train(indices_nGV, weight_n)

    def mixture_cross_entropy(self, gates: Gates) -> Tensor:
        """The scaled value of a mixture. Raises UserError where there is none."""
        if self._mixture is None:
            raise UserError("strategy: it computes all choices at once, which an objective of single networks does not")
        return self._scale * self._mixture(gates)

    def train_mixture(self, gates: Gates) -> Tensor:
        """Nothing is trained; gives the value."""
        return self.mixture_cross_entropy(gates).detach()

    def score(self, indices_GV: Tensor, *, roughly: bool = False) -> float:
        """The value with its sign changed: more is better. What has no number is the worst."""
        value = float(self._values(indices_GV[None])[0])
        return -value if math.isfinite(value) else -math.inf

    def check_equal(self) -> None:
        """Nothing is held."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes from step to step."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to do."""
