"""Fast probabilistic neural architecture search: images and a budget in, a trained and exported network out.

- `search(space, data, target_macs="2.5M")` finds a network for images; callbacks are shown each `Moment` of it.
- `optimize(space, objective, steps=200)` finds one for any function of a network.
- `load_space(name_or_file)` and `build(network)` give a space, and a network as a PyTorch module with fresh weights.
- `load(folder)` gives a trained model.
- `Cost` is what a budget may count, `register_activation` makes an activation known by name, and `UserError` is what
  tells of a mistake, in one line.

Importing the package takes no time: what needs PyTorch comes when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpnas.timm_registration import register_with_timm
from fpnas.version import __version__

if TYPE_CHECKING:
    from fpnas.cost import Cost
    from fpnas.errors import UserError
    from fpnas.model_folder import load
    from fpnas.nn.build import build
    from fpnas.nn.ops import register_activation
    from fpnas.objective_search import optimize
    from fpnas.runtime.callbacks import Moment
    from fpnas.space_file import load_space
    from fpnas.supernet_search import search

__all__ = [
    "Cost",
    "Moment",
    "UserError",
    "__version__",
    "build",
    "load",
    "load_space",
    "optimize",
    "register_activation",
    "search",
]

_PLACES = {
    "Cost": "fpnas.cost",
    "Moment": "fpnas.runtime.callbacks",
    "UserError": "fpnas.errors",
    "build": "fpnas.nn.build",
    "load": "fpnas.model_folder",
    "load_space": "fpnas.space_file",
    "optimize": "fpnas.objective_search",
    "register_activation": "fpnas.nn.ops",
    "search": "fpnas.supernet_search",
}

register_with_timm()


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
