"""Search strategies, one file each; this table is the catalogue."""

from collections.abc import Callable

from fpnas.space import SearchSpace
from fpnas.strategies.base import DeriveTools, Judgement, StepTools, Strategy, StrategySettings
from fpnas.strategies.evolution import evolution
from fpnas.strategies.fbnetv2 import fbnetv2
from fpnas.strategies.fp_nas import fp_nas
from fpnas.strategies.fp_nas_paper import fp_nas_paper
from fpnas.strategies.parsec import parsec
from fpnas.strategies.random import random_search
from fpnas.strategies.tunas import tunas

__all__ = ["STRATEGIES", "DeriveTools", "Judgement", "StepTools", "Strategy", "StrategySettings"]

STRATEGIES: dict[str, Callable[[SearchSpace, StrategySettings], Strategy]] = {
    "fp-nas": fp_nas,
    "fp-nas-paper": fp_nas_paper,
    "parsec": parsec,
    "fbnetv2": fbnetv2,
    "tunas": tunas,
    "random": random_search,
    "evolution": evolution,
}
