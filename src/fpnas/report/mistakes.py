"""A training's mistakes as they are shown."""

import re
from html import escape
from pathlib import Path

from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.report.charts import Chart
from fpnas.training.mistakes import Mistakes, WrongImage

__all__ = ["confusion_chart", "read_mistakes"]

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def read_mistakes(run: Path) -> Mistakes | None:
    """What a training wrote of its mistakes; None where there is no such file.

    Raises:
        UserError: a broken file.
    """
    path = run / "mistakes.json"
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
    except (KeyError, TypeError, ValueError):
        raise UserError(f"mistakes {path}: not what a training writes; leave it out to report the rest") from None
    if not all(_BASE64.fullmatch(image.png) for image in worst):
        raise UserError(f"mistakes {path}: an image is not base64; leave it out to report the rest")
    return Mistakes(names, confusion, worst)


def confusion_chart(mistakes: Mistakes) -> Chart:
    """A heat map: what the images of each class are taken for, in percent of the class."""
    names = [escape(name) for name in mistakes.class_names]
    shares = [[100 * count / max(1, sum(row)) for count in row] for row in mistakes.confusion]
    off = sorted(
        (
            (share, mistakes.class_names[true], mistakes.class_names[said])
            for true, row in enumerate(shares)
            for said, share in enumerate(row)
            if true != said
        ),
        reverse=True,
    )[:3]
    said = "; ".join(f"{share:.1f}% of {true} are taken for {other}" for share, true, other in off)
    return Chart(
        "What is taken for what: of the test images of each class (row), the share that each class (column) is said of",
        f"Most often: {said}." if said else "Too many classes to show.",
        [
            {
                "type": "heatmap",
                "x": names,
                "y": names,
                "z": shares,
                "zmin": 0,
                "zmax": 100,
                "colorscale": "Cividis",
                "hovertemplate": "%{y} taken for %{x}: %{z:.1f}%<extra></extra>",
                "colorbar": {"title": {"text": "%"}},
            }
        ],
        {
            "xaxis": {"title": {"text": "said"}, "type": "category"},
            "yaxis": {"title": {"text": "is"}, "autorange": "reversed", "type": "category"},
            "hovermode": "closest",
        },
    )
