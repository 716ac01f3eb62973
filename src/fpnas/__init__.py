"""Fast probabilistic neural architecture search in Python and PyTorch."""

from fpnas.version import __version__

__all__ = ["__version__"]
