"""Search strategies, one file each; this table is the catalogue."""

from collections.abc import Callable

from fpnas.space import SearchSpace
from fpnas.strategies import evolution, fbnetv2, fp_nas, fp_nas_paper, parsec, random, tunas
from fpnas.strategies.base import DeriveTools, Judgement, StepTools, Strategy, StrategySettings

__all__ = ["STRATEGIES", "DeriveTools", "Judgement", "StepTools", "Strategy", "StrategySettings"]

STRATEGIES: dict[str, Callable[[SearchSpace, StrategySettings], Strategy]] = {
    "fp-nas": fp_nas.build,
    "fp-nas-paper": fp_nas_paper.build,
    "parsec": parsec.build,
    "fbnetv2": fbnetv2.build,
    "tunas": tunas.build,
    "random": random.build,
    "evolution": evolution.build,
}
