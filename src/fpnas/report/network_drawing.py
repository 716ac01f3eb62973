"""A network as a picture: its blocks in scale, what each costs beside it."""

from html import escape

from fpnas.cost import network_cost
from fpnas.network_spec import BlockSpec, NetworkSpec

__all__ = ["draw_network"]

_ROW, _GAP = 26, 4
_LABELS, _WIDEST, _BARS = 300, 260, 150
_ATTENTION = {0: "", 1: "squeeze-excite"}


def _words(block: BlockSpec) -> str:
    """A block's choices."""
    if not block.kernel:
        shape = "" if block.keeps_shape else ", 1x1"
        return f"bypassed{shape}"
    attention = _ATTENTION.get(block.splits, f"{block.splits} splits")
    parts = [f"{block.kernel}x{block.kernel}", block.activation, f"expansion {block.expansion:g}", attention]
    return ", ".join(part for part in parts if part)


def draw_network(spec: NetworkSpec) -> str:
    """An SVG: a row for the stem, each block and the head.

    A box is as wide as its part has channels, its outline as wide as the part is inside; a bypassed block is a dashed
    line. The bar on the right is what the part costs.
    """
    cost = network_cost(spec)
    widest = max(spec.stem.channels, spec.head.channels, *(max(b.channels, b.hidden) for b in spec.blocks))
    most = max(part.macs for part in cost.parts)
    stem = (spec.stem.channels, spec.stem.channels, f"stem {spec.stem.kernel}x{spec.stem.kernel}", spec.input_size)
    rows = [(*stem, spec.stem.stride, True)]
    for block in spec.blocks:
        rows.append((block.channels, block.hidden, _words(block), block.in_size, block.stride, bool(block.kernel)))
    side = spec.last_size
    rows.append((spec.head.channels, spec.head.channels, f"head, {spec.num_classes} classes", side, 1, True))
    height = len(rows) * (_ROW + _GAP) + 24
    width = _LABELS + _WIDEST + _BARS + 90
    centre = _LABELS + _WIDEST / 2
    active = sum(block.kernel > 0 for block in spec.blocks)
    summary = (
        f"{spec.name}: {len(spec.blocks)} blocks, {active} of them active, {cost.macs:,} multiply-adds, "
        f"{cost.params:,} parameters, images of {spec.input_size} pixels."
    )
    lines = [
        f'<svg class="network" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(summary, quote=True)}">',
        f'<text x="0" y="12" class="faint">part: choices</text><text x="{centre}" y="12" class="faint" '
        f'text-anchor="middle">channels (inside: outlined)</text>',
        f'<text x="{_LABELS + _WIDEST + 10}" y="12" class="faint">million multiply-adds</text>',
    ]
    for index, ((channels, hidden, words, size, stride, there), part) in enumerate(zip(rows, cost.parts, strict=True)):
        top = 20 + index * (_ROW + _GAP)
        middle = top + _ROW / 2 + 4
        change = f" to {-(-size // stride)}" if stride > 1 else ""
        name = f"{index}. " if 0 < index < len(rows) - 1 else ""
        lines.append(
            f'<text x="0" y="{middle}">{name}{escape(words)} <tspan class="faint">at {size}{change}</tspan></text>'
        )
        outer, inner = (_WIDEST * value / widest for value in (hidden, channels))
        if there:
            for kind, breadth in (("inside", outer), ("channels", inner)):
                left = centre - breadth / 2
                box = f'x="{left:.1f}" y="{top}" width="{breadth:.1f}" height="{_ROW}" rx="3"'
                lines.append(f'<rect class="{kind}" {box}/>')
            lines.append(f'<text x="{centre}" y="{middle}" text-anchor="middle" class="over">{channels}</text>')
        else:
            lines.append(f'<line class="bypass" x1="{centre}" y1="{top}" x2="{centre}" y2="{top + _ROW}"/>')
        bar = _BARS * part.macs / most
        left = _LABELS + _WIDEST + 10
        lines.append(f'<rect class="macs" x="{left}" y="{top + 5}" width="{bar:.1f}" height="{_ROW - 10}"/>')
        lines.append(f'<text x="{left + bar + 4:.1f}" y="{middle}">{part.macs / 1e6:.3f}</text>')
    return "\n".join([*lines, "</svg>"])
