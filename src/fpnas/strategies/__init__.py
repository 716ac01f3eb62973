"""Search strategies, one file each; this table is the catalogue."""

from fpnas.strategies.base import StepTools, Strategy
from fpnas.strategies.fp_nas import FpNas

__all__ = ["STRATEGIES", "StepTools", "Strategy"]

STRATEGIES = {"fp-nas": FpNas}
