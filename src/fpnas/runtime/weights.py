"""Weights on disk: safetensors, whole or not at all."""

import hashlib
import os
from collections.abc import Iterable, Mapping

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fpnas.errors import UserError, first_line
from fpnas.files import what_is_at, write_bytes_atomic

__all__ = ["digest_of", "load_weights", "save_weights"]


def digest_of(tensors: Iterable[Tensor]) -> str:
    """What tells whether tensors are those of before: their types and numbers, in order; not their shapes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tensor.dtype).encode())
        # As bytes, since NumPy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, and texts about them.

    Raises:
        UserError: the place cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_atomic(path, save(plain, dict(metadata)))


def load_weights(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the texts about them.

    Args:
        path: the file.
        kind: what the file should be, for the message, e.g. "weights file".

    Raises:
        UserError: missing, unreadable, truncated or not safetensors.
    """
    if what_is_at(path, kind) != "file":
        raise UserError(f"{kind} {path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{kind} {path}: not a whole safetensors file: {first_line(error)}") from None
    except OSError as error:
        raise UserError(f"{kind} {path}: cannot be read: {error.strerror or error}") from None
