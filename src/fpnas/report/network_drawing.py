"""A network as a picture that is a table too: its blocks in scale, what each costs beside it."""

from html import escape
from typing import Any

from fpnas.cost import network_cost
from fpnas.network_spec import NetworkSpec
from fpnas.network_summary import describe_network
from fpnas.report.charts import macs_unit

__all__ = ["draw_network", "network_in_words"]

_SIDE = 24
"""Of the square that stands for the largest map, pixels."""
_CELL = 4
"""Of a kernel's weights, one square each, pixels."""


def network_in_words(spec: NetworkSpec) -> str:
    """What the drawing shows, in a few sentences."""
    cost = network_cost(spec)
    active = sum(block.kernel > 0 for block in spec.blocks)
    return (
        f"{spec.name}: {len(spec.blocks)} blocks, {active} of them active, {cost.macs:,} multiply-adds, "
        f"{cost.params:,} parameters, images of {spec.input_size} pixels. Maps, kernels, channels and multiply-adds "
        "are drawn in scale. The map that comes in is an outline around the one that goes out; the paler box is what a "
        "block has inside; a dashed line is a block that is passed by."
    )


def draw_network(spec: NetworkSpec) -> str:
    """A table with a row for the stem, each block and the head."""
    rows = _rows(spec)
    largest = max(row["in_size"] for row in rows)
    widest = max(max(row["channels"], row["inside"]) for row in rows)
    macs = sum(row["macs"] for row in rows)
    most = max(1, *(row["macs"] for row in rows))
    unit, word = macs_unit(macs)
    lines = []
    for row in rows:
        lines.append(
            f"<tr><th scope='row'>{row['name']}</th><td>{_map(row, largest)}</td>"
            f"{_bypass_cells(row) if _is_bypassed(row) else _cells(row)}"
            f"<td class='widths'>{_widths(row)}</td><td class='boxes'>{_boxes(row, widest)}</td>"
            f"<td class='cost'><span class='macs' style='width:{100 * row['macs'] / most:.1f}%'></span></td>"
            f"<td class='number'>{row['macs'] / unit:,.3f}<span class='unit'> {word}</span></td>"
            f"<td class='number'>{100 * row['macs'] / max(1, macs):.0f}%</td></tr>"
        )
    heads = ["part", "map, pixels", "kernel", "activation", "expansion", "attention"]
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return (
        f"<table class='network'><thead><tr>{head}<th scope='col' colspan='2'>channels: in → inside → out</th>"
        f"<th scope='col' colspan='2'>multiply-adds, {word}s</th><th scope='col' class='number'>share</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody><tfoot><tr><th scope='row' colspan='9'>all</th>"
        f"<td class='number'>{macs / unit:,.3f}<span class='unit'> {word}</span></td>"
        "<td class='number'>100%</td></tr></tfoot></table>"
    )


def _rows(spec: NetworkSpec) -> list[dict[str, Any]]:
    """The parts as `describe_network` has them, named for the table, with their expansion.

    `inside` is the width between a part's convolutions, 0 where there is none.
    """
    parts = describe_network(spec)["blocks"]
    names = ["stem", *map(str, range(1, len(parts) - 1)), f"head, {spec.num_classes} classes"]
    expansions = ["none", *(f"{block.expansion:g}" for block in spec.blocks), "none"]
    return [
        part | {"name": name, "expansion": expansion, "inside": 0 if part["kind"] == "conv" else part["hidden"] or 0}
        for part, name, expansion in zip(parts, names, expansions, strict=True)
    ]


def _svg(width: int, height: int, content: str) -> str:
    """A drawing of what the cell says in words, too."""
    return f"<svg aria-hidden='true' width='{width}' height='{height}'>{content}</svg>"


def _map(row: dict[str, Any], largest: int) -> str:
    squares = ""
    for kind, size in (("edge", row["in_size"]), ("fill", row["out_size"])):
        side = max(2.0, _SIDE * size / largest)
        box = f"x='0.5' y='{_SIDE - side + 0.5:.1f}' width='{side:.1f}' height='{side:.1f}'"
        squares += f"<rect class='{kind}' {box}/>"
    text = f"{row['in_size']}" if row["in_size"] == row["out_size"] else f"{row['in_size']} → {row['out_size']}"
    return f"{_svg(_SIDE + 1, _SIDE + 1, squares)} {text}"


def _kernel(kernel: int) -> str:
    side = _CELL * kernel
    lines = "".join(f"M{_CELL * k} 0V{side}M0 {_CELL * k}H{side}" for k in range(1, kernel))
    drawing = f"<rect class='fill' width='{side}' height='{side}'/><path class='between' d='{lines}'/>"
    return f"{_svg(side, side, drawing)} {kernel}x{kernel}"


def _attention(splits: int) -> str:
    if not splits:
        return "none"
    circles = "".join(f"<circle class='fill' cx='{5 + 10 * place}' cy='5' r='4'/>" for place in range(splits))
    return f"{_svg(10 * splits, 10, circles)} {'squeeze-excite' if splits == 1 else f'{splits} splits'}"


def _cells(row: dict[str, Any]) -> str:
    return (
        f"<td>{_kernel(row['kernel'])}</td><td>{escape(row['activation'])}</td>"
        f"<td class='{_kind('expansion', row['expansion'])}'>{row['expansion']}</td>"
        f"<td class='{_kind('attention', _attention(row['splits']))}'>{_attention(row['splits'])}</td>"
    )


def _kind(kind: str, text: str) -> str:
    """A cell's classes: where there is little room, one that says that there is nothing is left out."""
    return f"{kind} none" if text == "none" else kind


def _is_bypassed(row: dict[str, Any]) -> bool:
    return row["kind"] in ("bypass", "identity")


def _bypass_cells(row: dict[str, Any]) -> str:
    text = "passed by" if row["kind"] == "identity" else "passed by, but for a 1x1 convolution"
    return f"<td colspan='4' class='bypass'>{text}</td>"


def _widths(row: dict[str, Any]) -> str:
    return " → ".join(str(width) for width in (row["in_channels"], row["inside"], row["channels"]) if width)


def _boxes(row: dict[str, Any], widest: int) -> str:
    if _is_bypassed(row):
        return "<span class='box'><span class='dashes'></span></span>"
    inside = f"<span class='inside' style='width:{100 * row['inside'] / widest:.1f}%'></span>" if row["inside"] else ""
    channels = f"<span class='channels' style='width:{100 * row['channels'] / widest:.1f}%'></span>"
    return f"<span class='box'>{inside}{channels}</span>"
