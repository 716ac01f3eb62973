"""What strategies have in common that move a distribution by Adam and end with its most probable architecture."""

from typing import Any

import torch
from torch import Tensor

from fpnas.derivation import most_probable_or_untied
from fpnas.distribution import Distribution, Factorized, from_state_dict
from fpnas.space import SearchSpace
from fpnas.strategies.base import DeriveTools

__all__ = ["DistributionSearch"]


class DistributionSearch:
    """A distribution, uniform and factorized at first, and its Adam.

    Args:
        space: what is searched.
        learning_rate: Adam's rate for the distribution's logits.
        betas: Adam's.
    """

    learns = True

    def __init__(self, space: SearchSpace, *, learning_rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.learning_rate = learning_rate
        self._betas = betas
        self._use(Factorized(space.cardinalities))

    def _use(self, distribution: Distribution) -> None:
        """Take a distribution in place of the one before; Adam begins anew."""
        self.distribution = distribution
        self.optimizer = torch.optim.Adam(distribution.parameters(), lr=self.learning_rate, betas=self._betas)

    def derive(self, tools: DeriveTools) -> Tensor:
        """The most probable architecture within the budget, indices (G, V)."""
        distribution, derived = most_probable_or_untied(self.distribution, tools.costs, tools.target)
        if distribution is not self.distribution:
            self._use(distribution)
        return derived.indices

    def state_dict(self) -> dict[str, Any]:
        """Distribution and its optimizer."""
        return {"distribution": self.distribution.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._use(from_state_dict(state["distribution"]))
        self.optimizer.load_state_dict(state["optimizer"])
