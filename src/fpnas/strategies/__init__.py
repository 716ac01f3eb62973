"""Search strategies, one file each; this table is the catalogue."""

from collections.abc import Callable

from fpnas.errors import UserError
from fpnas.space import SearchSpace
from fpnas.strategies import evolution, fbnetv2, fp_nas, fp_nas_paper, parsec, random, tunas
from fpnas.strategies.base import DeriveTools, Judgement, StepTools, Strategy, StrategySettings

__all__ = [
    "STRATEGIES",
    "DeriveTools",
    "Judgement",
    "StepTools",
    "Strategy",
    "StrategySettings",
    "check_searchable",
    "settings_without_effect",
]

STRATEGIES: dict[str, Callable[[SearchSpace, StrategySettings], Strategy]] = {
    "fp-nas": fp_nas.build,
    "fp-nas-paper": fp_nas_paper.build,
    "parsec": parsec.build,
    "fbnetv2": fbnetv2.build,
    "tunas": tunas.build,
    "random": random.build,
    "evolution": evolution.build,
}

_OF_FP_NAS = ("samples_per_nat", "likelihood_scale", "budget", "budget_floor", "weight_step", "joint_from")
_OF_LEARNING = (
    "samples_per_nat",
    "likelihood_scale",
    "weight_step",
    "joint_from",
    "architecture_learning_rate",
)
_UNREAD = {
    "fp-nas-paper": _OF_FP_NAS,
    "parsec": _OF_FP_NAS,
    "fbnetv2": _OF_FP_NAS,
    "tunas": _OF_FP_NAS,
    "random": _OF_LEARNING,
    "evolution": _OF_LEARNING,
}


def settings_without_effect(strategy: object) -> tuple[str, ...]:
    """Fields of a search's configuration that a strategy does not look at; none for one that is not of this package."""
    return _UNREAD.get(str(strategy), ())


def check_searchable(space: SearchSpace, strategy: str, given: str) -> None:
    """Raises UserError for a strategy that there is not, `given` as the message opens, and a space without choices."""
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise UserError(f"{given}: one of {', '.join(STRATEGIES)} is accepted")
    if space.number_of_architectures == 1:
        raise UserError(f"space {space.name}: holds one architecture; at least two are accepted in a search")
