"""Networks and recipes that come with the package, by name."""

from pathlib import Path

from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.files import what_is_at

__all__ = ["builtin_network_names", "builtin_recipe_names", "find_network", "find_recipe"]

_NETWORKS = Path(__file__).parent / "networks"
_RECIPES = Path(__file__).parent / "recipes"


def builtin_network_names() -> tuple[str, ...]:
    """Names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in _NETWORKS.glob("*.json")))


def builtin_recipe_names() -> tuple[str, ...]:
    """Names of the configurations that come with the package, for `--config`."""
    return tuple(sorted(path.stem for path in _RECIPES.glob("*.yaml")))


def find_network(name_or_path: str) -> Path:
    """The file of a built-in network, or the path itself.

    Raises:
        UserError: neither a built-in network nor a file.
    """
    return _find(name_or_path, _NETWORKS, ".json", builtin_network_names(), "network")


def find_recipe(name_or_path: str) -> Path:
    """The file of a built-in recipe, or the path itself.

    Raises:
        UserError: neither a built-in recipe nor a file.
    """
    return _find(name_or_path, _RECIPES, ".yaml", builtin_recipe_names(), "--config")


def _find(name_or_path: str, folder: Path, suffix: str, names: tuple[str, ...], what: str) -> Path:
    if name_or_path in names:
        return folder / f"{name_or_path}{suffix}"
    path = Path(name_or_path)
    if path.suffix or what_is_at(path, what):
        return path
    raise UserError(f"{what} {shown(name_or_path)}: no such file; a file or one of {', '.join(names)} is accepted")
