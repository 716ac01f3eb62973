"""A training's mistakes as they are shown."""

import re
from pathlib import Path

from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.report.charts import Chart, chart_text, heat_map, short
from fpnas.training.mistakes import Mistakes, WrongImage

__all__ = ["confusion_chart", "read_mistakes"]

_CELLS = ((12, 34, 24), (30, 26, 24), (100, 14, 12))
"""Height and least width of a cell in pixels, by the most classes they are for."""
_MOST_LABELLED = 30
_AROUND = 100

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def read_mistakes(path: Path) -> Mistakes | None:
    """What a training wrote of its mistakes; None where there is no such file.

    Raises:
        UserError: a broken file.
    """
    if not path.is_file():
        return None
    content = read_json(path, "mistakes")
    try:
        worst = tuple(
            WrongImage(
                int(row["index"]), str(row["label"]), str(row["taken_for"]), float(row["probability"]), str(row["png"])
            )
            for row in content["worst"]
        )
        confusion = [[int(count) for count in row] for row in content["confusion"]]
        names = tuple(map(str, content["class_names"]))
        if confusion and {len(names)} != {len(confusion), *map(len, confusion)}:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(f"mistakes {path}: not what a training writes; leave it out to report the rest") from None
    if not all(_BASE64.fullmatch(image.png) for image in worst):
        raise UserError(f"mistakes {path}: an image is not base64; leave it out to report the rest")
    return Mistakes(names, confusion, worst)


def confusion_chart(mistakes: Mistakes, images: str) -> Chart:
    """A heat map: what the images of each class are taken for, in percent of it; the title calls them `images`."""
    names = mistakes.class_names
    places = list(range(len(names)))
    shares = [[100 * count / max(1, sum(row)) for count in row] for row in mistakes.confusion]
    off = sorted(
        (
            (share, names[true], names[said])
            for true, row in enumerate(shares)
            for said, share in enumerate(row)
            if true != said and share
        ),
        reverse=True,
    )[:3]
    confused = "; ".join(f"{share:.1f}% of {true} are taken for {other}" for share, true, other in off)
    height, width = next(sizes for most, *sizes in _CELLS if len(names) <= most)
    labelled = len(names) <= _MOST_LABELLED
    ticks = {"tickvals": places, "ticktext": [chart_text(short(name, 16)) for name in names], "showgrid": False}
    return Chart(
        f"Confusion matrix: of the {images} of each class (row), the percentage taken for each class (column)",
        f"Most often: {confused}." if off else f"All {images} are taken for what they are.",
        [
            heat_map(
                shares,
                100,
                "% of the class",
                x=places,
                y=places,
                text=[[_in_cell(share) if labelled else "" for share in row] for row in shares],
                customdata=[[[chart_text(true), chart_text(said)] for said in names] for true in names],
                hovertemplate="%{customdata[0]} taken for %{customdata[1]}: %{z:.1f}%<extra></extra>",
            )
        ],
        {
            "xaxis": {
                "title": {"text": "taken for"},
                "zeroline": False,
                "tickangle": -45 if max(map(len, names)) > 3 else 0,
                **ticks,
            },
            "yaxis": {"title": {"text": "class of the image"}, "zeroline": False, "autorange": "reversed", **ticks},
            "hovermode": "closest",
        },
        height=height * len(names) + 2 * _AROUND,
        least_width=width * len(names) + _AROUND,
        most_width=2 * height * len(names) + _AROUND,
    )


def _in_cell(share: float) -> str:
    """Whole percent; a share that rounds to none is still one."""
    return "" if share == 0 else f"{share:.0f}" if share >= 0.5 else "&lt;1"
