"""A trained model in the formats of others, each checked against PyTorch before the file gets its name."""

import io
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpnas.errors import UserError, quietly
from fpnas.export_images import calibration_batches, images_for_export, random_images
from fpnas.files import (
    check_output_file,
    check_output_place,
    read_text,
    what_is_at,
    write_bytes_atomic,
    write_text_atomic,
)
from fpnas.int8 import quantised
from fpnas.model_folder import CARD_NAME, TrainedModel, check_finite, load, save_model
from fpnas.onnx_model import PREPROCESSING_KEY, median_latency, open_session
from fpnas.run_options import EXPORT_FORMATS
from fpnas.runtime.run_directory import RunDirectory

__all__ = ["Exported", "export_model"]

TOLERANCE = 1e-4
_BATCHES = (1, 16)
_OPSET = 18


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with PyTorch.

    Attributes:
        path: the file, or the folder.
        format: as `export_model` takes it.
        bytes: size of the weights and what comes with them.
        images: compared on: test images where data were at hand, else random ones, which have no accuracies.
        largest_difference: of a logit. Where logits are larger than 1, relative to the largest of them: float32 knows
            no better.
        same_top1: percent of the images whose class is the same.
        top1, pytorch_top1: accuracies in percent of those images, where they are test images.
        latency_ms: median for one image in ONNX Runtime with one thread; None for other formats.
    """

    path: Path
    format: str
    bytes: int
    images: int
    largest_difference: float
    same_top1: float
    top1: float | None = None
    pytorch_top1: float | None = None
    latency_ms: float | None = None


def export_model(
    source: str | os.PathLike[str], output: Path, format: str = "onnx", *, data: str | None = None, workers: int = 2
) -> Exported:
    """Write a trained model in another format.

    Inputs of all: normalised float32 images (B, C, H, W), any B; outputs: logits (B, classes).

    Args:
        source: a model folder, or the run directory of a training.
        output: the file to write; for `folder`, a new folder.
        format: `onnx`; `onnx-int8`, quantised statically by training images; `torch`, a program of `torch.export`;
            `folder`, the model folder alone, without what else a run holds.
        data: by whose test images it is compared, and by whose training images it is quantised. When left out, those
            of the run; where it has none, or they are gone, and for `folder`, it is compared on random images.
        workers: threads that load images.

    Raises:
        UserError: no trained model, weights that are not finite, a place that cannot be written, int8 without images.
        RuntimeError: it differs from PyTorch by more than 1e-4 (int8 aside); nothing is written then.
    """
    if format not in EXPORT_FORMATS:
        raise UserError(f"--format {format}: one of {', '.join(EXPORT_FORMATS)} is accepted")
    model = load(source)
    check_finite(model, source)
    if format == "folder":
        check_output_place(output)
        RunDirectory.check_free(output)
        images, labels = random_images(model), None
        if data is not None:
            _, images, labels = images_for_export(source, model, data, workers)
        return _write_folder(Path(source), model, output, images, labels)
    check_output_file(output)
    dataset, images, labels = images_for_export(source, model, data, workers, needs_training=format == "onnx-int8")
    # Two images: a batch of one would be taken for a constant.
    example = images[:1].expand(2, -1, -1, -1).contiguous()
    if format == "torch":
        content = _to_program(model, example)
        function = _program(content)
    else:
        content = _to_onnx(model, example)
        if format == "onnx-int8":
            assert dataset is not None
            content = quantised(content, calibration_batches(model, dataset, workers))
        function = _session(content)
    compared = _compare(model, function, images, labels)
    _check_parity(format, compared)
    write_bytes_atomic(output, content)
    latency = None if format == "torch" else median_latency(content, images[:1])
    return Exported(output, format, len(content), len(images), *compared.figures, latency)


@dataclass(frozen=True)
class _Compared:
    largest_difference: float
    same_top1: float
    top1: float | None
    pytorch_top1: float | None

    @property
    def figures(self) -> tuple[float, float, float | None, float | None]:
        return self.largest_difference, self.same_top1, self.top1, self.pytorch_top1


def _check_parity(format: str, compared: _Compared) -> None:
    difference = compared.largest_difference
    # A NaN is no agreement.
    if not (math.isfinite(difference) if format == "onnx-int8" else difference <= TOLERANCE):
        raise RuntimeError(f"{format}: differs from PyTorch by {difference:g}, more than {TOLERANCE:g}")


@torch.no_grad()
def _compare(
    model: TrainedModel, function: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor | None
) -> _Compared:
    """A function against the model: on all images by batches, and on some one by one."""
    batches = [*images.split(_BATCHES[1]), *images[: _BATCHES[1]].split(_BATCHES[0])]
    largest, same, hits, expected_hits = 0.0, 0, 0, 0
    for number, batch in enumerate(batches):
        given, expected = function(batch), model(batch)
        difference = (given - expected).abs().max() / expected.abs().max().clamp(min=1)
        # NumPy's maximum keeps a NaN, where Python's depends on the order.
        largest = float(np.maximum(largest, difference.item()))
        if number * _BATCHES[1] < len(images):
            same += int((given.argmax(1) == expected.argmax(1)).sum())
            if labels is not None:
                wanted = labels[number * _BATCHES[1] :][: len(batch)]
                hits += int((given.argmax(1) == wanted).sum())
                expected_hits += int((expected.argmax(1) == wanted).sum())
    total = len(images)
    if labels is None:
        return _Compared(largest, 100 * same / total, None, None)
    return _Compared(largest, 100 * same / total, 100 * hits / total, 100 * expected_hits / total)


def _to_onnx(model: TrainedModel, example: Tensor) -> bytes:
    """The model as the bytes of an ONNX file, its weights and preprocessing inside."""
    import onnx

    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            model.network,
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
        content = onnx.load(path)
    text = json.dumps(model.preprocess.to_json(), ensure_ascii=False)
    onnx.helper.set_model_props(content, {PREPROCESSING_KEY: text})
    _strip(content)
    return content.SerializeToString()


def _strip(content: Any) -> None:
    """Remove the traces of how the exporter came to each node, which take more room than small weights."""
    graph = content.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        del part.metadata_props[:]
        part.doc_string = ""


def _session(content: bytes) -> Callable[[Tensor], Tensor]:
    session = open_session(content)
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _to_program(model: TrainedModel, example: Tensor) -> bytes:
    """The model as the bytes of a file of `torch.export`."""
    with quietly():
        program = torch.export.export(
            model.network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )
        file = io.BytesIO()
        text = json.dumps(model.preprocess.to_json(), ensure_ascii=False)
        torch.export.save(program, file, extra_files={f"{PREPROCESSING_KEY}.json": text})
    return file.getvalue()


def _program(content: bytes) -> Callable[[Tensor], Tensor]:
    with quietly():
        return torch.export.load(io.BytesIO(content)).module()


def _write_folder(source: Path, model: TrainedModel, output: Path, images: Tensor, labels: Tensor | None) -> Exported:
    """A model folder of its own; the card comes along."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".exported.", dir=output.parent)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror}") from None
    with scratch as path:
        folder = Path(path) / "model"
        folder.mkdir()
        save_model(folder, model)
        card = source / CARD_NAME
        if what_is_at(card, "model card") == "file":
            write_text_atomic(folder / card.name, read_text(card, "model card"))
        compared = _compare(model, load(folder), images, labels)
        _check_parity("folder", compared)
        size = sum(path.stat().st_size for path in folder.iterdir())
        try:
            folder.replace(output)
        except OSError as error:
            raise UserError(f"--output {output}: cannot be written: {error.strerror}") from None
    return Exported(output, "folder", size, len(images), *compared.figures)
