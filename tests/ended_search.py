"""Run by `torchrun`, or called by a test: a search that a callback ends after its fifth step.

Each process writes, beside the run, how many steps its result has and what its callback was shown.
"""

import json
import sys
from pathlib import Path
from typing import Any

import fpnas
from fpnas.launcher import rank

LIGHT: dict[str, Any] = {"max_images": 300, "epochs": 2, "warmup_epochs": 0, "batch_size": 20, "quiet": True}


def search_to(folder: Path) -> None:
    """The search, written to `run` in a folder."""
    shown: list[tuple[str, int]] = []

    def end(moment: fpnas.Moment) -> bool:
        shown.append((moment.kind, moment.step))
        return moment.step == 5

    result = fpnas.search("tiny", "digits", target_macs="60k", output=folder / "run", callbacks=[end], **LIGHT)
    (folder / f"shown{rank()}.json").write_text(json.dumps([result.steps, shown]))


if __name__ == "__main__":
    search_to(Path(sys.argv[1]))
