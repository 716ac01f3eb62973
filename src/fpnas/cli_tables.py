"""The answers of the command line as tables for people; with `--json` none of this is used."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from fpnas.quantities import format_quantity
from fpnas.space import VARIABLES
from fpnas.text_table import print_table

__all__ = [
    "show_cost",
    "show_figures",
    "show_network",
    "show_predictions",
    "show_selection",
    "show_space",
    "show_spaces",
]


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("macs", "params", "weights", "bytes") and isinstance(value, int):
        return f"{value:,}"
    if name.endswith(("top1", "top5")):
        return f"{value:.2f}%"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _approximate(digits: str) -> str:
    return digits if len(digits) <= 6 else f"{int(digits):.2e}"


def show_figures(document: dict[str, Any]) -> None:
    """Names and values, one a line."""
    rows = [[name.replace("_", " "), _text(name, value)] for name, value in document.items()]
    print_table("", ["", ""], rows, words=2)


def show_spaces(document: list[dict[str, Any]]) -> None:
    """One row for every space."""
    columns = ["space", "groups, blocks", "architectures", "entropy, nats", "start K"]
    columns += ["input", "MACs min", "median", "max"]
    rows = [
        [
            space["name"],
            f"{space['groups']}, {space['blocks']}",
            _approximate(space["architectures"]),
            f"{space['entropy_nats']:.2f}",
            str(space["initial_samples"]),
            str(space["input_size"]),
            *(format_quantity(space["macs"][name]) for name in ("min", "median", "max")),
        ]
        for space in document
    ]
    print_table("", columns, rows)


def show_space(document: dict[str, Any]) -> None:
    """A space's figures, then its rows with their choices."""
    rows = [
        [row["name"], str(row["repeat"]), str(row["stride"])] + [_values(row[variable]) for variable in VARIABLES]
        for row in document["rows"]
    ]
    figures: dict[str, Any] = {}
    for name, value in document.items():
        if name == "macs":
            figures |= {f"macs {extreme}": f"{macs:,}" for extreme, macs in value.items()}
        elif name == "target":
            figures["target"] = f"{value['macs']:,} MACs; {value['verdict']}"
            figures["share of the space at most that"] = f"{100 * value['share_at_most']:.5g}%"
        elif isinstance(value, dict):
            figures[name] = ", ".join(f"{key} {item}" for key, item in value.items())
        elif name != "rows":
            figures[name] = value
    show_figures(figures)
    print_table("", ["group", "repeat", "stride", *VARIABLES], rows, words=8)


def _values(values: list[Any]) -> str:
    """The values of a choice; evenly spaced ones as `low..high by step`."""
    if len(values) > 3 and all(isinstance(value, int | float) for value in values):
        step = values[1] - values[0]
        if all(abs(after - before - step) < 1e-9 for before, after in pairwise(values)):
            return f"{values[0]:g}..{values[-1]:g} by {step:g}"
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def show_cost(document: dict[str, Any]) -> None:
    """A row for every part of a network, then the totals."""
    columns = ["part", "kind", "activation", "splits", "widths", "size", "MACs", "params"]
    rows = []
    for part in document["blocks"]:
        widths = [part["in_channels"], part["hidden"], part["channels"]]
        rows.append(
            [
                part["name"].removeprefix("block "),
                part["kind"] if part["kernel"] < 2 else f"{part['kind']} {part['kernel']}",
                part["activation"] or "-",
                str(part["splits"] or "-"),
                "-".join(str(width) for width in widths if width is not None),
                f"{part['in_size']}-{part['out_size']}",
                *(f"{part[column]:,}" for column in ("macs", "params")),
            ]
        )
    rows.append(["total", *[""] * 5, *(f"{document[column]:,}" for column in ("macs", "params"))])
    title = f"{_title(document['name'], document['input_size'])}, {document['weights']:,} weights"
    print_table(title, columns, rows, words=3)


def show_network(path: str | Path, searched: str | Path | None) -> None:
    """What the network in a file chose: by groups of the search it is from, or by blocks where there was none."""
    from fpnas.network_file import load_network
    from fpnas.network_summary import describe_choices
    from fpnas.runtime.run_directory import RunDirectory
    from fpnas.space_file import load_space

    spec = load_network(path)
    groups = None
    if searched is not None:
        space = load_space(RunDirectory.open(searched, "search").space_path)
        groups = [(group.name, group.repeat) for group in space.groups]
    rows = describe_choices(spec, groups)
    cells = []
    for row in rows:
        # What a bypassed group chose beside its channels has no effect.
        chosen = ["bypassed", "", "", ""]
        if row["kernel"]:
            expansion = "-" if row["expansion"] is None else f"{row['expansion']:g}"
            chosen = [str(row["kernel"]), row["activation"], str(row["splits"] or "-"), expansion]
        cells.append([row["group"], *chosen, str(row["channels"]), str(row["blocks"]), f"{row['macs']:,}"])
    cells.append(["total", *[""] * 6, f"{sum(row['macs'] for row in rows):,}"])
    columns = ["group", *VARIABLES, "blocks", "MACs"]
    print_table(_title(spec.name, spec.input_size), columns, cells, words=3)


def _title(name: str, input_size: int) -> str:
    return f"{name} at {input_size} pixels"


def show_selection(document: dict[str, Any]) -> None:
    """The candidates, best first."""
    title = f"best first, by images held out of short trainings in {document['output']}"
    columns = ["candidate", "MACs", "params", "cross-entropy", "top-1"]
    rows = [
        [candidate["network"], *(_text(name, candidate[name]) for name in ("macs", "params", "cross_entropy", "top1"))]
        for candidate in document["candidates"]
    ]
    print_table(title, columns, rows)


def show_predictions(document: list[dict[str, Any]]) -> None:
    """The most probable class of every image."""
    rows = [[row["image"], row["class"], f"{100 * row['probability']:.1f}%"] for row in document]
    print_table("", ["image", "class", "probability"], rows, words=2)
