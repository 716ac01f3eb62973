"""Fast probabilistic neural architecture search: images and a budget in, a trained and exported network out.

`fpnas.load(folder)` gives a trained model. Importing the package takes no time: what needs PyTorch comes when it is
asked for.
"""

from typing import TYPE_CHECKING, Any

from fpnas.timm_registration import register_with_timm
from fpnas.version import __version__

if TYPE_CHECKING:
    from fpnas.model_folder import load

__all__ = ["__version__", "load"]

register_with_timm()


def __getattr__(name: str) -> Any:
    if name == "load":
        from fpnas.model_folder import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
