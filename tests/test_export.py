"""ONNX files against PyTorch, in ONNX Runtime; nothing is left where they disagree."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from finished_runs import copied
from refusals import tree

from fpnas import export
from fpnas.errors import UserError
from fpnas.export import export_onnx
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import build_network
from fpnas.predict import load_trained_run
from fpnas.runtime.weights import save_weights


def logits_of(file: Path, images: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == "images" and given.shape[1:] == list(images.shape[1:])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    return logits


def assert_parity(run: Path, file: Path) -> None:
    model = load_trained_run(run).model
    for batch in (1, 5):
        images = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = model(images).numpy()
        assert np.abs(logits_of(file, images) - expected).max() <= 1e-4


def test_parity_with_a_trained_run(train_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tree(train_run)
    exported = export_onnx(train_run, tmp_path / "model.onnx")
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
    model = load_trained_run(run).model
    with torch.no_grad():
        model.classifier.weight.mul_(1e9)
    save_weights(run / "model.safetensors", model.state_dict(), {"content": "network"})
    assert export_onnx(run, tmp_path / "model.onnx").largest_difference <= 1e-4


def with_fresh_weights(run: Path, spec: NetworkSpec) -> Path:
    """The run's network changed, with weights as before a training but for statistics that matter."""
    torch.manual_seed(0)
    model = build_network(spec).train()
    with torch.no_grad():
        model(torch.randn(64, 1, 8, 8) * 2 + 1)
    (run / "network.json").write_text(json.dumps(network_to_json(spec)))
    save_weights(run / "model.safetensors", model.state_dict(), {})
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
    file = export_onnx(with_fresh_weights(run, changed), tmp_path / "model.onnx").path
    assert_parity(run, file)


def test_nothing_is_written_when_they_disagree(
    train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    monkeypatch.setattr(export, "_difference", lambda *_: 1e-9)
    with pytest.raises(RuntimeError, match="differs from PyTorch by 1e-09"):
        export_onnx(train_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_exported(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    model = load_trained_run(run).model
    with torch.no_grad():
        model.classifier.weight[0] = torch.nan
    save_weights(run / "model.safetensors", model.state_dict(), {})
    with pytest.raises(RuntimeError, match="nan"):
        export_onnx(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_cannot_be_exported(train_run: Path, search_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train run is expected"):
        export_onnx(search_run, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="is not a folder"):
        export_onnx(train_run, tmp_path / "absent" / "model.onnx")
    with pytest.raises(UserError, match="model"):
        (tmp_path / "model").mkdir()
        export_onnx(train_run, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
