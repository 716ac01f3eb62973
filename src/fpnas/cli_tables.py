"""The answers of the command line as tables for people; with `--json` none of this is used."""

from itertools import pairwise
from typing import Any

from fpnas.quantities import format_quantity

__all__ = ["show_cost", "show_figures", "show_predictions", "show_space", "show_spaces"]


def _print_table(title: str, columns: list[str], rows: list[list[str]], words: int = 1) -> None:
    """Print a table whose first `words` columns are words and the others numbers."""
    # Rich takes a tenth of a second to import, too much for --help.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE, padding=0)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    # A file or a pipe has no width: nothing is folded there.
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("macs", "params", "weights", "bytes") and isinstance(value, int):
        return f"{value:,}"
    if name in ("top1", "top5", "supernet_top1"):
        return f"{value:.2f}%"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _approximate(digits: str) -> str:
    return digits if len(digits) <= 6 else f"{int(digits):.2e}"


def show_figures(document: dict[str, Any]) -> None:
    """Names and values, one a line."""
    _print_table(
        "", ["", "value"], [[name.replace("_", " "), _text(name, value)] for name, value in document.items()], words=2
    )


def show_spaces(document: list[dict[str, Any]]) -> None:
    """One row for every space."""
    columns = ["space", "groups", "blocks", "architectures", "entropy, nats", "start K"]
    columns += ["input", "MACs min", "median", "max"]
    rows = [
        [
            space["name"],
            str(space["groups"]),
            str(space["blocks"]),
            _approximate(space["architectures"]),
            f"{space['entropy_nats']:.2f}",
            str(space["initial_samples"]),
            str(space["input_size"]),
            *(format_quantity(space["macs"][name]) for name in ("min", "median", "max")),
        ]
        for space in document
    ]
    _print_table("", columns, rows)


def show_space(document: dict[str, Any]) -> None:
    """A space's figures, then its rows with their choices."""
    variables = ("kernel", "activation", "splits", "expansion", "channels")
    rows = [
        [row["name"], str(row["repeat"]), str(row["stride"])] + [_values(row[variable]) for variable in variables]
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
    _print_table("", ["group", "repeat", "stride", *variables], rows, words=8)


def _values(values: list[Any]) -> str:
    """The values of a choice; evenly spaced ones as `low..high by step`."""
    if len(values) > 3 and all(isinstance(value, int | float) for value in values):
        step = values[1] - values[0]
        if all(abs(after - before - step) < 1e-9 for before, after in pairwise(values)):
            return f"{values[0]:g}..{values[-1]:g} by {step:g}"
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def show_cost(document: dict[str, Any]) -> None:
    """A row for every part of a network, then the totals."""
    columns = [
        "part",
        "kind",
        "kernel",
        "stride",
        "activation",
        "splits",
        "widths",
        "size",
        "MACs",
        "weights",
        "params",
    ]
    rows = []
    for part in document["blocks"]:
        widths = [part["in_channels"], part["hidden"], part["channels"]]
        rows.append(
            [
                part["name"].removeprefix("block "),
                part["kind"],
                str(part["kernel"] or "-"),
                str(part["stride"]),
                part["activation"] or "-",
                str(part["splits"] or "-"),
                "-".join(str(width) for width in widths if width is not None),
                f"{part['in_size']}-{part['out_size']}",
                *(f"{part[column]:,}" for column in ("macs", "weights", "params")),
            ]
        )
    rows.append(["total", *[""] * 7, *(f"{document[column]:,}" for column in ("macs", "weights", "params"))])
    _print_table(f"{document['name']} at {document['input_size']} pixels", columns, rows, words=2)


def show_predictions(document: list[dict[str, Any]]) -> None:
    """The most probable class of every image."""
    rows = [[row["image"], row["class"], f"{100 * row['probability']:.1f}%"] for row in document]
    _print_table("", ["image", "class", "probability"], rows, words=2)
