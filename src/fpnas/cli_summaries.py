"""Figures of spaces and networks for the command line."""

import math
from typing import Any

from fpnas.architecture import ARCHITECTURE_FORMAT, architecture_from_json
from fpnas.checks import check_text
from fpnas.cost.counts import BlockCost, network_cost
from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.network_file import network_from_json
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.quantities import format_quantity
from fpnas.space import SearchSpace
from fpnas.space_file import load_space

__all__ = ["cost_summary", "load_for_cost", "space_rows", "space_summary"]

_MEDIAN_SAMPLES = 10_001


def space_summary(space: SearchSpace, input_size: int | None = None) -> dict[str, Any]:
    """The figures of a space, its median cost by uniform samples at an input size (its own when left out).

    Raises:
        UserError: an input size that is too small for the strides.
    """
    import torch

    from fpnas.cost.table import build_cost_table
    from fpnas.distribution import Factorized
    from fpnas.sampling import AdaptiveSamples

    costs = build_cost_table(space, input_size=input_size)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        samples = Factorized(space.cardinalities).sample(_MEDIAN_SAMPLES, generator)
    entropy = math.log(space.number_of_architectures)
    return {
        "name": space.name,
        "groups": len(space.groups),
        "blocks": space.number_of_blocks,
        "architectures": str(space.number_of_architectures),
        "entropy_nats": entropy,
        "initial_samples": AdaptiveSamples()(entropy),
        "joint_parameters": sum(math.prod(sizes) for sizes in space.cardinalities),
        "factorized_parameters": sum(sum(sizes) for sizes in space.cardinalities),
        "input_size": input_size or space.input_size,
        "macs": {
            "min": costs.minimum(),
            "median": int(costs.cost(samples).median()),
            "max": costs.maximum(),
        },
    }


def space_rows(space: SearchSpace, summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Names and values that show a space in full."""
    macs = ", ".join(f"{name} {format_quantity(value)}" for name, value in summary["macs"].items())
    stem, head = space.stem, space.head
    rows: list[tuple[str, ...]] = [
        ("space", space.name),
        ("source", space.source),
        ("architectures", f"{space.number_of_architectures:.3e} (as a number, {summary['entropy_nats']:.2f} nats)"),
        ("samples at the start", str(summary["initial_samples"])),
        ("parameters", f"{summary['factorized_parameters']} factorized, {summary['joint_parameters']} joint"),
        ("blocks", f"{summary['blocks']} in {summary['groups']} groups"),
        (f"MACs at {summary['input_size']} pixels", macs),
        ("stem", f"{stem.kernel}x{stem.kernel}, {stem.channels} channels, stride {stem.stride}, {stem.activation}"),
    ]
    for group in space.groups:
        choices = "; ".join(f"{choice.name} {' '.join(map(str, choice.values))}" for choice in group.choices)
        rows.append((f"group {group.name}", f"x{group.repeat}, stride {group.stride}; {choices}"))
    rows.append(("head", f"{head.kind}, {head.channels} channels, {head.activation}"))
    return rows


def load_for_cost(name: str, input_size: int | None) -> NetworkSpec:
    """The network in a network or architecture file, at an input size (its own when left out).

    Raises:
        UserError: neither of them, or an input too small for the strides.
    """
    content = read_json(name, "network or architecture file")
    if content.get("format") != ARCHITECTURE_FORMAT:
        spec = network_from_json(content, f"network file {name}")
        return spec if input_size is None else spec.at_input_size(input_size)
    where = f"architecture file {name}"
    try:
        space = load_space(check_text(content, "space", where))
    except UserError as error:
        raise UserError(f"{where}: {str(error).removeprefix(f'{where}: ')}") from None
    return resolve(space, architecture_from_json(space, content, where), input_size=input_size)


def cost_summary(spec: NetworkSpec) -> dict[str, Any]:
    """Cost of a network in total and by part."""
    cost = network_cost(spec)
    return {
        "name": spec.name,
        "macs": cost.macs,
        "params": cost.params,
        "weights": cost.weights,
        "input_size": spec.input_size,
        "blocks": [_part(part, what) for part, what in zip(cost.parts, _descriptions(spec), strict=True)],
    }


def _part(part: BlockCost, what: str) -> dict[str, Any]:
    return {
        "name": part.name,
        "what": what,
        "macs": part.macs,
        "pool_macs": part.pool_macs,
        "weights": part.weights,
        "params": part.params,
    }


def _descriptions(spec: NetworkSpec) -> list[str]:
    told = [f"{spec.stem.kernel}x{spec.stem.kernel} to {spec.stem.channels}, {spec.stem_size} pixels"]
    for block in spec.blocks:
        kernel = f"{block.kernel}x{block.kernel}, {block.hidden} wide" if block.kernel else "bypass"
        splits = f", {block.splits} splits" if block.kernel and block.splits else ""
        told.append(f"{kernel}{splits} to {block.channels}, {block.out_size} pixels")
    return [*told, f"{spec.head.kind} {spec.head.channels}, {spec.num_classes} classes"]
