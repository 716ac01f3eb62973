"""What a search's distribution prefers: the probability of every value of every choice, over the epochs."""

from html import escape
from typing import Any

from fpnas.report.charts import Chart
from fpnas.report.runs import ReportedRun, thinned

__all__ = ["probability_map", "probability_table"]

_MOST_FRAMES = 60


def probability_map(run: ReportedRun) -> tuple[Chart, list[dict[str, Any]]] | None:
    """A heat map, a row per group and a column per value, and its frames, one per epoch; None before the first.

    Values of the same choice can differ between groups (channels): columns go by their place, names by the group's own.
    """
    space = run.space
    epochs = [epoch for epoch in run.epochs if "probabilities" in epoch]
    if space is None or not epochs:
        return None
    names = [choice.name for choice in space.groups[0].choices]
    widths = [max(len(group.choices[v].values) for group in space.groups) for v in range(len(names))]
    columns = [f"{name} {place + 1}" for name, width in zip(names, widths, strict=True) for place in range(width)]
    rows = [f"group {index + 1}" for index in range(len(space.groups))]

    def spread_out(probabilities: list[list[list[float]]]) -> list[list[float | None]]:
        return [
            [
                values[place] if place < len(values) else None
                for values, width in zip(group, widths, strict=True)
                for place in range(width)
            ]
            for group in probabilities
        ]

    hover = [
        [
            f"{choice.name} = {choice.values[place]}" if place < len(choice.values) else ""
            for choice, width in zip(group.choices, widths, strict=True)
            for place in range(width)
        ]
        for group in space.groups
    ]
    frames = [
        {"epoch": epoch["epoch"], "z": spread_out(epoch["probabilities"])} for epoch in thinned(epochs, _MOST_FRAMES)
    ]
    decided = sum(max(values) > 0.9 for group in epochs[-1]["probabilities"] for values in group if len(values) > 1)
    total = sum(len(values) > 1 for group in epochs[-1]["probabilities"] for values in group)
    chart = Chart(
        "What the distribution prefers: the probability of every value of every choice",
        f"After the last epoch {decided} of {total} choices have a value with more than 90%. The table below has all.",
        [
            {
                "type": "heatmap",
                "x": columns,
                "y": rows,
                "z": frames[-1]["z"],
                "zmin": 0,
                "zmax": 1,
                "text": hover,
                "hovertemplate": "%{y}, %{text}: %{z:.1%}<extra></extra>",
                "colorscale": "Cividis",
                "colorbar": {"title": {"text": "probability"}},
                "xgap": 1,
                "ygap": 1,
            }
        ],
        {"yaxis": {"autorange": "reversed"}, "hovermode": "closest"},
    )
    return chart, frames


def probability_table(run: ReportedRun) -> str:
    """The last probabilities as a table: a row per group, its values with their shares."""
    assert run.space is not None
    last = [epoch for epoch in run.epochs if "probabilities" in epoch][-1]["probabilities"]
    heads = "".join(f"<th scope='col'>{escape(choice.name)}</th>" for choice in run.space.groups[0].choices)
    rows = []
    for index, (group, probabilities) in enumerate(zip(run.space.groups, last, strict=True)):
        cells = []
        for choice, values in zip(group.choices, probabilities, strict=True):
            best = max(range(len(values)), key=values.__getitem__)
            rest = ", ".join(
                f"{value}: {100 * share:.0f}%"
                for value, share in zip(choice.values, values, strict=True)
                if share >= 0.005
            )
            cells.append(
                f"<td class='p' style='--share:{values[best]:.3f}' title='{escape(rest, quote=True)}'>"
                f"{escape(str(choice.values[best]))} ({100 * values[best]:.0f}%)</td>"
            )
        rows.append(f"<tr><th scope='row'>group {index + 1}</th>{''.join(cells)}</tr>")
    return (
        f"<div class='scroll' tabindex='0'><table><thead><tr><th scope='col'>group</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
