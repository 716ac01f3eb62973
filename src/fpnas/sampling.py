"""How many architectures a search step draws.

Source: PARSEC (a fixed number); FP-NAS (CVPR 2021), section 3.2 (a number that follows the entropy).
"""

import math
from dataclasses import dataclass

__all__ = ["AdaptiveSamples", "FixedSamples"]


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
    """K = max(fewest, floor(fraction * H)): fewer samples as the distribution makes up its mind.

    Source: FP-NAS, section 3.2; the paper's lambda is `fraction`, and its `fewest` 1.

    Args:
        fraction: samples per nat of entropy, above 0.
        fewest: samples at any entropy, at least 1.
    """

    fraction: float = 0.25
    fewest: int = 1

    def __post_init__(self) -> None:
        if not (self.fraction > 0 and math.isfinite(self.fraction)):
            raise ValueError(f"fraction {self.fraction}: a finite number above 0 is expected")
        if self.fewest < 1:
            raise ValueError(f"fewest {self.fewest}: at least 1 is expected")

    def __call__(self, entropy_nats: float) -> int:
        """Number of samples at an entropy.

        Raises:
            ValueError: the entropy is not a finite number.
        """
        if not math.isfinite(entropy_nats):
            raise ValueError(f"entropy_nats {entropy_nats}: a finite number is expected")
        return max(self.fewest, math.floor(self.fraction * entropy_nats))
