"""Exported files against PyTorch, in what runs them; nothing is left where they disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_line import answer
from finished_runs import copied
from PIL import Image
from refusals import tree

from fpnas import export
from fpnas.errors import UserError
from fpnas.export import export_model
from fpnas.model_folder import TrainedModel, load, save_model
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import build_network
from fpnas.onnx_model import PREPROCESSING_KEY, load_onnx
from fpnas.predict import evaluate_model, predict_images
from fpnas.training.load import load_data


def logits_of(file: Path, images: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == "images" and given.shape[1:] == list(images.shape[1:])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    return logits


def assert_parity(run: Path, file: Path) -> None:
    model = load(run).network
    for batch in (1, 5):
        images = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = model(images).numpy()
        assert np.abs(logits_of(file, images) - expected).max() <= 1e-4


def test_parity_with_a_trained_run(train_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tree(train_run)
    exported = export_model(train_run, tmp_path / "model.onnx")
    assert tree(train_run) == before
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert exported.path == tmp_path / "model.onnx" and exported.bytes == exported.path.stat().st_size
    assert exported.largest_difference <= 1e-4
    onnx.checker.check_model(str(exported.path), full_check=True)
    assert_parity(train_run, exported.path)


def test_the_difference_is_judged_by_the_size_of_the_logits(train_run: Path, tmp_path: Path) -> None:
    """A training of a few steps can end with logits of any size, whose rounding is no disagreement."""
    run = copied(train_run, tmp_path)
    model = load(run)
    with torch.no_grad():
        model.network.classifier.weight.mul_(1e9)
    save_model(run, model)
    assert export_model(run, tmp_path / "model.onnx").largest_difference <= 1e-4


def with_fresh_weights(run: Path, spec: NetworkSpec) -> Path:
    """The run's network changed, with weights as before a training but for statistics that matter."""
    torch.manual_seed(0)
    model = build_network(spec).train()
    with torch.no_grad():
        model(torch.randn(64, 1, 8, 8) * 2 + 1)
    save_model(run, TrainedModel(model, load(run).preprocess))
    return run


@pytest.mark.parametrize("activation", ["relu", "swish", "hswish"])
def test_every_activation_and_attention(train_run: Path, tmp_path: Path, activation: str) -> None:
    run = copied(train_run, tmp_path)
    spec = load_network(run / "network.json")
    splits = (0, 1, 2, 4)
    blocks = tuple(
        replace(block, activation=activation, kernel=block.kernel or 3, splits=splits[index % 4])
        for index, block in enumerate(spec.blocks)
    )
    assert {block.splits for block in blocks} == set(splits)
    changed = replace(
        spec,
        blocks=blocks,
        stem=replace(spec.stem, activation=activation),
        head=replace(spec.head, activation=activation),
        gate="hard_sigmoid" if activation == "hswish" else "sigmoid",
    )
    file = export_model(with_fresh_weights(run, changed), tmp_path / "model.onnx").path
    assert_parity(run, file)


