"""FP-NAS as its paper has it.

Source: FP-NAS (CVPR 2021), sections 3.1 to 3.4: the likelihood is per image (the mean over a batch), all samples train
the weights, lambda is 1/4, Adam's rate is constant, the distribution is factorized first and joint later, and the
budget acts by the hinge of Eq. 7. Its searches take 8,370 architecture steps at rate 0.016; a search of another length
keeps their product, for a distribution could not get as far otherwise.
"""

from collections.abc import Callable

from fpnas.sampling import AdaptiveSamples
from fpnas.space import SearchSpace
from fpnas.strategies.base import StrategySettings
from fpnas.strategies.fp_nas import FpNas

__all__ = ["PAPER_JOINT_FROM", "PAPER_LOGIT_TRAVEL", "build", "paper_form"]

PAPER_LOGIT_TRAVEL = 0.016 * 8370
PAPER_JOINT_FROM = 80 / 315
PAPER_SAMPLES_PER_NAT = 0.25


def build(space: SearchSpace, settings: StrategySettings) -> FpNas:
    """The paper's strategy for a number of steps; of the other settings none is looked at but an explicit rate."""
    return paper_form(space, settings, AdaptiveSamples(PAPER_SAMPLES_PER_NAT), joint_from=PAPER_JOINT_FROM)


def paper_form(
    space: SearchSpace,
    settings: StrategySettings,
    number_of_samples: Callable[[float], int],
    joint_from: float,
) -> FpNas:
    """What the paper's own strategy and the one it compares with have in common.

    Args:
        space: to search.
        settings: of which the number of steps and an explicit rate are looked at.
        number_of_samples: of a step, by the entropy, nats.
        joint_from: share of the steps from which the distribution is joint.
    """
    return FpNas(
        space,
        number_of_samples=number_of_samples,
        learning_rate=settings.learning_rate or PAPER_LOGIT_TRAVEL / settings.learning_steps,
        paced=False,
        likelihood_scale=1.0,
        budget_floor=None,
        resample=False,
        joint_from=joint_from,
    )
