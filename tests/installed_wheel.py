"""What the package can do where its wheel is installed, with what it depends on alone.

    python -I tests/installed_wheel.py          # all of it
    python -I tests/installed_wheel.py brief    # without the slow export to ONNX

The Python that runs it has the wheel; neither the source tree nor the tools of development are looked at.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fpnas
from fpnas.cli import main

DEVELOPMENT = ("build", "hypothesis", "matplotlib", "mypy", "pytest", "ruff", "shtab", "xdist")
SMALL = ["--batch-size=16", "--epochs=1", "--threads=1", "--workers=0", "--device=cpu"]
DIGITS = ["--data=digits", "--max-images=100", *SMALL]


def answer(*arguments: str) -> str:
    """Standard output of a command that succeeds."""
    printed = io.StringIO()
    begin = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        code = main(arguments)
    assert code == 0, f"fpnas {' '.join(arguments)}: exit code {code}"
    print(f"fpnas {' '.join(arguments)}: {time.perf_counter() - begin:.1f} s", flush=True)
    return printed.getvalue()


def document(*arguments: str) -> Any:
    """What a command prints with --json."""
    return json.loads(answer(*arguments, "--json"))


def write_pictures() -> None:
    """Class folders with color pictures of two kinds."""
    from PIL import Image

    for part, number in (("train", 16), ("val", 2)):
        for name, color in (("dark", 20), ("light", 200)):
            folder = Path("pictures") / part / name
            folder.mkdir(parents=True)
            for index in range(number):
                Image.new("RGB", (12, 12), (color, color + index, color)).save(folder / f"{index}.png")


def check(brief: bool) -> None:
    """Every command once, in the working directory."""
    package = Path(fpnas.__file__).parent
    assert package.parent != Path(__file__).resolve().parents[1] / "src", f"{package} is the source tree"
    print(f"fpnas {fpnas.__version__} of {package}")
    assert len(document("spaces")) == 11
    assert document("cost", "fbnetv2-f1")["macs"] == 56_410_560
    assert "weight_decay" in answer(
        "train", "x", "--config=fp-nas-s1-train", "--data=x", "--output=x", "--print_config"
    )

    found = document(
        "search", "--space=tiny", "--target-macs=0.3M", "--architecture-batch-size=16", "--output=s", *DIGITS
    )
    assert 0 < found["macs"] <= 300_000
    assert document("derive", "s", "--target-macs=0.2M", "--output=small.json")["macs"] <= 200_000
    trained = document("train", "s/network.json", "--output=t", *DIGITS)
    assert trained["macs"] == found["macs"]
    assert document("evaluate", "t", "--data=digits")["images"] > 100
    answer("report", "s", "t", "--output=report.html")
    styles = (package / "report" / "page.css").read_text()
    assert all(styles in Path(page).read_text() for page in ("report.html", "s/report.html", "t/report.html"))

    write_pictures()
    model = fpnas.load("t")
    logits = model(model.preprocess("pictures/val/dark/0.png"))
    assert logits.shape == (1, 10)
    (predicted,) = document("predict", "t", "pictures/val/dark/0.png")
    assert predicted["class"] == model.class_names[int(logits.argmax())]
    answer("export", "t", "--format=folder", "--output=model")
    if not brief:
        answer("export", "model", "--format=onnx", "--output=model.onnx")
        assert document("predict", "model.onnx", "pictures/val/dark/0.png")[0]["class"] == predicted["class"]

    answer("train", "model", "--data=pictures", "--output=other", "--learning-rate=0.02", *SMALL)
    assert fpnas.load("other").class_names == ("dark", "light")
    imported = [name for name in DEVELOPMENT if name in sys.modules]
    assert not imported, f"imported beside what it depends on: {imported}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check(brief=sys.argv[1:2] == ["brief"])
        os.chdir("/")
