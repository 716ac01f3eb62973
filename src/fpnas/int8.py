"""Eight-bit ONNX files: weights per channel and activations per tensor, their ranges measured on training images."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fpnas.errors import quietly

if TYPE_CHECKING:
    import onnx

__all__ = ["quantised"]


def quantised(content: bytes, batches: Iterator[np.ndarray]) -> bytes:
    """An ONNX file quantised statically.

    Args:
        content: the file, with an input `images`.
        batches: normalised images (B, C, H, W) that the ranges of activations are measured on.

    Returns:
        The quantised file, with the metadata of the other.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as folder, quietly():
        given, prepared, written = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "written"))
        given.write_bytes(content)
        quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(written),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},
        )
        result = onnx.load(written)
    _shorten(result)
    del result.metadata_props[:]
    result.metadata_props.extend(onnx.load_from_string(content).metadata_props)
    return result.SerializeToString()


def _shorten(model: "onnx.ModelProto") -> None:
    """Leave out, in place, what takes bytes and computes nothing: names, shapes, and tensors that are there twice.

    Quantising triples the tensors of a graph. Their names, made of those of modules, would be a third of the file of a
    small network.
    """
    graph = model.graph
    new_names = {"": ""}  # of an input that is left out
    new_names |= {value.name: value.name for value in (*graph.input, *graph.output)}
    by_content: dict[bytes, str] = {}
    for tensor in graph.initializer:
        name, tensor.name = tensor.name, ""
        new_names[name] = by_content.setdefault(tensor.SerializeToString(deterministic=True), f"{len(by_content):x}")
    del graph.initializer[:]
    for content, name in by_content.items():
        tensor = graph.initializer.add()
        tensor.ParseFromString(content)
        tensor.name = name
    _rename(graph, new_names)
    del graph.value_info[:]


def _rename(graph: "onnx.GraphProto", new_names: dict[str, str]) -> None:
    """Give everything that nodes take and make a short name, in place; those of loops and branches, too.

    Args:
        graph: of a model, or of a loop or branch in it.
        new_names: by the old; what has none yet is added.
    """

    def short(name: str) -> str:
        return new_names.setdefault(name, f"{len(new_names):x}_")

    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [short(name) for name in names]
        for inner in [attribute.g for attribute in node.attribute if attribute.HasField("g")]:
            for named in (*inner.input, *inner.output, *inner.initializer):
                named.name = short(named.name)
            _rename(inner, new_names)
            del inner.value_info[:]
