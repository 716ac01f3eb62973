"""Distillation: a trained network as teacher (Hinton et al., "Distilling the knowledge in a neural network", 2015)."""

import hashlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fpnas.errors import UserError, first_line
from fpnas.files import what_is_at
from fpnas.model_folder import CONFIG_NAME, WEIGHTS_NAME, load
from fpnas.network_file import NETWORK_NAME
from fpnas.nn.network import ConvNorm
from fpnas.runtime.weights import digest_of
from fpnas.training.data import DataSet

__all__ = ["Teacher", "check_teacher", "distillation_loss", "fuse_norms", "load_teacher"]


class Teacher:
    """Logits of a trained network for inputs that were normalised for its student.

    Args:
        model: gives logits (B, classes); put into eval mode.
        mean, std: that it takes its inputs by.
        in_channels: that it takes; images of one channel are repeated for more.
        image_size: side that it takes; None for any.
        dataset: by whose statistics the inputs were normalised.
        device: of model and inputs.

    Attributes:
        digest: of its weights and of what it takes its inputs by.
    """

    def __init__(
        self,
        model: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        in_channels: int,
        image_size: int | None,
        dataset: DataSet,
        device: torch.device | None = None,
    ) -> None:
        inputs = repr((mean, std, in_channels, image_size))
        self.digest = hashlib.sha256((digest_of(model.state_dict().values()) + inputs).encode()).hexdigest()[:16]
        fused = fuse_norms(model) if any(isinstance(layer, ConvNorm) for layer in model.modules()) else model
        self._model = fused.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self._repeats = in_channels if dataset.in_channels == 1 else 1
        self._size = None if image_size == dataset.image_size else image_size

        def column(values: tuple[float, ...], repeats: int) -> Tensor:
            return torch.tensor(values * repeats, device=device).view(1, -1, 1, 1)

        own_mean, own_std = (column(values, self._repeats) for values in (dataset.mean, dataset.std))
        self._scale = own_std / column(std, 1)
        self._offset = (own_mean - column(mean, 1)) / column(std, 1)

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) of the student's inputs (B, C, H, W)."""
        if self._repeats > 1:
            inputs = inputs.expand(-1, self._repeats, -1, -1)
        if self._size is not None:
            inputs = F.interpolate(inputs, size=self._size, mode="bilinear", antialias=True)
        return self._model(inputs * self._scale + self._offset)


def fuse_norms(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose batch norms are folded into their convolutions: the same function, in less time."""
    fused = deepcopy(model).eval()
    for layer in fused.modules():
        if isinstance(layer, ConvNorm):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()  # type: ignore[assignment]
    return fused


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Mean Kullback-Leibler divergence from the teacher's softened probabilities, times the temperature's square.

    Args:
        logits, teacher_logits: shape (B, classes).
        temperature: divides both; the square keeps gradients as large as those of the labels.
    """
    student = F.log_softmax(logits / temperature, 1)
    teacher = F.log_softmax(teacher_logits.to(logits.dtype) / temperature, 1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def check_teacher(name: str) -> Path | None:
    """The model folder that `--teacher` names, None for a model of timm. Raises UserError when it is neither."""
    if not name:
        raise UserError("--teacher: is empty; a model folder or a model of timm is accepted")
    path = Path(name)
    if path.name in (NETWORK_NAME, WEIGHTS_NAME, CONFIG_NAME) and what_is_at(path, "--teacher") == "file":
        path = path.parent
    if what_is_at(path, "--teacher") == "folder":
        return path
    import timm

    if not name.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and not timm.is_model(name):
        raise UserError(f"--teacher {name}: no model folder and no model of timm; one of these is accepted")
    return None


def load_teacher(name: str, dataset: DataSet, device: torch.device | None = None) -> Teacher:
    """The teacher that `--teacher` names.

    Args:
        name: a model folder, the network or weights file in one, or a model of timm.
        dataset: that the student learns.
        device: to compute on.

    Raises:
        UserError: no such model, or one of other classes or channels.
    """
    folder = check_teacher(name)
    if folder is not None:
        trained = load(folder)
        if trained.class_names != dataset.class_names:
            raise UserError(f"--teacher {name}: its classes are not those of the data")
        spec = trained.network.spec
        _check_channels(name, spec.in_channels, dataset)
        mean, std = trained.preprocess.mean, trained.preprocess.std
        return Teacher(trained.network, mean, std, spec.in_channels, spec.input_size, dataset, device)
    return _timm_teacher(name, dataset, device)


def _check_channels(name: str, channels: int, dataset: DataSet) -> None:
    """UserError unless the data have a teacher's channels, or one that can be repeated for its three."""
    if channels not in (dataset.in_channels, 3 if dataset.in_channels == 1 else 0):
        raise UserError(f"--teacher {name}: takes {channels} channels; the data have {dataset.in_channels}")


def _timm_teacher(name: str, dataset: DataSet, device: torch.device | None) -> Teacher:
    import timm

    try:
        model: Any = timm.create_model(name, pretrained=True)
    except Exception as error:  # timm and the hub's client raise of every kind where weights cannot be had
        raise UserError(f"--teacher {name}: timm cannot give it with weights: {first_line(error)}") from None
    config = model.pretrained_cfg
    classes, channels = int(model.num_classes), int(config["input_size"][0])
    if classes != len(dataset.class_names):
        raise UserError(
            f"--teacher {name}: has {classes} classes; the data have {len(dataset.class_names)}; train it on them first"
        )
    _check_channels(name, channels, dataset)
    size = int(config["input_size"][1]) if config.get("fixed_input_size") else None
    return Teacher(model, tuple(config["mean"]), tuple(config["std"]), channels, size, dataset, device)
