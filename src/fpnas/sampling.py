"""How many architectures a search step draws.

Source: PARSEC (a fixed number); FP-NAS (CVPR 2021), section 3.2 (a number that follows the entropy).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.distribution import Distribution

__all__ = ["AdaptiveSamples", "FixedSamples", "sample_within_budget"]


@dataclass(frozen=True)
class FixedSamples:
    """The same number at every step; PARSEC used 8, 14 and 16.

    Args:
        number: samples per step, at least 1.
    """

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"number {self.number}: at least 1 is expected")

    def __call__(self, entropy_nats: float) -> int:
        """Number of samples; the entropy plays no part."""
        return self.number


@dataclass(frozen=True)
class AdaptiveSamples:
    """K = max(1, floor(fraction * H)): fewer samples as the distribution makes up its mind.

    Source: FP-NAS, section 3.2; the paper's lambda is `fraction`.

    Args:
        fraction: samples per nat of entropy, above 0.
        maximum: never more than this; None for no limit.
    """

    fraction: float = 0.25
    maximum: int | None = None

    def __post_init__(self) -> None:
        if not (self.fraction > 0 and math.isfinite(self.fraction)):
            raise ValueError(f"fraction {self.fraction}: a finite number above 0 is expected")
        if self.maximum is not None and self.maximum < 1:
            raise ValueError(f"maximum {self.maximum}: at least 1 is expected")

    def __call__(self, entropy_nats: float) -> int:
        """Number of samples at an entropy.

        Raises:
            ValueError: the entropy is not a finite number.
        """
        if not math.isfinite(entropy_nats):
            raise ValueError(f"entropy_nats {entropy_nats}: a finite number is expected")
        number = max(1, math.floor(self.fraction * entropy_nats))
        return number if self.maximum is None else min(number, self.maximum)


CANDIDATES = 1024
MOST_ROUNDS = 8


def sample_within_budget(
    distribution: Distribution,
    costs: CostTable,
    number: int,
    *,
    low: float,
    high: float,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Architectures from a distribution, given that their cost lies in [low, high].

    By rejection: look-ups in a cost table are thousands of times cheaper than a forward pass. Where the distribution
    has almost nothing in the range, the candidates nearest to it are taken, and learning from those leads there.

    Args:
        distribution: what to draw from.
        costs: table of the cost.
        number: how many, K.
        low, high: the range, in the unit of the costs.
        generator: a CPU generator.

    Returns:
        Indices of choices, int64, shape (K, G, V), and the share of candidates that were within the range.
    """
    drawn: list[Tensor] = []
    distances: list[Tensor] = []
    within = 0
    while len(drawn) < MOST_ROUNDS and within < number:
        candidates = distribution.sample(CANDIDATES, generator)
        cost = costs.cost(candidates).double()
        drawn.append(candidates)
        distances.append(torch.maximum(low - cost, cost - high).clamp(min=0))
        within += int((distances[-1] == 0).sum())
    # Stable: those within the range come first, in the order in which they were drawn.
    order = torch.cat(distances).argsort(stable=True)[:number]
    return torch.cat(drawn)[order], within / (CANDIDATES * len(drawn))
