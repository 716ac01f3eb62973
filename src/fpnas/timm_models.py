"""Networks as models of timm: `timm.create_model("fpnas", network=...)`, for features, transfer and its tools."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from timm.layers import Format
from timm.models import build_model_with_cfg, checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from fpnas.errors import UserError
from fpnas.files import what_is_at
from fpnas.model_folder import CONFIG_NAME, TIMM_LAYERS, WEIGHTS_NAME, read_preprocessing
from fpnas.network_file import NETWORK_NAME, load_network, network_from_json, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import Network

__all__ = ["TimmNetwork", "create_network"]

Source = str | os.PathLike[str] | dict[str, Any] | NetworkSpec


class TimmNetwork(Network):
    """A network with the methods that timm expects of its models; weights have the same names.

    Args:
        network: its spec.
        num_classes: of the classifier; 0 for none.
        in_chans: channels of the images.
        global_pool: `avg`, or empty to leave the last map as it is, which takes `num_classes` 0.
        drop_rate, drop_path_rate: as `Network` takes them.
    """

    def __init__(
        self,
        network: NetworkSpec,
        num_classes: int,
        in_chans: int,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        spec = replace(network, in_channels=in_chans, num_classes=num_classes or network.num_classes)
        super().__init__(spec, drop_rate=drop_rate, drop_path_rate=drop_path_rate)
        self.num_features = spec.head_hidden  # in timm's sense: the channels of what `forward_features` gives
        self.head_hidden_size = spec.head.channels
        self.grad_checkpointing = False
        self._given_arguments: dict[str, Any] = {}
        # A stage is what has one resolution; its end is the number of blocks up to there.
        strides = [block.stride for block in spec.blocks]
        self.stage_ends = [index for index, stride in enumerate(strides) if stride > 1] + [len(strides)]
        self.feature_info: list[dict[str, Any]] = []
        reduction = spec.stem.stride
        for end in self.stage_ends:
            module = f"blocks.{end - 1}" if end else "stem"
            channels = spec.blocks[end - 1].channels if end else spec.stem.channels
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": module})
            reduction *= strides[end] if end < len(strides) else 1
        self.reset_classifier(num_classes, global_pool, fresh=False)

    @property
    def _model_args(self) -> dict[str, Any]:
        """What timm saves a model with, to build it again: the network itself, not the place that it was read from."""
        return self._given_arguments | {"network": network_to_json(self.spec)}

    @_model_args.setter
    def _model_args(self, given: dict[str, Any] | None) -> None:
        self._given_arguments = dict(given or {})

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None, *, fresh: bool = True) -> None:
        """A new classifier for other classes; none for 0.

        Args:
            num_classes: of the new classifier.
            global_pool: as the model takes it; unchanged when left out.
            fresh: whether a classifier of as many classes is replaced, too.
        """
        if global_pool is not None:
            if global_pool not in ("", "avg"):
                raise UserError(f"global_pool = {global_pool!r}: avg or an empty text is accepted")
            self.global_pool = global_pool
        self.num_classes = num_classes
        if not num_classes:
            self.classifier = nn.Identity()
        elif fresh:
            self.spec = replace(self.spec, num_classes=num_classes)
            classifier = nn.Linear(self.head_hidden_size, num_classes)
            # With what the weights around it are: device, type.
            self.classifier = classifier.to(self.stem.conv.weight)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks are computed again in the backward pass, to save memory."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Names of parameters by depth, for layer-wise rates."""
        return {"stem": r"^stem", "blocks": r"^blocks\.(\d+)"}

    def forward_features(self, images: Tensor) -> Tensor:
        """The last map (B, C, h, w), the head's convolution included, of normalised images (B, C, H, W)."""
        features = self.stem(images)
        blocks = checkpoint_seq(self.blocks, features) if self.grad_checkpointing else self.blocks(features)
        return self.head(blocks)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (B, classes) of the last map; the map itself where `global_pool` is empty."""
        return super().forward_head(features, pre_logits) if self.global_pool else features

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Maps at the ends of stages, in timm's form.

        Args:
            images: normalised, shape (B, C, H, W).
            indices: stages, or how many of the last; all when left out.
            norm: is not looked at.
            stop_early: leave out what comes after the last stage asked for.
            output_fmt: NCHW.
            intermediates_only: do not return the last map beside them.
        """
        assert output_fmt == Format.NCHW.value, output_fmt
        assert intermediates_only or not stop_early
        taken, last = feature_take_indices(len(self.stage_ends), indices)
        ends = {self.stage_ends[index] for index in taken}
        features = self.stem(images)
        intermediates = [features] if 0 in ends else []
        for done, block in enumerate(self.blocks, 1):
            if stop_early and done > self.stage_ends[last]:
                break
            features = checkpoint_seq([block], features) if self.grad_checkpointing else block(features)
            if done in ends:
                intermediates.append(features)
        return intermediates if intermediates_only else (self.head(features), intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what comes after the last of these stages; their indices."""
        taken, last = feature_take_indices(len(self.stage_ends), indices)
        cut = self.stage_ends[last] < len(self.blocks)
        self.blocks = self.blocks[: self.stage_ends[last]]
        if prune_head or cut:  # the head takes what the last block gives
            self.head, self.head_project = nn.Identity(), nn.Identity()  # type: ignore[assignment]
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
            self.reset_classifier(0, "")
        return taken


def create_network(pretrained: bool = False, network: Source | None = None, **options: Any) -> nn.Module:
    """What `timm.create_model("fpnas", network=..., **options)` gives.

    Args:
        pretrained: take the weights of the model folder that `network` is.
        network: a model folder, a network file, its content, or a spec.
        options: of timm: `num_classes`, `in_chans`, `features_only`, `out_indices`, `drop_rate`, `drop_path_rate`.

    Raises:
        UserError: no network, weights where there are none, or a folder with a broken configuration.
    """
    if network is None:
        raise UserError("timm model fpnas: network = ...: a model folder or a network file is expected")
    folder: Path | None = None
    if isinstance(network, NetworkSpec):
        spec = network
    elif isinstance(network, dict):
        spec = network_from_json(network, "network")
    else:
        path = Path(network)
        folder = path if what_is_at(path, "timm model fpnas: network") == "folder" else None
        spec = load_network(path / NETWORK_NAME if folder else path)
    known = options.pop("pretrained_cfg", None)
    if known is None:
        known = _settings(spec, folder)
        if pretrained and "file" not in known:
            raise UserError(f"timm model fpnas: pretrained: {network} is no model folder, and has no weights")
    stages = 1 + sum(block.stride > 1 for block in spec.blocks)
    return build_model_with_cfg(
        TimmNetwork,
        "fpnas",
        pretrained,
        pretrained_cfg=known,
        feature_cfg={"out_indices": tuple(range(stages)), "feature_cls": "getter"},
        network=spec,
        **options,
    )


def _settings(spec: NetworkSpec, folder: Path | None) -> dict[str, Any]:
    """timm's description of weights and inputs."""
    if folder is not None and (folder / CONFIG_NAME).is_file():
        # Not as it stands there: timm would go wherever a source in it says, and leave the folder's weights aside.
        return read_preprocessing(folder).to_json() | TIMM_LAYERS | {"file": str(folder / WEIGHTS_NAME)}
    statistics = (0.5,) * spec.in_channels
    return {
        "input_size": (spec.in_channels, spec.input_size, spec.input_size),
        "num_classes": spec.num_classes,
        "mean": statistics,
        "std": statistics,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        **TIMM_LAYERS,
    }
