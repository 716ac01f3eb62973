"""What a search's distribution prefers: the probability of every value of every choice, over the epochs."""

from html import escape
from typing import Any

from fpnas.report.charts import Chart, chart_text, heat_map, short, thinned
from fpnas.report.runs import ReportedRun
from fpnas.space import Choice, Group

__all__ = ["LEAST_SHARE", "probability_map", "probability_table"]

_MOST_FRAMES = 60
_ROW, _COLUMN, _AROUND = 28, 42, 130
"""Pixels of a cell, and of what is around the map."""

LEAST_SHARE = 0.005
"""Under it a value stands in the table no more."""


def probability_map(run: ReportedRun) -> tuple[Chart, list[dict[str, Any]]] | None:
    """A heat map, a row per group and a column per value, and its frames, one per epoch; None before the first.

    Values of the same choice can differ between groups (channels): columns go by their place, cells say the values.
    """
    space = run.space
    epochs = [epoch for epoch in run.epochs if "probabilities" in epoch]
    if space is None or not epochs:
        return None
    choices = space.groups[0].choices
    widths = [max(len(group.choices[v].values) for group in space.groups) for v in range(len(choices))]

    def spread_out(of_choices: list[list[Any]], blank: Any) -> list[Any]:
        return [
            values[place] if place < len(values) else blank
            for values, width in zip(of_choices, widths, strict=True)
            for place in range(width)
        ]

    labels = [
        spread_out([[_label(choice, value) for value in choice.values] for choice in group.choices], "")
        for group in space.groups
    ]
    hover = [
        spread_out([[f"{choice.name} {value}" for value in choice.values] for choice in group.choices], "")
        for group in space.groups
    ]
    frames = [
        {"epoch": epoch["epoch"], "z": [spread_out(group, None) for group in epoch["probabilities"]]}
        for epoch in thinned(epochs, _MOST_FRAMES)
    ]
    open_choices = [values for group in epochs[-1]["probabilities"] for values in group if len(values) > 1]
    decided = sum(max(values) > 0.9 for values in open_choices)
    last = epochs[-1]["epoch"]
    rows = list(range(len(space.groups)))
    chart = Chart(
        "Probability of every value, by group of blocks (rows) and choice (columns)",
        f"After epoch {last}, {decided} of {len(open_choices)} choices have a value with more than 90%. A cell says "
        "its value; values that a group does not have are blank. The table below has the last ones in figures.",
        [
            heat_map(
                frames[-1]["z"],
                1,
                "probability",
                x=[
                    [choice.name for choice, width in zip(choices, widths, strict=True) for _ in range(width)],
                    [str(place + 1) for width in widths for place in range(width)],
                ],
                y=rows,
                text=[[chart_text(label) for label in row] for row in labels],
                customdata=[
                    [[chart_text(_group_name(group)), chart_text(text)] for text in row]
                    for group, row in zip(space.groups, hover, strict=True)
                ],
                hovertemplate="%{customdata[0]}, %{customdata[1]}: %{z:.1%}<extra></extra>",
                colorbar={"tickformat": ".0%"},
            )
        ],
        {
            "xaxis": {"showgrid": False, "showdividers": True, "side": "top"},
            "yaxis": {
                "autorange": "reversed",
                "showgrid": False,
                "zeroline": False,
                "tickvals": rows,
                "ticktext": [chart_text(short(_group_name(group), 16)) for group in space.groups],
            },
            "hovermode": "closest",
        },
        height=_ROW * len(rows) + _AROUND,
        least_width=_COLUMN * sum(widths) + _AROUND,
    )
    return chart, frames


def _group_name(group: Group) -> str:
    return f"group {group.name}"


def _label(choice: Choice, value: Any) -> str:
    """A value as a cell has room for it."""
    if choice.name == "kernel":
        return f"{value}x{value}" if value else "skip"
    if choice.name == "splits":
        return {0: "none", 1: "SE"}.get(value, f"{value} sp.")
    return f"{value:g}" if isinstance(value, float) else str(value)


def probability_table(run: ReportedRun) -> str:
    """The last probabilities as a table: a row per group, in each cell the values that are left, likeliest first."""
    assert run.space is not None
    last = [epoch for epoch in run.epochs if "probabilities" in epoch][-1]["probabilities"]
    heads = "".join(f"<th scope='col'>{escape(choice.name)}</th>" for choice in run.space.groups[0].choices)
    rows = []
    for group, probabilities in zip(run.space.groups, last, strict=True):
        cells = []
        for choice, shares in zip(group.choices, probabilities, strict=True):
            ordered = sorted(zip(shares, map(str, choice.values), strict=True), key=lambda pair: -pair[0])
            texts = [f"{escape(value)} {100 * share:.0f}%" for share, value in ordered if share >= LEAST_SHARE]
            # Of more than 200 equally likely values none has the least share.
            best, *rest = texts or [f"{len(ordered)} values"]
            more = f"<br>{', '.join(rest)}" if rest else ""
            if len(shares) == 1:
                cells.append(f"<td class='given'>{escape(str(choice.values[0]))}</td>")
            else:
                cells.append(f"<td class='p' style='--share:{ordered[0][0]:.3f}'><b>{best}</b>{more}</td>")
        rows.append(f"<tr><th scope='row'>{escape(_group_name(group))}</th>{''.join(cells)}</tr>")
    return (
        "<table class='probabilities'>"
        f"<thead><tr><th scope='col'>group</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
