"""Exported files against PyTorch, in what runs them; nothing is left where they disagree."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_line import answer
from finished_runs import copied, network_file, train_config
from PIL import Image
from refusals import image_folder, tree

from fpnas import export, int8
from fpnas.errors import UserError
from fpnas.export import export_model
from fpnas.export_images import calibration_batches
from fpnas.model_folder import TrainedModel, load, save_model
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import build_network
from fpnas.onnx_model import PREPROCESSING_KEY, load_onnx
from fpnas.predict import evaluate_model, predict_images
from fpnas.run_options import EXPORT_FORMATS
from fpnas.train import run_train
from fpnas.training.data import ImagesInMemory
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
    for format in EXPORT_FORMATS:
        with pytest.raises(UserError, match=r"copy: tensor classifier\.weight has values that are not finite"):
            export_model(run, tmp_path / "exported", format)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize("format", ["folder", "onnx", "onnx-int8"])
def test_a_difference_that_is_no_number_is_no_agreement(
    train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(export, "_compare", lambda *_: export._Compared(math.nan, 0.0, None, None))
    with pytest.raises(RuntimeError, match=f"{format}: differs from PyTorch by nan"):
        export_model(train_run, tmp_path / "exported", format)
    assert list(tmp_path.iterdir()) == []


def test_another_format_is_refused(train_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--format tflite: one of onnx, onnx-int8, torch, folder is accepted"):
        export_model(train_run, tmp_path / "model.tflite", "tflite")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(train_run: Path, search_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        export_model(search_run, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="is not a folder"):
        export_model(train_run, tmp_path / "absent" / "model.onnx")
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="is a folder; the name of a file is accepted"):
        export_model(train_run, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_images_of_the_training_are_compared(train_run: Path, tmp_path: Path) -> None:
    exported = export_model(train_run, tmp_path / "model.onnx")
    data = load_data("digits", parts=("test",))
    assert data.test is not None and exported.images == len(data.test)
    assert exported.same_top1 == 100 and exported.top1 == exported.pytorch_top1
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
    compared = export_model(train_run, tmp_path / "compared", "folder", data="digits", workers=0)
    assert (compared.images, compared.same_top1, compared.top1) == (364, 100, compared.pytorch_top1)
    # Its configuration has the digests of the tensors, whose own file has texts in an order that varies.
    assert [(compared.path / name).read_bytes() for name in files if name != "model.safetensors"] == [
        (folder / name).read_bytes() for name in files if name != "model.safetensors"
    ]


@pytest.fixture(scope="module")
def photos_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of seconds on class folders, of which one test image cannot be read and one is whole."""
    folder = tmp_path_factory.mktemp("photos")
    images = image_folder(folder / "photos", train__cat=8, train__dog=8, val__cat=1, val__dog=1)
    (images / "val" / "dog" / "0.png").write_bytes(b"no image")
    light = {"epochs": 1, "batch_size": 8, "image_size": 8, "on_bad_image": "skip"}
    run_train(network_file(folder), train_config(folder / "run", data=str(images), **light))
    return folder / "run"


@pytest.mark.parametrize("format", ["onnx", "onnx-int8", "torch"])
def test_an_image_that_cannot_be_read_is_left_out(photos_run: Path, tmp_path: Path, format: str) -> None:
    run = copied(photos_run, tmp_path)
    config = (run / "config.yaml").read_text()
    # A run that stopped at it and went on without it still says so.
    (run / "config.yaml").write_text(config.replace("on_bad_image: skip", "on_bad_image: error"))
    exported = export_model(run, tmp_path / "exported", format, workers=0)
    assert exported.images == 1 and exported.top1 in (0, 100)


def test_a_run_whose_images_are_gone(photos_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = copied(photos_run, tmp_path)
    config = (run / "config.yaml").read_text()
    gone = str(photos_run.parent / "photos")
    (run / "config.yaml").write_text(config.replace(gone, f"{gone}-gone"))
    capfd.readouterr()
    exported = export_model(run, tmp_path / "model.onnx")
    assert (exported.images, exported.top1) == (64, None) and exported.path.is_file()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"fpnas: compared on random images: the images of {run} cannot be had: {gone}-gone: unknown")
    with pytest.raises(UserError, match=r"--format onnx-int8: .* cannot be had: .*; --data names others") as error:
        export_model(run, tmp_path / "int8.onnx", "onnx-int8")
    assert "\n" not in str(error.value) and not (tmp_path / "int8.onnx").exists()


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


