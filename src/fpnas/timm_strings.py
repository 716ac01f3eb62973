"""timm's EfficientNet-family architecture strings as networks, so that known networks are costed on the same terms.

Source: timm (Apache-2.0), `_decode_block_str` and `EfficientNetBuilder` in `timm.models._efficientnet_builder`: a
block type, then tokens in any order, joined by `_`: `r` repeats, `k` kernel, `s` stride of the first repeat, `e`
expansion, `c` channels, `se` squeeze-excite, `n` activation, `noskip`. timm's decoder is private, ignores tokens that
it does not know and asserts what it does check; this parser refuses whatever a `NetworkSpec` does not express.

What a string does not say is timm's model class, and two things depend on it:

- `se0.25` is read as MobileNetV3 reads it, a quarter of the *hidden* width, rounded to a multiple of 8. Outside
  MobileNetV3 timm takes a quarter of the block's *input* (MnasNet-A1, EfficientNet): those strings give wider
  squeeze-excites here.
- A last `cn` means MobileNetV3's head (pool, then 1x1 convolution, here without its bias; hard sigmoid gates), no
  `cn` EfficientNet's (1x1 convolution, then pool). The squeeze-excite's inner activation is the block's, where
  MobileNetV3 has relu in every block.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.network_file import MOST_CHANNELS, NETWORK_FORMAT, network_from_json
from fpnas.network_spec import NetworkSpec, round_width

__all__ = ["network_from_timm_strings"]

_STEM_STRIDE = 2
_LARGEST_STRIDE = 32  # timm turns strides beyond it into dilation

# Tokens by their letters: the texts accepted after them, or a range of numbers. timm writes expansions such as 3.67;
# below 1/8 a rounded width could need an expansion that network files do not accept.
_CHOICES: dict[str, dict[str, Any]] = {
    "k": {"3": 3, "5": 5, "7": 7},
    "s": {"1": 1, "2": 2},
    "se": {"0.25": 1},
    "n": {"re": "relu", "sw": "swish", "hs": "hswish"},
    "noskip": {"": True},
}
_RANGES = {"r": (1, 1000), "e": (0.125, 100), "c": (8, MOST_CHANNELS)}
_ONE = {"1": 1}
# By block type: what differs from the above, then the tokens required and the others accepted.
_TYPES: dict[str, tuple[dict[str, dict[str, Any]], tuple[str, ...], tuple[str, ...]]] = {
    "ir": ({}, ("r", "k", "s", "e", "c"), ("se", "n", "noskip")),
    "ds": ({"e": _ONE}, ("r", "k", "s", "c"), ("e", "se", "n", "noskip")),
    "cn": ({"r": _ONE, "k": _ONE, "s": _ONE}, ("r", "k", "s", "c"), ("n",)),
}


@dataclass(frozen=True)
class _Stage:
    """A string: what opens messages about it, its type, and its tokens and their values by letters."""

    where: str
    kind: str
    tokens: dict[str, str]
    values: dict[str, Any]

    def refusal(self, letters: str, reason: str) -> UserError:
        """The error about one of its tokens."""
        return UserError(f"{self.where}: {shown(self.tokens[letters])}: {reason}")


def network_from_timm_strings(
    strings: Sequence[str],
    *,
    name: str,
    input_size: int = 224,
    in_channels: int = 3,
    num_classes: int = 1000,
    stem_channels: int = 32,
    head_channels: int = 1280,
    activation: str = "relu",
) -> NetworkSpec:
    """The network of timm's architecture strings.

    Source: timm, `EfficientNet` and `MobileNetV3` at width and depth multiplier 1, with symmetric padding.

    Args:
        strings: one per stage, e.g. "ir_r3_k5_s2_e3_c40_se0.25"; `se0.25` is of the hidden width. A last
            "cn_r1_k1_s1_c960", six times as wide as its input, opens a head of kind `ir_pool`.
        name: of the network.
        input_size: side of the images, pixels.
        in_channels, num_classes: of the data.
        stem_channels: of the stem, a 3x3 convolution with stride 2; a multiple of 8, as timm rounds it.
        head_channels: width before the classifier.
        activation: relu, swish or hswish: of the stem, the head, and the blocks whose string names none.

    Raises:
        UserError: a string that is malformed or that a `NetworkSpec` does not express, or a value out of range.
    """
    if not strings:
        raise UserError("timm strings: none given; at least one is expected")
    if stem_channels % 8:
        raise UserError(f"stem channels {stem_channels}: a multiple of 8 is accepted, as timm rounds to one")
    stages = [_stage(string, f"string {number} {shown(string)}") for number, string in enumerate(strings, 1)]
    blocks: list[dict[str, Any]] = []
    head_kind, gate = "conv", "sigmoid"
    channels, total_stride = stem_channels, _STEM_STRIDE
    for stage in stages:
        if stage.kind == "cn":
            _check_head_convolution(stage, channels, activation, last=stage is stages[-1])
            head_kind, gate = "ir_pool", "hard_sigmoid"
            continue
        total_stride *= stage.values["s"]
        if total_stride > _LARGEST_STRIDE:
            reason = f"the strides up to here multiply to {total_stride}, where timm dilates"
            raise stage.refusal("s", f"{reason}; at most {_LARGEST_STRIDE} is accepted")
        for repeat in range(stage.values["r"]):
            blocks.append(_block(stage, channels, stage.values["s"] if repeat == 0 else 1, activation))
            channels = stage.values["c"]
    content = {
        "format": NETWORK_FORMAT,
        "name": name,
        "input_size": input_size,
        "in_channels": in_channels,
        "num_classes": num_classes,
        "stem": {"kernel": 3, "channels": stem_channels, "stride": _STEM_STRIDE, "activation": activation},
        "blocks": blocks,
        "head": {"kind": head_kind, "channels": head_channels, "activation": activation},
        "gate": gate,
    }
    return network_from_json(content, f"network {shown(name)}")


def _stage(string: str, where: str) -> _Stage:
    """One string taken apart, each of its tokens checked by itself."""
    kind, *tokens = string.split("_")
    if kind not in _TYPES:
        raise UserError(f"{where}: {shown(kind)}: of block types ir, ds and a last cn are accepted")
    own, required, optional = _TYPES[kind]
    stage = _Stage(where, kind, {}, {})
    for token in tokens:
        match = re.fullmatch(r"(noskip|n(?=[a-z])|[a-z]+)(.*)", token, re.DOTALL)
        letters, text = match.groups() if match else ("", token)
        if letters not in required + optional:
            raise UserError(f"{where}: {shown(token)}: of {kind} {', '.join(required + optional)} are accepted")
        if letters in stage.tokens:
            raise UserError(f"{where}: {shown(token)}: {letters} is accepted once")
        stage.tokens[letters] = token
        choices = own.get(letters) or _CHOICES.get(letters)
        if choices is None:
            stage.values[letters] = _number(stage, letters, text)
        elif text in choices:
            stage.values[letters] = choices[text]
        else:
            raise stage.refusal(letters, f"{' or '.join(letters + choice for choice in choices)} is accepted")
    for letters in required:
        if letters not in stage.tokens:
            raise UserError(f"{where}: {letters} is missing; of {kind} {', '.join(required)} are expected")
    return stage


def _number(stage: _Stage, letters: str, text: str) -> float:
    """The number in a token; repeats and channels whole, channels as timm would build them."""
    low, high = _RANGES[letters]
    pattern = r"[0-9]{1,6}(\.[0-9]{1,6})?" if letters == "e" else r"[0-9]{1,6}"
    value = float(text) if re.fullmatch(pattern, text) else float("nan")
    if not low <= value <= high:
        kind = "number" if letters == "e" else "whole number"
        raise stage.refusal(letters, f"a {kind} from {low:g} to {high:g} is accepted")
    if letters == "c" and value % 8:
        raise stage.refusal("c", f"timm rounds it to {_timm_width(value)}; a multiple of 8 is accepted")
    return value if letters == "e" else int(value)


def _timm_width(width: float) -> int:
    """timm's `make_divisible`: as `round_width`, but plus 8 only below 0.9 of the exact value."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _block(stage: _Stage, in_channels: int, stride: int, activation: str) -> dict[str, Any]:
    """One block of a stage as a row of a network file, of the widths that timm would build."""
    values = stage.values
    expansion = values.get("e", 1)
    hidden = _timm_width(expansion * in_channels)
    if hidden > MOST_CHANNELS:
        raise stage.refusal("e", f"of {in_channels} channels that is {hidden}; at most {MOST_CHANNELS} is accepted")
    if stage.kind == "ir" and hidden == in_channels:
        reason = f"{in_channels} channels stay {hidden}, and timm's 1x1 convolution between them has no counterpart"
        raise stage.refusal("e", f"{reason}; an expansion that changes the width, or ds, is accepted")
    if round_width(expansion * in_channels) != hidden:
        expansion = hidden / in_channels
    if "se" in values and round_width(hidden / 4) != _timm_width(hidden / 4):
        reason = f"of {hidden} hidden channels timm makes {_timm_width(hidden / 4)}, fpnas {round_width(hidden / 4)}"
        raise stage.refusal("se", f"{reason}; hidden widths where both agree are accepted")
    if "noskip" in values and stride == 1 and in_channels == values["c"]:
        reason = f"a block of {in_channels} channels in and out has a residual connection"
        raise stage.refusal("noskip", f"{reason}; noskip is accepted where the shape changes")
    return {
        "kernel": values["k"],
        "activation": values.get("n", activation),
        "splits": values.get("se", 0),
        "expansion": expansion,
        "channels": values["c"],
        "stride": stride,
    }


def _check_head_convolution(stage: _Stage, in_channels: int, activation: str, last: bool) -> None:
    """UserError unless a `cn` stage is the convolution that opens a head of kind `ir_pool`."""
    if not last:
        raise UserError(f"{stage.where}: 'cn': accepted as the last string alone")
    if stage.values["c"] != round_width(6 * in_channels):
        reason = f"six times the {in_channels} channels before it, {round_width(6 * in_channels)}, is accepted"
        raise stage.refusal("c", reason)
    if stage.values.get("n", activation) != activation:
        raise stage.refusal("n", f"the head's activation, {activation}, is accepted")
