"""`fpnas cost`."""

from pathlib import Path
from typing import Any

from fpnas.builtin_files import find_network
from fpnas.checks import check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_cost
from fpnas.commands.base import Command, add_input_size
from fpnas.errors import UserError
from fpnas.space import INPUT_RANGES

__all__ = ["COMMAND"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add("file", metavar="FILE", help="a network or architecture file, or a built-in network's name")
    parser.add(
        "--space",
        str | None,
        default=None,
        help="of an architecture file: a built-in space or a TOML file; when left out, the space.toml beside it, as "
        "searches leave it, or the built-in space it names",
    )
    add_input_size(parser)


def _run(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, input_size=INPUT_RANGES["input_size"])
    from fpnas.architecture import ARCHITECTURE_FORMAT, architecture_from_json
    from fpnas.files import read_json
    from fpnas.network_file import network_from_json
    from fpnas.network_spec import resolve
    from fpnas.network_summary import describe_network
    from fpnas.space_file import load_space

    path = find_network(arguments.file)
    content = read_json(path, "network file")
    where = f"network file {path}"
    kind = content.get("format")
    # Of an architecture file with another version, the message should still be one about architectures.
    if isinstance(kind, str) and kind.partition("/")[0] == ARCHITECTURE_FORMAT.partition("/")[0]:
        where = f"architecture file {path}"
        name = content.get("space")
        if not isinstance(name, str):
            raise UserError(f"{where}: space = {name}: a search space's name is expected")
        beside = path.with_name("space.toml")
        try:
            space = load_space(arguments.space or (beside if beside.is_file() else name))
        except UserError as error:
            raise UserError(f"{where}: {error}; --space names a file") from None
        spec = resolve(space, architecture_from_json(space, content, where), **_data_of(path))
    elif arguments.space is not None:
        raise UserError(f"--space {arguments.space}: is of an architecture file; {path} is none")
    else:
        spec = network_from_json(content, where)
    if arguments.input_size is not None:
        spec = spec.at_input_size(arguments.input_size)
    return describe_network(spec)


def _data_of(path: Path) -> dict[str, int]:
    """Size, channels and classes for which an architecture was found, if its network is beside it as runs leave it."""
    from fpnas.network_file import load_network

    # `fpnas derive --output NAME.json` writes NAME.architecture.json, and so does --output NAME.
    suffix = ".architecture.json"
    if path.name == "architecture.json":
        names = ["network.json"]
    elif path.name.endswith(suffix):
        names = [path.name.removesuffix(suffix) + ".json", path.name.removesuffix(suffix)]
    else:
        names = []
    found = next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    if found is None:
        return {}
    network = load_network(found)
    return {
        "input_size": network.input_size,
        "in_channels": network.in_channels,
        "num_classes": network.num_classes,
    }


COMMAND = Command("count what a network costs, block by block", _add_arguments, _run, show_cost)