def test_ranges_are_taken_from_batches_of_all_classes(train_run: Path) -> None:
    """Whatever the order of the images: here that of their classes, which their grey tells."""
    labels = torch.arange(10).repeat_interleave(150)
    images = (20 * labels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    dataset = replace(load_data("digits"), train=ImagesInMemory(images, labels))
    batches = list(calibration_batches(load(train_run), dataset, 0))
    assert len(batches) == 10 and all(len(np.unique(batch)) == 10 for batch in batches)


def test_ranges_are_taken_from_batches_of_one_size(train_run: Path) -> None:
    batches = list(calibration_batches(load(train_run), load_data("digits", max_images=101), 0))
    assert [len(batch) for batch in batches] == [51, 50]


def test_a_folder_is_not_exported_where_nothing_can_be_made(
    train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_model(train_run, tmp_path / ("long " * 51)[:255], "folder")

    def refuse(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        export_model(train_run, tmp_path / "model", "folder")


def test_an_exported_folder_may_have_any_name(train_run: Path, tmp_path: Path) -> None:
    folder = export_model(train_run, tmp_path / "model.onnx", "folder").path
    assert evaluate_model(folder, "digits").top1 == evaluate_model(train_run, "digits").top1


def test_an_int8_file_has_no_names_to_carry(train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes is the same to the bit."""
    short = export_model(train_run, tmp_path / "short.onnx", "onnx-int8").path
    monkeypatch.setattr(int8, "_shorten", lambda model: None)
    long = export_model(train_run, tmp_path / "long.onnx", "onnx-int8").path
    onnx.checker.check_model(str(short), full_check=True)
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(logits_of(short, images), logits_of(long, images))
    nodes = onnx.load(short).graph.node
    assert [node.op_type for node in nodes] == [node.op_type for node in onnx.load(long).graph.node]
    assert max(len(name) for node in nodes for name in (*node.input, *node.output)) <= len("images")
    assert short.stat().st_size < 0.7 * long.stat().st_size


def test_names_in_loops_and_branches_are_shortened_with_those_around_them() -> None:
    """Exporters of other versions write such graphs for what this one writes without."""
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    branches = {
        f"{name}_branch": make.make_graph(
            [
                make.make_node(kind, ["from around it", "a weight of its own"], ["made within"], name="a node"),
                make.make_node("Relu", ["made within"], [f"of {name}"]),
            ],
            name,
            [],
            [make.make_tensor_value_info(f"of {name}", number, [2])],
            [make.make_tensor("a weight of its own", number, [2], [1.0, -3.0])],
        )
        for name, kind in (("then", "Add"), ("else", "Mul"))
    }
    graph = make.make_graph(
        [
            make.make_node("Abs", ["images"], ["from around it"]),
            make.make_node("If", ["condition"], ["chosen"], **branches),
            make.make_node("Neg", ["chosen"], ["logits"]),
        ],
        "whole",
        [
            make.make_tensor_value_info("images", number, [2]),
            make.make_tensor_value_info("condition", onnx.TensorProto.BOOL, []),
        ],
        [make.make_tensor_value_info("logits", number, [2])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    int8._shorten(model)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.array([-2.0, 2.0], dtype=np.float32)
    for condition, expected in ((True, [-3.0, 0.0]), (False, [-2.0, 0.0])):
        (logits,) = session.run(["logits"], {"images": images, "condition": np.array(condition)})
        assert logits.tolist() == expected
    branch = next(node for node in model.graph.node if node.op_type == "If").attribute[0].g
    assert not any(node.name for node in branch.node) and len(branch.node[1].input[0]) < 5


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


ALTERED = {
    "another size": ({"input_size": [1, 16, 16]}, "does not take"),
    "other channels": ({"input_size": [3, 8, 8], "mean": [0.5] * 3, "std": [0.5] * 3}, "does not take"),
    "channels of no image": ({"input_size": [2, 8, 8], "mean": [0.5] * 2, "std": [0.5] * 2}, "1 or 3 channels"),
    "too few classes": ({"label_names": ["cat", "dog"]}, r"gives \(2, 10\) for 2 images; 2 classes are named"),
    "too many classes": ({"label_names": [str(label) for label in range(12)]}, "12 classes are named"),
}


@pytest.fixture(scope="module")
def onnx_file(train_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run as an ONNX file."""
    return export_model(train_run, tmp_path_factory.mktemp("onnx") / "model.onnx").path


@pytest.mark.parametrize("how", ALTERED)
def test_an_onnx_file_whose_metadata_are_of_another_graph(onnx_file: Path, tmp_path: Path, how: str) -> None:
    changed, message = ALTERED[how]
    content = onnx.load(onnx_file)
    settings = json.loads(content.metadata_props[0].value) | changed
    onnx.helper.set_model_props(content, {PREPROCESSING_KEY: json.dumps(settings)})
    onnx.save(content, tmp_path / "altered.onnx")
    with pytest.raises(UserError, match=message) as error:
        load_onnx(tmp_path / "altered.onnx")
    assert "altered.onnx" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["images", "logits"])
def test_an_onnx_file_with_other_inputs_or_outputs(onnx_file: Path, tmp_path: Path, name: str) -> None:
    content = onnx.load(onnx_file)
    for value in (*content.graph.input, *content.graph.output):
        value.name = value.name.replace(name, "another")
    for node in content.graph.node:
        node.input[:] = ["another" if value == name else value for value in node.input]
        node.output[:] = ["another" if value == name else value for value in node.output]
    onnx.save(content, tmp_path / "altered.onnx")
    with pytest.raises(UserError, match=rf"altered\.onnx: does not take .*{name}"):
        load_onnx(tmp_path / "altered.onnx")


def test_an_onnx_file_whose_weights_are_lost(onnx_file: Path, tmp_path: Path) -> None:
    content = onnx.load(onnx_file)
    weights = max(content.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = np.full(len(weights.raw_data) // 4, np.nan, np.float32).tobytes()
    onnx.save(content, tmp_path / "lost.onnx")
    with pytest.raises(UserError, match=r"lost\.onnx: what it gives for black images is not finite"):
        load_onnx(tmp_path / "lost.onnx")


def test_an_onnx_file_is_run_on_the_processor(onnx_file: Path) -> None:
    with pytest.raises(UserError, match="--device cuda: an ONNX file is run on the processor"):
        evaluate_model(onnx_file, "digits", device="cuda")
