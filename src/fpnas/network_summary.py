"""A network in figures: what each of its parts is and costs."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from fpnas.cost.counts import network_cost
from fpnas.network_spec import BlockSpec, NetworkSpec
from fpnas.space import VARIABLES

__all__ = ["describe_choices", "describe_network"]


def describe_network(spec: NetworkSpec) -> dict[str, Any]:
    """Totals of a network, and a row for its stem, every block and its head.

    Returns:
        Plain values by name; sizes in pixels. A part's `kind` is `conv`, `mbconv`, `bypass` (a 1x1 convolution in place
        of a block), `identity` (nothing in place of one) or the head's; `hidden` is the width between its convolutions.
    """
    cost = network_cost(spec)
    descriptions = (_stem(spec), *map(_block, spec.blocks), _head(spec))
    return {
        "name": spec.name,
        "macs": cost.macs,
        "params": cost.params,
        "weights": cost.weights,
        "input_size": spec.input_size,
        "blocks": [
            {"name": part.name} | description | asdict(part)
            for part, description in zip(cost.parts, descriptions, strict=True)
        ],
    }


def _stem(spec: NetworkSpec) -> dict[str, Any]:
    stem = spec.stem
    return {
        "kind": "conv",
        "kernel": stem.kernel,
        "stride": stem.stride,
        "activation": stem.activation,
        "splits": 0,
        "in_channels": spec.in_channels,
        "hidden": None,
        "channels": stem.channels,
        "in_size": spec.input_size,
        "out_size": spec.stem_size,
    }


def _block(block: BlockSpec) -> dict[str, Any]:
    description: dict[str, Any] = {
        "kind": "mbconv",
        "kernel": block.kernel,
        "stride": block.stride,
        "activation": block.activation,
        "splits": block.splits,
        "in_channels": block.in_channels,
        "hidden": block.hidden,
        "channels": block.channels,
        "in_size": block.in_size,
        "out_size": block.out_size,
    }
    if block.kernel == 0:
        # What a bypassed block chose beside its kernel has no effect, and is not shown.
        kind, kernel = ("identity", 0) if block.keeps_shape else ("bypass", 1)
        description |= {"kind": kind, "kernel": kernel, "activation": None, "splits": 0, "hidden": None}
    return description


def _head(spec: NetworkSpec) -> dict[str, Any]:
    return {
        "kind": spec.head.kind,
        "kernel": 1,
        "stride": 1,
        "activation": spec.head.activation,
        "splits": 0,
        "in_channels": spec.last_channels,
        "hidden": spec.head_hidden,
        "channels": spec.head.channels,
        "in_size": spec.last_size,
        "out_size": 1,
    }


def describe_choices(spec: NetworkSpec, groups: Iterable[tuple[str, int]] | None = None) -> list[dict[str, Any]]:
    """What a network's groups chose, and what they cost.

    Args:
        spec: the network.
        groups: name and number of blocks of each group; when left out, blocks that follow one another and chose alike
            make a group, which is called by their numbers.

    Returns:
        A row for the stem, every group and the head, plain values by name; `kernel` is 0 where a group is bypassed.
    """
    stem, *costs, head = (part.macs for part in network_cost(spec).parts)
    rows = []
    first = 0
    for name, number in _alike(spec) if groups is None else groups:
        chosen = {variable: getattr(spec.blocks[first], variable) for variable in VARIABLES}
        rows.append({"group": name, "blocks": number, **chosen, "macs": sum(costs[first : first + number])})
        first += number
    ends = [
        {
            "group": name,
            "blocks": 1,
            "expansion": None,
            **{variable: part[variable] for variable in VARIABLES if variable in part},
        }
        for name, part in (("stem", _stem(spec)), ("head", _head(spec)))
    ]
    return [ends[0] | {"macs": stem}, *rows, ends[1] | {"macs": head}]


def _alike(spec: NetworkSpec) -> Iterator[tuple[str, int]]:
    """Numbers and number of the blocks that follow one another and chose alike."""
    first = 1
    for _, alike in groupby(spec.blocks, _chosen):
        number = len(list(alike))
        yield str(first) if number == 1 else f"{first}-{first + number - 1}", number
        first += number


def _chosen(block: BlockSpec) -> tuple[Any, ...]:
    """What a block chose, as far as it has an effect."""
    return (block.channels, block.kernel and (block.kernel, block.activation, block.splits, block.expansion))
