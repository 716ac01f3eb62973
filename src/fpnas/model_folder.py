"""Model folders: a trained network as files that load anywhere, with nothing of the search.

`network.json` builds it, `model.safetensors` holds its weights, `config.json` says how images become its input, in the
form of timm's `local-dir:` and `hf-hub:` models, and `README.md` is a model card. A finished training is one too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fpnas.checks import check_mapping
from fpnas.errors import UserError
from fpnas.files import read_json, what_is_at, write_json_atomic
from fpnas.network_file import NETWORK_NAME, load_network, network_from_json, network_to_json
from fpnas.nn.network import Network, build_network
from fpnas.runtime.weights import digest_of, load_weights, save_weights
from fpnas.training.preprocessing import Preprocessing

__all__ = [
    "CARD_NAME",
    "CONFIG_NAME",
    "TIMM_LAYERS",
    "WEIGHTS_NAME",
    "TrainedModel",
    "load",
    "read_preprocessing",
    "save_model",
]

CARD_NAME, CONFIG_NAME, WEIGHTS_NAME = "README.md", "config.json", "model.safetensors"

TIMM_LAYERS = {"first_conv": "stem.conv", "classifier": "classifier"}
"""Names by which timm finds the layers that it adapts to other images and classes."""


class TrainedModel(nn.Module):
    """A trained network, with what turns images into its input and its output into classes.

    Args:
        network: that was trained; put into eval mode.
        preprocess: an image, or the path of one, to the network's input.
    """

    def __init__(self, network: Network, preprocess: Preprocessing) -> None:
        super().__init__()
        # The layout of the training: another one gives other last bits.
        self.network = network.to(memory_format=torch.channels_last)
        self.preprocess = preprocess
        self.eval()

    @property
    def class_names(self) -> tuple[str, ...]:
        """By the index of the logit."""
        return self.preprocess.class_names

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W)."""
        return self.network(images)


def save_model(folder: Path, model: TrainedModel) -> None:
    """Write network, weights and config of a model to a folder that is there.

    Raises:
        UserError: the place cannot be written.
    """
    network, spec = model.network, model.network.spec
    content = network_to_json(spec)
    tensors = network.state_dict()
    config = {
        "architecture": "fpnas",
        "num_classes": spec.num_classes,
        "num_features": spec.head_hidden,
        "model_args": {"network": content},
        "pretrained_cfg": model.preprocess.to_json() | TIMM_LAYERS,
        "tensors": {name: _digest(tensor) for name, tensor in tensors.items()},
    }
    write_json_atomic(folder / NETWORK_NAME, content)
    save_weights(folder / WEIGHTS_NAME, tensors, {"content": "network", "format": "pt"})
    write_json_atomic(folder / CONFIG_NAME, config)


def load(folder: str | os.PathLike[str]) -> TrainedModel:
    """The model in a folder, ready to use: `model(model.preprocess("photo.jpg"))` gives logits.

    Args:
        folder: a model folder, or the run directory of a finished training.

    Returns:
        A module in eval mode on the processor, with `preprocess`, `class_names` and the plain `network`.

    Raises:
        UserError: a file is missing or broken, or a tensor is missing, surplus, or not what was saved.
    """
    path = Path(folder)
    if (there := what_is_at(path, "model folder")) != "folder":
        raise UserError(f"model folder {path}: {'is a file' if there else 'no such folder'}")
    for name in (NETWORK_NAME, WEIGHTS_NAME, CONFIG_NAME):
        if what_is_at(path / name, "model folder") != "file":
            raise UserError(
                f"model folder {path}: {name} is missing; a model folder or the --output of a finished fpnas train is "
                "expected"
            )
    # Its own first weights are drawn at random, which is nobody's business.
    with torch.random.fork_rng(devices=[]):
        network = build_network(load_network(path / NETWORK_NAME))
    spec = network.spec
    config = read_json(path / CONFIG_NAME, "model configuration")
    where = f"model configuration {path / CONFIG_NAME}"
    arguments = check_mapping(config.get("model_args"), f"{where}: model_args")
    inner = check_mapping(arguments.get("network"), f"{where}: model_args: network")
    if network_from_json(inner, f"{where}: model_args: network") != spec:
        raise UserError(f"{where}: model_args: network is not the one in {NETWORK_NAME}")
    preprocess = _preprocessing(config, where)
    for field, found, expected in (
        ("input_size: channels", preprocess.in_channels, spec.in_channels),
        ("input_size: pixels", preprocess.image_size, spec.input_size),
        ("label_names: classes", len(preprocess.class_names), spec.num_classes),
    ):
        if found != expected:
            raise UserError(f"{where}: {field}: {found}; {NETWORK_NAME} has {expected}")
    tensors, _ = load_weights(path / WEIGHTS_NAME, "weights file")
    digests = check_mapping(config.get("tensors"), f"{where}: tensors")
    _check_tensors(path / WEIGHTS_NAME, tensors, network.state_dict(), digests)
    network.load_state_dict(tensors)
    return TrainedModel(network, preprocess)


def check_finite(model: TrainedModel, source: str | os.PathLike[str]) -> None:
    """Raises UserError where a weight is no finite number: its answers would be none, too."""
    for name, tensor in model.network.state_dict().items():
        if not tensor.isfinite().all():
            raise UserError(f"model folder {source}: tensor {name} has values that are not finite numbers")


def read_preprocessing(folder: Path) -> Preprocessing:
    """What the configuration of a model folder says of its inputs and classes. Raises UserError."""
    path = folder / CONFIG_NAME
    return _preprocessing(read_json(path, "model configuration"), f"model configuration {path}")


def _preprocessing(config: Mapping[str, Any], where: str) -> Preprocessing:
    return Preprocessing.from_json(check_mapping(config.get("pretrained_cfg"), f"{where}: pretrained_cfg"), where)


def _check_tensors(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], digests: Mapping[str, Any]
) -> None:
    """UserError that names the tensors which are not what the network needs, or not what was saved."""
    missing = sorted(expected.keys() - tensors.keys())
    surplus = sorted(tensors.keys() - expected.keys())
    for problem, names in (("missing", missing), ("surplus", surplus)):
        if names:
            raise UserError(f"{path}: {problem}: {_listed(names)}")
    for name in sorted(tensors):
        if tensors[name].shape != expected[name].shape:
            raise UserError(
                f"{path}: tensor {name} has shape {tuple(tensors[name].shape)}; "
                f"{tuple(expected[name].shape)} is expected"
            )
    altered = sorted(name for name, tensor in tensors.items() if digests.get(name) != _digest(tensor))
    if altered:
        raise UserError(f"{path}: altered since {CONFIG_NAME} was written: {_listed(altered)}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"tensor {shown}" if len(names) <= 5 else f"tensors {shown} and {len(names) - 5} more"


def _digest(tensor: Tensor) -> str:
    """What tells whether a tensor is the one that was saved."""
    return digest_of([tensor])[:16]
