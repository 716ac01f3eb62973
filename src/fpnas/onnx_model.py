"""ONNX files of trained networks, run in ONNX Runtime; what turns images into their input is written inside."""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fpnas.errors import UserError, first_line
from fpnas.files import what_is_at
from fpnas.training.preprocessing import Preprocessing

__all__ = ["PREPROCESSING_KEY", "OnnxModel", "load_onnx", "median_latency", "open_session"]

PREPROCESSING_KEY = "fpnas.preprocessing"
"""Of the file's metadata."""


class OnnxModel(nn.Module):
    """An ONNX file as a module without parameters.

    Args:
        session: of ONNX Runtime, from `images` to `logits`.
        preprocess: an image, or the path of one, to the network's input.
    """

    def __init__(self, session: Any, preprocess: Preprocessing) -> None:
        super().__init__()
        self._session = session
        self.preprocess = preprocess

    @property
    def class_names(self) -> tuple[str, ...]:
        """By the index of the logit."""
        return self.preprocess.class_names

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W)."""
        (logits,) = self._session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)


def open_session(model: str | bytes, threads: int = 0) -> Any:
    """A session on the processor; as many threads as there are cores for 0."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def load_onnx(path: Path) -> OnnxModel:
    """The model in an ONNX file that `fpnas export` wrote.

    Raises:
        UserError: missing, broken, or from elsewhere.
    """
    if what_is_at(path, "ONNX file") != "file":
        raise UserError(f"ONNX file {path}: no such file")
    try:
        session = open_session(str(path))
    except Exception as error:  # ONNX Runtime raises of its own kinds, without a common one
        raise UserError(f"ONNX file {path}: cannot be read: {first_line(error)}") from None
    text = session.get_modelmeta().custom_metadata_map.get(PREPROCESSING_KEY)
    if text is None:
        raise UserError(f"ONNX file {path}: has no preprocessing in it; one that fpnas export wrote is expected")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"ONNX file {path}: {PREPROCESSING_KEY} is not a JSON object")
    model = OnnxModel(session, Preprocessing.from_json(content, f"ONNX file {path}"))
    _check_runs(model, path)
    return model


def _check_runs(model: OnnxModel, path: Path) -> None:
    """UserError where the graph is not one of the inputs and classes that are written beside it, of any batch."""
    preprocess = model.preprocess
    shape = (2, preprocess.in_channels, preprocess.image_size, preprocess.image_size)
    try:
        logits = model(torch.zeros(shape))
    except Exception as error:  # as above; and where the inputs or outputs have other names
        raise UserError(f"ONNX file {path}: does not take what {PREPROCESSING_KEY} says: {first_line(error)}") from None
    found = tuple(logits.shape)
    if found != (2, len(preprocess.class_names)):
        raise UserError(
            f"ONNX file {path}: gives {found} for 2 images; {len(preprocess.class_names)} classes are named"
        )
    if not logits.isfinite().all():
        raise UserError(f"ONNX file {path}: what it gives for black images is not finite; are its weights?")


def median_latency(model: bytes, image: Tensor, runs: int = 100) -> float:
    """Median milliseconds of one image, shape (1, C, H, W), with one thread in ONNX Runtime."""
    session = open_session(model, threads=1)
    inputs = {"images": image.numpy()}
    seconds = []
    for _ in range(10 + runs):
        start = time.perf_counter()
        session.run(["logits"], inputs)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[10:])
