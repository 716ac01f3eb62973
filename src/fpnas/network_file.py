"""Network files: a `NetworkSpec` as JSON, needing neither space nor search code to be built."""

import os
from typing import Any

from fpnas.checks import (
    check_integer,
    check_known_fields,
    check_mapping,
    check_number,
    check_one_of,
    check_text,
)
from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.network_spec import BlockSpec, NetworkSpec
from fpnas.space import ACTIVATIONS, INPUT_RANGES, VARIABLES
from fpnas.stem_and_head import read_head, read_stem

__all__ = ["MOST_CHANNELS", "NETWORK_FORMAT", "NETWORK_NAME", "load_network", "network_from_json", "network_to_json"]

NETWORK_FORMAT = "fpnas.network/1"
NETWORK_NAME = "network.json"
"""Of the network's file in a run and in a model folder."""
_BLOCK_FIELDS = (*VARIABLES, "stride")
_FIELDS = (
    "format",
    "name",
    "input_size",
    "in_channels",
    "num_classes",
    "stem",
    "blocks",
    "head",
    "gate",
    "published",
)
MOST_CHANNELS = 65536
"""Of any layer of a network file."""


def load_network(path: str | os.PathLike[str]) -> NetworkSpec:
    """The network in a file. Raises UserError in one line for whatever is wrong with it."""
    return network_from_json(read_json(path, "network file"), f"network file {path}")


def network_to_json(spec: NetworkSpec) -> dict[str, Any]:
    """The content of a network file."""
    content: dict[str, Any] = {
        "format": NETWORK_FORMAT,
        "name": spec.name,
        "input_size": spec.input_size,
        "in_channels": spec.in_channels,
        "num_classes": spec.num_classes,
        "stem": dict(vars(spec.stem)),
        "blocks": [{name: getattr(block, name) for name in _BLOCK_FIELDS} for block in spec.blocks],
        "head": dict(vars(spec.head)),
        "gate": spec.gate,
    }
    if spec.published:
        content["published"] = dict(spec.published)
    return content


def network_from_json(content: dict[str, Any], where: str) -> NetworkSpec:
    """The network in a file's content, every field checked.

    Args:
        content: the JSON object.
        where: opens the messages, e.g. "network file net.json".

    Raises:
        UserError: another format or version, a missing or unknown field, a value of the wrong kind or range.
    """
    check_one_of(content, "format", [NETWORK_FORMAT], where)
    check_known_fields(content, _FIELDS, where)
    stem_where, head_where = f"{where}: stem", f"{where}: head"
    stem = read_stem(check_mapping(content.get("stem"), stem_where), MOST_CHANNELS, stem_where)
    head = read_head(check_mapping(content.get("head"), head_where), MOST_CHANNELS, head_where)
    input_size = check_integer(content, "input_size", *INPUT_RANGES["input_size"], where)
    # The gate is not a field of the zoo's tables: its head tells where a network comes from.
    default_gate = "hard_sigmoid" if head.kind == "ir_pool" else "sigmoid"
    gate = check_one_of({"gate": default_gate} | content, "gate", ["sigmoid", "hard_sigmoid"], where)
    published = check_mapping(content.get("published", {}), f"{where}: published")
    rows = content.get("blocks")
    if not isinstance(rows, list) or len(rows) > 1000:
        raise UserError(f"{where}: blocks: a list of at most 1000 blocks is expected")
    channels = stem.channels
    blocks: list[BlockSpec] = []
    for number, row in enumerate(rows, 1):
        place = f"{where}: block {number}"
        table = check_mapping(row, place)
        check_known_fields(table, _BLOCK_FIELDS, place)
        block = BlockSpec(
            kernel=check_one_of(table, "kernel", [0, 3, 5, 7], place),
            activation=check_one_of(table, "activation", ACTIVATIONS, place),
            splits=check_integer(table, "splits", 0, 8, place),
            expansion=check_number(table, "expansion", 0.1, 100, place),
            in_channels=channels,
            channels=check_integer(table, "channels", 1, MOST_CHANNELS, place),
            stride=check_one_of(table, "stride", [1, 2, 4], place),
            in_size=input_size,
        )
        if block.hidden > MOST_CHANNELS:
            raise UserError(
                f"{place}: expansion = {block.expansion:g}: of {channels} channels that is {block.hidden}; "
                f"at most {MOST_CHANNELS} are accepted"
            )
        blocks.append(block)
        channels = block.channels
    spec = NetworkSpec(
        name=check_text(content, "name", where),
        input_size=input_size,
        in_channels=check_integer(content, "in_channels", *INPUT_RANGES["in_channels"], where),
        num_classes=check_integer(content, "num_classes", *INPUT_RANGES["num_classes"], where),
        stem=stem,
        blocks=tuple(blocks),
        head=head,
        gate=gate,
        published={key: _published_number(published, key, f"{where}: published") for key in published},
    )
    try:
        return spec.at_input_size(input_size)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _published_number(table: dict[str, Any], field: str, where: str) -> int | float:
    """A figure as it stands, so that whole numbers stay exact."""
    check_number(table, field, 0, 1e18, where)
    return table[field]
