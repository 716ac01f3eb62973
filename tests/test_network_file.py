"""Network files: there and back, the published networks, and every mistake in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from sampled import uniform_specs

from fpnas.cost import network_cost
from fpnas.errors import UserError
from fpnas.files import write_json_atomic
from fpnas.network_file import load_network, network_from_json, network_to_json
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space

DATA = Path(__file__).parent / "data"

# FBNetV2 model zoo: multiply-adds and convolution and linear weights.
PUBLISHED = {
    "fbnetv2-f1": {"input_size": 128, "macs": 56_410_560, "weights": 5_999_408},
    "fbnetv2-f4": {"input_size": 224, "macs": 238_351_984, "weights": 6_994_824},
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_networks_cost_what_was_published_to_the_last_digit(name: str) -> None:
    spec, figures = load_network(DATA / f"{name}.json"), PUBLISHED[name]
    cost = network_cost(spec)
    assert {"input_size": spec.input_size, "macs": cost.macs, "weights": cost.weights} == figures
    assert {"macs": cost.macs, "weights": cost.weights}.items() <= spec.published.items()
    assert spec.gate == "hard_sigmoid"


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_networks_there_and_back(name: str, tmp_path: Path) -> None:
    spec = load_network(DATA / f"{name}.json")
    write_json_atomic(tmp_path / "net.json", network_to_json(spec))
    again = load_network(tmp_path / "net.json")
    assert again == spec and again.published == spec.published


@pytest.mark.parametrize("name", builtin_space_names())
def test_networks_of_a_space_there_and_back(name: str) -> None:
    for spec in uniform_specs(load_space(name), 30, num_classes=17):
        again = network_from_json(json.loads(json.dumps(network_to_json(spec))), "n")
        assert again == spec and network_cost(again) == network_cost(spec)


def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / "fbnetv2-f1.json").read_text())
    return content


MISTAKES: list[tuple[tuple[Any, ...], Any, list[str]]] = [
    (("format",), "fpnas.network/2", ["format", "fpnas.network/2", "fpnas.network/1"]),
    (("format",), 1, ["format = 1"]),
    (("formt",), 1, ["formt"]),
    (("name",), None, ["name = None"]),
    (("name",), "a\nb", ["name"]),
    (("name",), "\ud800", ["name"]),
    (("input_size",), 0, ["input_size = 0"]),
    (("input_size",), 5000, ["input_size = 5000", "4096"]),
    (("input_size",), 128.0, ["input_size = 128.0"]),
    (("input_size",), True, ["input_size = True"]),
    (("input_size",), "128", ["input_size = '128'"]),
    (("input_size",), 31, ["31", "32"]),
    (("in_channels",), 0, ["in_channels = 0"]),
    (("num_classes",), 1, ["num_classes = 1"]),
    (("num_classes",), 10**9, ["num_classes"]),
    (("num_classes",), 10**5000, ["num_classes"]),
    (("stem",), None, ["stem"]),
    (("stem",), [3], ["stem"]),
    (("stem", "kernel"), 2, ["stem", "kernel = 2"]),
    (("stem", "activation"), "tanh", ["stem", "activation", "relu, swish, hswish"]),
    (("stem", "size"), 2, ["stem", "size"]),
    (("head", "kind"), "mlp", ["head", "kind", "conv, ir_pool"]),
    (("head", "channels"), float("inf"), ["head", "channels = inf"]),
    (("gate",), "tanh", ["gate", "hard_sigmoid"]),
    (("blocks",), {}, ["blocks"]),
    (("blocks",), [{}] * 1001, ["blocks", "1000"]),
    (("blocks", 2), "x", ["block 3"]),
    (("blocks", 2), {}, ["block 3", "missing"]),
    (("blocks", 2, "kernel"), 1, ["block 3", "kernel = 1", "0, 3, 5, 7"]),
    (("blocks", 2, "kernel"), float("nan"), ["block 3", "kernel = nan"]),
    (("blocks", 2, "splits"), -1, ["block 3", "splits = -1"]),
    (("blocks", 2, "splits"), 1.0, ["block 3", "splits = 1.0"]),
    (("blocks", 2, "expansion"), float("nan"), ["block 3", "expansion = nan"]),
    (("blocks", 2, "expansion"), float("-inf"), ["block 3", "expansion = -inf"]),
    (("blocks", 2, "expansion"), 1e300, ["block 3", "expansion = 1e+300"]),
    (("blocks", 2, "expansion"), False, ["block 3", "expansion = False"]),
    (("blocks", 2, "channels"), 10**400, ["block 3", "channels"]),
    (("blocks", 2, "stride"), 3, ["block 3", "stride = 3", "1, 2, 4"]),
    (("blocks", 2, "width"), 3, ["block 3", "width"]),
    (("published",), 3, ["published"]),
    (("published", "macs"), "many", ["published", "macs"]),
    (("published", "macs"), float("nan"), ["published", "macs = nan"]),
]


@pytest.mark.parametrize(("path", "value", "named"), MISTAKES, ids=[str(path) for path, *_ in MISTAKES])
def test_a_mistake_is_named_in_one_line(path: tuple[Any, ...], value: Any, named: list[str]) -> None:
    content = table = _content()
    for step in path[:-1]:
        table = table[step]
    table[path[-1]] = value
    with pytest.raises(UserError) as caught:
        network_from_json(content, "network file n.json")
    message = str(caught.value)
    assert message.startswith("network file n.json: ") and "\n" not in message and len(message) < 300
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    "field", ["format", "name", "input_size", "in_channels", "num_classes", "stem", "blocks", "head"]
)
def test_a_missing_field_is_named(field: str) -> None:
    content = _content()
    del content[field]
    with pytest.raises(UserError, match=field):
        network_from_json(content, "n")


def test_a_hidden_width_out_of_range_is_named() -> None:
    content = _content()
    content["blocks"][2] |= {"channels": 60_000}
    content["blocks"][3] |= {"expansion": 50}
    with pytest.raises(UserError, match=r"block 4: expansion = 50.*3000000.*65536"):
        network_from_json(content, "n")


SOUND = (DATA / "fbnetv2-f1.json").read_text()
BROKEN = {
    "empty": "",
    "truncated": SOUND[:500],
    "list": "[1, 2]",
    "text": '"network"',
    "nan": "NaN",
    "binary": b"\x00\xff\xfe\x80",
    "deep": "[" * 200_000,
    "deep object": '{"a":' * 200_000,
    "deep value": SOUND.replace('"name": "FBNetV2-F1"', '"name": ' + "[" * 900 + "]" * 900),
    "huge number": SOUND.replace('"input_size": 128', '"input_size": ' + "9" * 5000),
    "huge exponent": SOUND.replace('"input_size": 128', '"input_size": 1e999999'),
    "twice": SOUND + SOUND,
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_a_broken_file_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    content = BROKEN[kind]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"^network file .*net\.json: ") as caught:
        load_network(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_mark_that_some_editors_begin_a_file_with_is_no_part_of_it(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.json", tmp_path / "marked.json"
    plain.write_text(SOUND)
    marked.write_text("\ufeff" + SOUND, encoding="utf-8")
    assert load_network(marked) == load_network(plain)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    for length in range(0, len(SOUND.rstrip()), 97):
        path.write_text(SOUND[:length])
        with pytest.raises(UserError, match="not whole JSON"):
            load_network(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        load_network(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read"):
        load_network(tmp_path)
    with pytest.raises(UserError, match="not a path"):
        load_network("a\0b")
