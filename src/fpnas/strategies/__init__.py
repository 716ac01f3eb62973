"""Search strategies, one file each; this table is the catalogue."""

from collections.abc import Callable

from fpnas.errors import UserError
from fpnas.space import SearchSpace
from fpnas.strategies import evolution, fbnetv2, fp_nas, fp_nas_paper, parsec, random, tunas
from fpnas.strategies.base import DeriveTools, Judgement, StepTools, Strategy, StrategySettings

__all__ = ["STRATEGIES", "DeriveTools", "Judgement", "StepTools", "Strategy", "StrategySettings", "check_searchable"]

STRATEGIES: dict[str, Callable[[SearchSpace, StrategySettings], Strategy]] = {
    "fp-nas": fp_nas.build,
    "fp-nas-paper": fp_nas_paper.build,
    "parsec": parsec.build,
    "fbnetv2": fbnetv2.build,
    "tunas": tunas.build,
    "random": random.build,
    "evolution": evolution.build,
}


def check_searchable(space: SearchSpace, strategy: str, given: str) -> None:
    """Raises UserError for a strategy that there is not, `given` as the message opens, and a space without choices."""
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise UserError(f"{given}: one of {', '.join(STRATEGIES)} is accepted")
    if space.number_of_architectures == 1:
        raise UserError(f"space {space.name}: holds one architecture; at least two are accepted in a search")
