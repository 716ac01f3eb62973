"""A trained run as an ONNX file, checked against PyTorch in ONNX Runtime before it gets its name."""

import contextlib
import io
import logging
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fpnas.errors import UserError
from fpnas.files import write_bytes_atomic
from fpnas.predict import load_trained_run

__all__ = ["Exported", "export_onnx"]

TOLERANCE = 1e-4
_CHECKED_BATCHES = (1, 16)
_OPSET = 18


@dataclass(frozen=True)
class Exported:
    """The file, its size in bytes, and the largest difference of a logit between ONNX Runtime and PyTorch.

    Where logits are larger than 1, the difference is relative to the largest of them: float32 knows no better.
    """

    path: Path
    bytes: int
    largest_difference: float


def export_onnx(run: str | os.PathLike[str], output: Path) -> Exported:
    """Write a trained network as ONNX with a dynamic batch size.

    Input `images`: normalised float32 (B, C, H, W); output `logits` (B, classes).

    Args:
        run: directory of a training.
        output: the file to write.

    Raises:
        UserError: a run that was not trained, or a place that cannot be written.
        RuntimeError: ONNX Runtime and PyTorch disagree by more than 1e-4; nothing is written then.
    """
    trained = load_trained_run(run)
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: {output.parent} is not a folder")
    spec = trained.model.spec
    shape = (spec.in_channels, spec.input_size, spec.input_size)
    generator = torch.Generator().manual_seed(0)
    data = _to_onnx(trained.model, torch.randn(2, *shape, generator=generator))
    differences = [
        _difference(trained.model, data, torch.randn(batch, *shape, generator=generator)) for batch in _CHECKED_BATCHES
    ]
    # NumPy's maximum keeps a NaN, where Python's depends on the order: logits that are no numbers are no agreement.
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:
        raise RuntimeError(f"ONNX Runtime differs from PyTorch by {largest:g}, more than {TOLERANCE:g}")
    write_bytes_atomic(output, data)
    return Exported(output, len(data), largest)


def _to_onnx(model: torch.nn.Module, example: torch.Tensor) -> bytes:
    """The model as the bytes of an ONNX file, its weights inside."""
    # The exporter reports its passes on standard output and through loggers; only failures are of interest.
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                torch.onnx.export(
                    model,
                    (example,),
                    path,
                    input_names=["images"],
                    output_names=["logits"],
                    dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                    opset_version=_OPSET,
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
            return path.read_bytes()
    finally:
        logging.disable(level)


def _difference(model: torch.nn.Module, data: bytes, images: torch.Tensor) -> float:
    """Largest difference of a logit between the ONNX file and the model, as `Exported` has it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        expected = model(images).numpy()
    return float(np.abs(logits - expected).max() / max(1.0, np.abs(expected).max()))
