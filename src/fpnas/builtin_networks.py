"""Published networks that come with the package, by name."""

from pathlib import Path

from fpnas.checks import shown
from fpnas.errors import UserError

__all__ = ["builtin_network_names", "find_network"]

_FOLDER = Path(__file__).parent / "networks"


def builtin_network_names() -> tuple[str, ...]:
    """Names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def find_network(name_or_path: str) -> Path:
    """The file of a built-in network, or the path itself.

    Raises:
        UserError: neither a built-in network nor a file.
    """
    if name_or_path in builtin_network_names():
        return _FOLDER / f"{name_or_path}.json"
    path = Path(name_or_path)
    if path.suffix or path.exists():
        return path
    accepted = ", ".join(builtin_network_names())
    raise UserError(f"network {shown(name_or_path)}: no such file; a file or one of {accepted} is accepted")
