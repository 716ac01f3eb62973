"""Checkpoints: what a run needs to go on as if it had never stopped.

A file holds one document of tensors and plain values, is written whole or not at all, and is read without unpickling
anything else. Its name ends with the digest of its bytes, because PyTorch's reader does not notice flipped ones.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fpnas.errors import first_line
from fpnas.files import write_bytes_atomic
from fpnas.version import __version__

__all__ = ["CHECKPOINT_FORMAT", "Checkpoint", "Checkpoints"]

CHECKPOINT_FORMAT = "fpnas.checkpoint/1"
_KEPT = 2
_NAME = re.compile(r"step-(\d{8,})-([0-9a-f]{16})\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` steps, and its state: tensors and plain values by name."""

    step: int
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; the last two are kept, and the best.

    Args:
        folder: theirs alone, but for files of other names.
        kind: of the run, `search` or `train`.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._best: dict[str, float] | None = None
        self._unusable: set[Path] = set()

    def save(self, step: int, state: Mapping[str, Any], score: float | None = None) -> Path:
        """Write a checkpoint, then drop those that are not kept any more.

        Args:
            step: steps that are done.
            state: tensors and plain values, nested in dictionaries and lists.
            score: what makes one checkpoint better than another, where that is known.

        Raises:
            UserError: the place cannot be written, a full disk included; what was there before still is.
        """
        if score is not None and (self._best is None or score > self._best["score"]):
            self._best = {"score": score, "step": step}
        buffer = io.BytesIO()
        document = {
            "format": CHECKPOINT_FORMAT,
            "fpnas": __version__,
            "kind": self._kind,
            "step": step,
            "best": self._best,
            "state": dict(state),
        }
        torch.save(document, buffer)
        content = buffer.getbuffer()
        path = self._folder / f"step-{step:08}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
        write_bytes_atomic(path, content)
        kept = [path, *(other for other in self._paths() if other != path and other not in self._unusable)][:_KEPT]
        for other in self._paths():
            if other not in kept and not (self._best and _step(other) == self._best["step"]):
                other.unlink(missing_ok=True)
        return path

    def whole(self, skipped: list[str]) -> Iterator[Checkpoint]:
        """The checkpoints that are whole, newest first; for every other, `skipped` receives why it is not."""
        for path in self._paths():
            try:
                document = self._read(path)
            except _Unusable as reason:
                skipped.append(f"{path.name}: {reason}")
                self._unusable.add(path)
                continue
            self._best = document["best"]
            yield Checkpoint(document["step"], document["state"])

    def clear_unfinished(self) -> None:
        """Remove what writes left that were cut off; only for who knows that no one else is writing."""
        for path in self._folder.glob(".*"):
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted((p for p in self._folder.glob("step-*.pt") if _NAME.fullmatch(p.name)), key=_step, reverse=True)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _Unusable(f"cannot be read: {error.strerror}") from None
        if not path.stem.endswith(hashlib.sha256(content).hexdigest()[:16]):
            raise _Unusable("damaged, its digest is another")
        try:
            document = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:
            # Whatever PyTorch says of a file that it cannot read: the checkpoint before this one serves.
            raise _Unusable(f"cannot be read: {first_line(error)}") from None
        form = document.get("format") if isinstance(document, dict) else None
        if form != CHECKPOINT_FORMAT:
            raise _Unusable(f"format {form!r}: {CHECKPOINT_FORMAT} is read by this version")
        if document.get("kind") != self._kind:
            raise _Unusable(f"of a {document.get('kind')} run")
        if not isinstance(document.get("state"), dict) or document.get("step") != _step(path):
            raise _Unusable("incomplete")
        return document


class _Unusable(Exception):
    """Why a file is no checkpoint to go on from."""


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match, path
    return int(match[1])
