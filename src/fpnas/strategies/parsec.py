"""PARSEC: the same number of samples at every step, from the joint distribution.

Source: PARSEC (Casale et al., arXiv 1902.05116), in the form in which FP-NAS (CVPR 2021) compares with it: 14 samples,
the cost term of Eq. 7, all samples train the weights.
"""

from fpnas.sampling import FixedSamples
from fpnas.space import SearchSpace
from fpnas.strategies.base import StrategySettings
from fpnas.strategies.fp_nas import FpNas
from fpnas.strategies.fp_nas_paper import paper_form

__all__ = ["PARSEC_SAMPLES", "build"]

PARSEC_SAMPLES = 14


def build(space: SearchSpace, settings: StrategySettings) -> FpNas:
    """PARSEC for a number of steps; of the other settings none is looked at but an explicit rate."""
    return paper_form(space, settings, FixedSamples(PARSEC_SAMPLES), joint_from=0.0)
