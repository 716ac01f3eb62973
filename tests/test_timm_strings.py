"""timm's architecture strings: the same networks as timm's own, and every string that is none of ours in one line."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from refusals import exit_code, refused
from timm.layers import SqueezeExcite, make_divisible
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fpnas.cost import network_cost
from fpnas.errors import UserError
from fpnas.network_file import load_network, network_from_json, network_to_json
from fpnas.network_spec import NetworkSpec, round_width
from fpnas.nn.network import build_network
from fpnas.timm_strings import _timm_width, network_from_timm_strings

# timm 1.0.31 (Apache-2.0): timm/models/efficientnet.py, _gen_mnasnet_b1, _gen_mnasnet_a1 and _gen_mobilenet_v2;
# timm/models/mobilenetv3.py, _gen_mobilenet_v3.
STRINGS = {
    "mnasnet_100": "ds_r1_k3_s1_c16_noskip ir_r3_k3_s2_e3_c24 ir_r3_k5_s2_e3_c40 ir_r3_k5_s2_e6_c80 "
    "ir_r2_k3_s1_e6_c96 ir_r4_k5_s2_e6_c192 ir_r1_k3_s1_e6_c320_noskip",
    "semnasnet_100": "ds_r1_k3_s1_e1_c16_noskip ir_r2_k3_s2_e6_c24 ir_r3_k5_s2_e3_c40_se0.25 ir_r4_k3_s2_e6_c80 "
    "ir_r2_k3_s1_e6_c112_se0.25 ir_r3_k5_s2_e6_c160_se0.25 ir_r1_k3_s1_e6_c320",
    "mobilenetv2_100": "ds_r1_k3_s1_c16 ir_r2_k3_s2_e6_c24 ir_r3_k3_s2_e6_c32 ir_r4_k3_s2_e6_c64 ir_r3_k3_s1_e6_c96 "
    "ir_r3_k3_s2_e6_c160 ir_r1_k3_s1_e6_c320",
    "mobilenetv3_large_100": "ds_r1_k3_s1_e1_c16_nre ir_r1_k3_s2_e4_c24_nre ir_r1_k3_s1_e3_c24_nre "
    "ir_r3_k5_s2_e3_c40_se0.25_nre ir_r1_k3_s2_e6_c80 ir_r1_k3_s1_e2.5_c80 ir_r2_k3_s1_e2.3_c80 "
    "ir_r2_k3_s1_e6_c112_se0.25 ir_r3_k5_s2_e6_c160_se0.25 cn_r1_k1_s1_c960",
    "mobilenetv3_small_100": "ds_r1_k3_s2_e1_c16_se0.25_nre ir_r1_k3_s2_e4.5_c24_nre ir_r1_k3_s1_e3.67_c24_nre "
    "ir_r1_k5_s2_e4_c40_se0.25 ir_r2_k5_s1_e6_c40_se0.25 ir_r2_k5_s1_e3_c48_se0.25 ir_r3_k5_s2_e6_c96_se0.25 "
    "cn_r1_k1_s1_c576",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "mobilenetv3_large_100": {"stem_channels": 16, "activation": "hswish"},
    "mobilenetv3_small_100": {"stem_channels": 16, "activation": "hswish", "head_channels": 1024},
}


def imported(model: str, **changed: Any) -> NetworkSpec:
    return network_from_timm_strings(STRINGS[model].split(), **({"name": model} | OPTIONS.get(model, {}) | changed))


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """A model of which only shapes matter."""
    with torch.device("meta"):
        return build().eval()


# Against timm's own networks


@pytest.mark.parametrize("name", ["mnasnet_100", "mobilenetv2_100"])
def test_every_parameter_has_the_shape_of_timm_s(name: str) -> None:
    spec = imported(name)
    ours, theirs = on_meta(lambda: build_network(spec)), on_meta(lambda: timm.create_model(name, pretrained=False))
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    assert network_cost(spec).params == parameters(theirs)


@pytest.mark.parametrize(("name", "bias"), [("mobilenetv3_large_100", 1280), ("mobilenetv3_small_100", 1024)])
def test_mobilenet_v3_has_the_parameters_of_timm_s_but_for_the_head_s_bias(name: str, bias: int) -> None:
    spec = imported(name)
    assert spec.head.kind == "ir_pool" and spec.gate == "hard_sigmoid" and spec.head.channels == bias
    theirs: Any = on_meta(lambda: timm.create_model(name, pretrained=False))
    assert theirs.conv_head.bias.numel() == bias
    assert parameters(theirs) - network_cost(spec).params == bias
    assert parameters(theirs) - parameters(on_meta(lambda: build_network(spec))) == bias


@pytest.mark.parametrize("name", ["mnasnet_100", "mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv3_small_100"])
def test_multiply_adds_are_those_of_timm_s(name: str) -> None:
    cost = network_cost(imported(name))
    model = on_meta(lambda: timm.create_model(name, pretrained=False))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224, device="meta"))
    assert 2 * (cost.macs - cost.pool_macs) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("mnasnet_100", {}),
        ("mobilenetv2_100", {"act_layer": "relu"}),  # relu6 has no counterpart
        ("mobilenetv3_large_100", {"head_bias": False}),
        ("mobilenetv3_small_100", {"head_bias": False}),
    ],
)
def test_logits_are_those_of_timm_s_with_the_same_weights(name: str, changed: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, pretrained=False, num_classes=10, **changed).double().eval()
    ours = build_network(imported(name, input_size=48, num_classes=10)).double().eval()
    for source, target in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True):
        target.copy_(torch.rand_like(source) + 0.5 if source.ndim == 1 else source)
        source.copy_(target)
    for module in ours.modules():
        if isinstance(module, SqueezeExcite) and "mobilenetv3" in name:
            module.act = nn.ReLU()  # MobileNetV3's, whatever the block's
    images = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    with torch.no_grad():
        expected: Tensor = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert float(expected.std()) > 0


def test_squeeze_excite_is_of_the_hidden_width() -> None:
    # timm's MnasNet-A1 takes a quarter of the block's input: the strings are the same, the bottlenecks are not.
    spec = imported("semnasnet_100")
    theirs = on_meta(lambda: timm.create_model("semnasnet_100", pretrained=False))
    surplus = 0
    for block in spec.blocks:
        if block.splits:
            assert block.bottleneck == make_divisible(block.hidden / 4)
            surplus += (block.bottleneck - block.in_channels // 4) * (2 * block.hidden + 1)
    assert spec.gate == "sigmoid" and surplus > 0
    assert network_cost(spec).params - parameters(theirs) == surplus


# Widths


def test_rounding_is_timm_s() -> None:
    for tenths in range(1, 40_000):
        assert _timm_width(tenths / 10) == make_divisible(tenths / 10)


def test_widths_from_multiples_of_8_and_whole_expansions_round_alike() -> None:
    for channels in range(8, 2049, 8):
        for expansion in range(1, 13):
            assert round_width(channels * expansion) == make_divisible(channels * expansion) == channels * expansion


def test_hidden_widths_are_timm_s_where_ours_would_round_differently() -> None:
    different = 0
    for channels in range(8, 353, 8):
        for hundredths in (12.5, *range(13, 700, 11)):
            expansion = hundredths / 100
            width = make_divisible(channels * expansion)
            if width == channels:
                continue
            string = f"ir_r1_k3_s1_e{expansion}_c{channels}"
            spec = network_from_timm_strings([string], name="n", stem_channels=channels)
            assert spec.blocks[0].hidden == width
            if round_width(channels * expansion) == width:
                assert spec.blocks[0].expansion == expansion
            else:
                different += 1
            assert network_from_json(json.loads(json.dumps(network_to_json(spec))), "n") == spec
    assert different > 20


def test_a_hidden_width_that_rounds_differently_in_timm_s_block() -> None:
    # 24 x 1.8 = 43.2: 40 is above 0.9 of it and below 0.95.
    spec = network_from_timm_strings(["ir_r1_k3_s1_e1.8_c24"], name="n", stem_channels=24)
    assert (round_width(43.2), spec.blocks[0].hidden) == (48, 40)


# What a string says


def test_tokens_in_any_order_and_activations_by_stage() -> None:
    spec = network_from_timm_strings(
        ["ir_nsw_c24_e6_s2_k7_r2", "ds_c24_r1_s1_k5_nhs_e1", "ir_r1_k3_s1_e3_c40_noskip_se0.25"],
        name="orders",
        input_size=64,
        in_channels=1,
        num_classes=7,
        head_channels=99,
    )
    assert (spec.name, spec.input_size, spec.in_channels, spec.num_classes) == ("orders", 64, 1, 7)
    assert vars(spec.stem) == {"kernel": 3, "channels": 32, "stride": 2, "activation": "relu"}
    assert vars(spec.head) == {"kind": "conv", "channels": 99, "activation": "relu"}
    rows = [(b.kernel, b.activation, b.splits, b.expansion, b.channels, b.stride, b.in_size) for b in spec.blocks]
    assert rows == [
        (7, "swish", 0, 6, 24, 2, 32),
        (7, "swish", 0, 6, 24, 1, 16),
        (5, "hswish", 0, 1, 24, 1, 16),
        (3, "relu", 1, 3, 40, 1, 16),
    ]
    assert [block.expands for block in spec.blocks] == [True, True, False, True]


# Refusals

SOUND = "ir_r2_k3_s2_e6_c24"
MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "none": ([], ["at least one"]),
    "empty": ([""], ["string 1 ''", "ir, ds and a last cn"]),
    "edge residual": ([SOUND, "er_r1_k3_s1_e4_c24"], ["string 2 'er_r1_k3_s1_e4_c24'", "'er'", "ir, ds and a last cn"]),
    "pointwise activation": (["dsa_r1_k3_s1_c64"], ["'dsa'", "ir, ds"]),
    "universal": (["uir_r1_a3_k5_s2_e6_c64"], ["'uir'", "ir, ds"]),
    "attention": (["mqa_r1_k3_h4_s1_d64_c160"], ["'mqa'", "ir, ds"]),
    "upper case": (["IR_r1_k3_s1_e6_c24"], ["'IR'"]),
    "line break": (["ir\n_r1_k3_s1_e6_c24"], [r"'ir\n'"]),
    "long": (["x" * 5000], ["xxx..."]),
    "other ratio": (["ir_r1_k3_s1_e6_c24_se0.5"], ["'ir_r1_k3_s1_e6_c24_se0.5'", "'se0.5'", "se0.25 is accepted"]),
    "mixed kernels": (["ir_r1_k3.5_s1_e6_c24"], ["'k3.5'", "k3 or k5 or k7"]),
    "bypass": (["ir_r1_k0_s1_e6_c24"], ["'k0'", "k3 or k5 or k7"]),
    "even kernel": (["ir_r1_k4_s1_e6_c24"], ["'k4'", "k3 or k5 or k7"]),
    "stride": (["ir_r1_k3_s3_e6_c24"], ["'s3'", "s1 or s2"]),
    "expansion's kernel": (["ir_r1_k3_a1_s1_e6_c24"], ["'a1'", "r, k, s, e, c, se, n, noskip"]),
    "projection's kernel": (["ir_r1_k3_p1_s1_e6_c24"], ["'p1'", "r, k, s, e, c, se, n, noskip"]),
    "group size": (["ir_r1_k3_s1_e6_c24_gs8"], ["'gs8'"]),
    "experts": (["ir_r1_k3_s1_e6_c24_cc4"], ["'cc4'"]),
    "space to depth": (["ds_r1_k3_s1_c24_d1"], ["'d1'"]),
    "forced skip": (["ir_r1_k3_s1_e6_c24_skip"], ["'skip'"]),
    "unknown token": (["ir_r1_k3_s1_e6_c24_é"], ["'é'"]),
    "empty token": (["ir__r1_k3_s1_e6_c24"], ["''"]),
    "relu6": (["ir_r1_k3_s1_e6_c24_nr6"], ["'nr6'", "nre or nsw or nhs"]),
    "mish": (["ir_r1_k3_s1_e6_c24_nmi"], ["'nmi'", "nre or nsw or nhs"]),
    "noskip with a number": (["ir_r1_k3_s2_e6_c24_noskip2"], ["'noskip2'", "noskip is accepted"]),
    "no repeats": (["ir_r0_k3_s1_e6_c24"], ["'r0'", "from 1 to 1000"]),
    "repeats without number": (["ir_r_k3_s1_e6_c24"], ["'r'", "from 1 to 1000"]),
    "too many blocks": (["ir_r1000_k3_s1_e6_c24"] * 2, ["at most 1000 blocks"]),
    "huge number": (["ir_r" + "9" * 5000 + "_k3_s1_e6_c24"], ["string 1", "from 1 to 1000"]),
    "other digits": (["ir_r\uff11_k3_s1_e6_c24"], ["'r\uff11'", "from 1 to 1000"]),
    "fraction of a repeat": (["ir_r1.5_k3_s1_e6_c24"], ["'r1.5'", "whole number"]),
    "no expansion": (["ir_r1_k3_s1_e0_c24"], ["'e0'", "from 0.125 to 100"]),
    "expansion nan": (["ir_r1_k3_s1_enan_c24"], ["'enan'"]),
    "two points": (["ir_r1_k3_s1_e2.5.1_c24"], ["'e2.5.1'", "from 0.125 to 100"]),
    "channels": (["ir_r1_k3_s1_e6_c20"], ["'c20'", "24", "multiple of 8"]),
    "too many channels": (["ir_r1_k3_s1_e6_c65544"], ["'c65544'", "from 8 to 65536"]),
    "hidden width": (["ir_r2_k3_s1_e50_c60000"], ["string 1", "'e50'", "60000", "3000000", "65536"]),
    "twice": (["ir_r1_k3_s1_e6_c24_k5"], ["'k5'", "once"]),
    "missing": (["ir_r1_k3_s1_c24"], ["e is missing", "r, k, s, e, c"]),
    "missing in ds": (["ds_k3_s1_c24"], ["r is missing", "r, k, s, c"]),
    "type alone": (["ir"], ["'ir'", "r is missing"]),
    "expansion of ds": (["ds_r1_k3_s1_e2_c24"], ["'e2'", "e1 is accepted"]),
    "expansion 1": (["ir_r1_k3_s1_e1_c24"], ["'e1'", "32 channels stay 32", "ds"]),
    "expansion 1 by rounding": (["ir_r1_k3_s1_e0.99_c24"], ["'e0.99'", "32 channels stay 32"]),
    "expansion 1 in a repeat": (["ir_r2_k3_s1_e1.5_c32", "ir_r1_k3_s2_e1_c40"], ["string 2", "'e1'", "32"]),
    "noskip with residual": (["ir_r1_k3_s1_e6_c32_noskip"], ["'noskip'", "32 channels"]),
    "noskip with residual in ds": (["ds_r1_k3_s1_c32_noskip"], ["'noskip'", "32 channels"]),
    "noskip with residual in a repeat": (["ir_r2_k3_s2_e6_c24_noskip"], ["'noskip'", "24 channels"]),
    "bottleneck": (["ds_r1_k3_s1_c104", "ds_r1_k3_s1_c24_se0.25"], ["string 2", "'se0.25'", "104", "24", "32"]),
    "strides": ([SOUND] * 5, ["string 5", "'s2'", "64", "at most 32"]),
    "cn first": (["cn_r1_k1_s1_c192", SOUND], ["string 1", "'cn'", "last"]),
    "cn alone but wide": ([SOUND, "cn_r1_k1_s1_c152"], ["string 2", "'c152'", "24 channels", "144"]),
    "cn kernel": ([SOUND, "cn_r1_k3_s1_c144"], ["'k3'", "k1 is accepted"]),
    "cn stride": ([SOUND, "cn_r1_k1_s2_c144"], ["'s2'", "s1 is accepted"]),
    "cn repeats": ([SOUND, "cn_r2_k1_s1_c144"], ["'r2'", "r1 is accepted"]),
    "cn skip": ([SOUND, "cn_r1_k1_s1_c144_skip"], ["'skip'", "r, k, s, c, n"]),
    "cn squeeze-excite": ([SOUND, "cn_r1_k1_s1_c144_se0.25"], ["'se0.25'", "r, k, s, c, n"]),
    "cn activation": ([SOUND, "cn_r1_k1_s1_c144_nhs"], ["'nhs'", "relu"]),
}


def one_line(error: UserError) -> str:
    message = str(error)
    assert message.isprintable() and len(message) < 300
    return message


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_in_one_line(kind: str) -> None:
    strings, named = MISTAKES[kind]
    with pytest.raises(UserError) as caught:
        network_from_timm_strings(strings, name="n")
    message = one_line(caught.value)
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("name", "a\nb", "name = "),
        ("input_size", 0, "input_size = 0"),
        ("input_size", 3, "at least 4"),
        ("in_channels", 17, "in_channels = 17"),
        ("num_classes", 1, "num_classes = 1"),
        ("stem_channels", 12, "12: a multiple of 8"),
        ("stem_channels", 0, "channels = 0"),
        ("stem_channels", -8, "channels = -8"),
        ("head_channels", 0, "channels = 0"),
        ("activation", "relu6", "'relu6'"),
    ],
)
def test_a_value_out_of_range_is_named(option: str, value: Any, named: str) -> None:
    options: dict[str, Any] = {"name": "n", option: value}
    with pytest.raises(UserError) as caught:
        network_from_timm_strings([SOUND], **options)
    assert named in one_line(caught.value)


# The command line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_network_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["import", *STRINGS["mobilenetv3_large_100"].split(), "--output=net.json"]
    options = ["--stem-channels=16", "--activation", "hswish", "--input-size=192", "--num-classes=10", "--name=large"]
    Path("net.json").write_text("of before")
    assert exit_code([*command, *options, "--json"]) == 0
    spec = load_network("net.json")
    cost = network_cost(spec)
    assert json.loads(capfd.readouterr().out) == {
        "network": "net.json",
        "macs": cost.macs,
        "params": cost.params,
        "weights": cost.weights,
        "input_size": 192,
    }
    assert spec == imported("mobilenetv3_large_100", name="large", input_size=192, num_classes=10)
    assert [path.name for path in folder.iterdir()] == ["net.json"]


def test_the_command_s_defaults(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["import", *STRINGS["mnasnet_100"].split(), "--output", "mnasnet_100.json"]) == 0
    assert "4,383,312" in capfd.readouterr().out  # timm's parameters
    assert load_network("mnasnet_100.json") == imported("mnasnet_100")
    assert exit_code(["import", "--help"]) == 0
    assert "se0.25 is of the block's hidden width" in " ".join(capfd.readouterr().out.split())


def test_the_command_refuses(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refusal = partial(refused, capfd, "import")
    assert refusal("er_r1_k3_s1_e4_c24", "--output=n.json").startswith("string 1 'er_r1_k3_s1_e4_c24': 'er'")
    assert "--output missing" in refusal(SOUND)
    assert "STRING missing" in refusal("--output=n.json")
    assert refusal(SOUND, "--output", folder).startswith(f"--output {folder}: is a folder")
    assert refusal(SOUND, "--output=no/n.json") == "--output no/n.json: no is not a folder"
    for option, value in {
        "--input-size": "0",
        "--num-classes": "1",
        "--stem-channels": "0",
        "--head-channels": "65537",
        "--activation": "relu6",
    }.items():
        message = refusal(SOUND, "--output=n.json", option, value)
        assert message.startswith(option) and value in message
    assert "multiple of 8" in refusal(SOUND, "--output=n.json", "--stem-channels=20")
