"""Weights on disk: the same bits back, and one line for whatever is no such file."""

import hashlib
from pathlib import Path

import pytest
import torch

from fpnas.errors import UserError
from fpnas.runtime.weights import digest_of, load_weights, save_weights


def test_weights_come_back_bit_by_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 4, generator=generator)
    tensors = {
        "transposed": matrix.T,
        "slice": matrix[:, 1:3],
        "channels_last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "double": torch.tensor([float("nan"), -float("inf"), 1e-300], dtype=torch.float64),
        "count": torch.tensor(7),
        "gradient": torch.ones(2, requires_grad=True),
    }
    save_weights(tmp_path / "w.safetensors", tensors, {"kind": "test"})
    loaded, metadata = load_weights(tmp_path / "w.safetensors", "weights file")
    assert metadata == {"kind": "test"}
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].nan_to_num(5), tensor.detach().nan_to_num(5)), name


def test_a_digest_is_of_types_and_numbers() -> None:
    numbers = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    count = torch.tensor(7)
    expected = hashlib.sha256(b"torch.float32" + numbers.numpy().tobytes() + b"torch.int64" + count.numpy().tobytes())
    for layout in (torch.contiguous_format, torch.channels_last):
        assert digest_of([numbers.to(memory_format=layout), count]) == expected.hexdigest()
    others = [numbers.double(), numbers.bfloat16(), numbers.half(), numbers + 1e-6, -numbers, numbers > 0]
    digests = {digest_of([other]) for other in (numbers, *others)}
    assert len(digests) == 7


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(100)}, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"weights file .*w\.safetensors: not a whole safetensors file"):
        load_weights(path, "weights file")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("weights " * 20)
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_weights(tmp_path / "text", "weights file")
    for absent in (tmp_path / "absent", tmp_path):
        with pytest.raises(UserError, match="no such file"):
            load_weights(absent, "weights file")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(3)}, {})
    with pytest.raises(UserError, match="cannot be written"):
        save_weights(tmp_path / "absent" / "w.safetensors", {"a": torch.zeros(3)}, {})
    assert load_weights(path, "weights file")[0]["a"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]
