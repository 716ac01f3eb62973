"""Makes `timm.create_model("fpnas", ...)` known as soon as both packages are imported, in whichever order.

timm has no way for a package to announce its models, and `import fpnas` must not take the seconds that `import timm`
takes; so the import of timm is watched.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["fpnas", "register_with_timm"]


def fpnas(pretrained: bool = False, **options: Any) -> Any:
    """`fpnas.timm_models.create_network`, under the name that timm knows it by."""
    from fpnas.timm_models import create_network

    return create_network(pretrained, **options)


def register_with_timm() -> None:
    """Register now if timm is imported, else right after it is."""
    if "timm" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _TimmWatcher())


def _register() -> None:
    from timm.models import register_model

    register_model(fpnas)


class _TimmWatcher(MetaPathFinder):
    """Registers when the code of timm has run; timm may have been looked for before, and not imported."""

    def __init__(self) -> None:
        self._looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm" or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                run(module)
                _register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