def test_nothing_is_written_when_they_disagree(
    train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    monkeypatch.setattr(export, "_compare", lambda *_: export._Compared(1e-9, 100.0, None, None))
    with pytest.raises(RuntimeError, match="differs from PyTorch by 1e-09"):
        export_model(train_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_exported(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    model = load(run)
    with torch.no_grad():
        model.network.classifier.weight[0] = torch.nan
    save_model(run, model)
    with pytest.raises(RuntimeError, match="nan"):
        export_model(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_cannot_be_exported(train_run: Path, search_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        export_model(search_run, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="is not a folder"):
        export_model(train_run, tmp_path / "absent" / "model.onnx")
    with pytest.raises(UserError, match="model"):
        (tmp_path / "model").mkdir()
        export_model(train_run, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_images_of_the_training_are_compared(train_run: Path, tmp_path: Path) -> None:
    exported = export_model(train_run, tmp_path / "model.onnx")
    data = load_data("digits", parts=("test",))
    assert data.test is not None and exported.images == len(data.test)
    assert exported.same_top1 == pytest.approx(100) and exported.top1 == exported.pytorch_top1
    assert exported.top1 == pytest.approx(evaluate_model(train_run, "digits", workers=0).top1)
    assert exported.latency_ms is not None and exported.latency_ms > 0


def test_a_folder_without_a_run_is_compared_on_random_images(train_run: Path, tmp_path: Path) -> None:
    folder = export_model(train_run, tmp_path / "folder", "folder").path
    files = ["README.md", "config.json", "model.safetensors", "network.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    exported = export_model(folder, tmp_path / "model.onnx")
    assert exported.top1 is None and exported.largest_difference <= 1e-4
    with pytest.raises(UserError, match="--data"):
        export_model(folder, tmp_path / "int8.onnx", "onnx-int8")
    assert export_model(folder, tmp_path / "int8.onnx", "onnx-int8", data="digits", workers=0).top1 is not None
    with pytest.raises(UserError, match="holds other files"):
        export_model(train_run, folder, "folder")


def test_a_program_of_torch_export(train_run: Path, tmp_path: Path) -> None:
    exported = export_model(train_run, tmp_path / "model.pt2", "torch")
    program = torch.export.load(tmp_path / "model.pt2").module()
    model = load(train_run)
    for batch in (1, 7):
        images = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            torch.testing.assert_close(program(images), model(images), rtol=0, atol=1e-4)
    assert exported.same_top1 == pytest.approx(100) and exported.bytes == exported.path.stat().st_size


def test_int8(train_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    exported = export_model(train_run, tmp_path / "int8.onnx", "onnx-int8")
    assert capfd.readouterr() == ("", "")
    graph = onnx.load(exported.path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    sources = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        weight = sources[node.input[1]]
        assert weight.op_type == "DequantizeLinear"
        assert stored[weight.input[0]].data_type == onnx.TensorProto.INT8
    # A network of seconds; what real ones lose is measured apart.
    assert exported.top1 is not None and exported.pytorch_top1 is not None
    assert exported.top1 > exported.pytorch_top1 - 5
    assert evaluate_model(exported.path, "digits", workers=0).top1 == pytest.approx(exported.top1)


def test_an_onnx_file_predicts_as_the_model_does(train_run: Path, tmp_path: Path) -> None:
    file = export_model(train_run, tmp_path / "model.onnx").path
    data = load_data("digits", parts=("test",))
    assert data.test is not None
    paths = []
    for index in range(5):
        paths.append(tmp_path / f"image {index} ü.png")
        Image.fromarray(data.test.batch(torch.tensor([index]))[0, 0].numpy()).save(paths[-1])
    for given, expected in zip(predict_images(file, paths), predict_images(train_run, paths), strict=True):
        assert (given.image, given.label) == (expected.image, expected.label)
        assert given.probability == pytest.approx(expected.probability, abs=1e-4)


def test_onnx_files_that_cannot_be_used(train_run: Path, tmp_path: Path) -> None:
    whole = export_model(train_run, tmp_path / "model.onnx").path.read_bytes()
    broken, foreign = tmp_path / "broken.onnx", tmp_path / "foreign.onnx"
    broken.write_bytes(whole[: len(whole) // 2])
    content = onnx.load_from_string(whole)
    del content.metadata_props[:]
    foreign.write_bytes(content.SerializeToString())
    for path, message in ((broken, "cannot be read"), (foreign, "no preprocessing"), (tmp_path / "no.onnx", "no such")):
        with pytest.raises(UserError, match=message) as error:
            load_onnx(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    for text in ("{", "[]", "{}"):
        onnx.helper.set_model_props(content, {PREPROCESSING_KEY: text})
        foreign.write_bytes(content.SerializeToString())
        with pytest.raises(UserError):
            load_onnx(foreign)


def test_what_a_format_leaves_unmeasured_is_a_dash_in_the_table(
    train_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = answer(capfd, "export", train_run, "--format", "folder", "--output", tmp_path / "model")
    figures = dict(line.rsplit(maxsplit=1) for line in table.splitlines() if len(line.split()) > 1)
    assert {name.strip(): value for name, value in figures.items()}["latency ms"] == "-"
