"""Built-in spaces against published figures; every mistake in a space file against its one-line message."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sampled import uniform_indices

from fpnas.architecture import Architecture
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.network_spec import resolve
from fpnas.space import VARIABLES, builtin_space_names
from fpnas.space_file import load_space, parse_space, space_to_toml

SPACE = """
format = "fpnas.space/1"
name = "small"
source = "a test"
input_size = 32
share = "group"

[stem]
kernel = 3
channels = 16
stride = 2
activation = "swish"

[head]
kind = "conv"
channels = 64
activation = "swish"

[choices]
kernel = [0, 3]
activation = ["relu", "swish"]
splits = [0, 2]

[[group]]
expansion = 1
channels = { min = 16, max = 24, step = 4 }
repeat = 1
stride = 2

[[group]]
name = "deep"
expansion = { min = 0.5, max = 1.5, step = 0.5 }
channels = [32, 40]
repeat = 3
stride = 2
"""


def test_fbnetv2_f_is_for_imagenet_at_128_pixels() -> None:
    space = load_space("fbnetv2-f")
    assert (space.input_size, space.in_channels, space.num_classes) == (128, 3, 1000)
    assert space.groups[1].values("expansion") == (0.75, 1.5, 2.25, 3.0, 3.75, 4.5)
    assert space.groups[9].values("channels") == tuple(range(112, 185, 8))


def test_fbnetv2_f_32_is_fbnetv2_f_but_for_one_stride_and_the_tail() -> None:
    small, large = load_space("fbnetv2-f-32"), load_space("fbnetv2-f")
    assert [(g.repeat, g.choices) for g in small.groups] == [(g.repeat, g.choices) for g in large.groups]
    differing = [i for i in range(10) if small.groups[i].stride != large.groups[i].stride]
    assert differing == [3]
    assert small.stem == large.stem


@pytest.mark.parametrize("in_channels", [1, 3])
def test_fbnetv2_f_32_costs_4_to_5_million_at_28_pixels(in_channels: int) -> None:
    space = load_space("fbnetv2-f-32")
    table = build_cost_table(space, input_size=28, in_channels=in_channels)
    assert 4e6 <= table.cost(uniform_indices(space, 20_000)).double().median().item() <= 5e6


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("input_size", range(28, 65))
def test_fbnetv2_f_32_leaves_2_to_4_pixels_before_the_pool(input_size: int, in_channels: int) -> None:
    space = load_space("fbnetv2-f-32")
    first = torch.zeros(len(space.groups), len(VARIABLES), dtype=torch.int64)
    spec = resolve(space, Architecture.of(first), input_size=input_size, in_channels=in_channels)
    assert 2 <= spec.last_size <= 4


def test_tiny_can_be_enumerated_and_has_every_kind_of_choice() -> None:
    space = load_space("tiny")
    assert space.number_of_architectures <= 1e5
    table = build_cost_table(space, input_size=8)
    assert table.minimum() < 0.15e6 and table.maximum() > 0.6e6
    offered = {name: {v for g in space.groups for v in g.values(name)} for name in VARIABLES}
    assert offered["kernel"] == {0, 3, 5}
    assert offered["activation"] == {"relu", "swish"}
    assert offered["splits"] == {0, 1, 2, 4}
    assert min(offered["expansion"]) < 1 < max(offered["expansion"])
    assert len(offered["channels"]) > 4
    assert {g.stride for g in space.groups} == {1, 2} and max(g.repeat for g in space.groups) > 1


@pytest.mark.parametrize("name", builtin_space_names())
def test_every_builtin_space_loads_under_its_own_name(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    assert all(tuple(c.name for c in group.choices) == VARIABLES for group in space.groups)


@pytest.mark.parametrize("name", builtin_space_names())
def test_a_space_goes_through_its_file(name: str) -> None:
    space = load_space(name)
    assert parse_space(space_to_toml(space), "s") == space


def test_odd_names_go_through_a_space_file() -> None:
    text = SPACE.replace('"small"', "'say \"x\" \\ ä'").replace('share = "group"', 'share = "block"')
    space = parse_space(text, "s")
    assert parse_space(space_to_toml(space), "s") == space and space.name == 'say "x" \\ ä'


def test_ranges_single_values_and_shared_choices() -> None:
    first, deep = parse_space(SPACE, "s").groups
    assert first.values("channels") == (16, 20, 24) and all(type(c) is int for c in first.values("channels"))
    assert first.values("expansion") == (1.0,)
    assert first.values("kernel") == (0, 3) == deep.values("kernel")
    assert deep.values("expansion") == (0.5, 1.0, 1.5)
    assert (first.name, deep.name) == ("1", "deep")


def test_a_range_holds_the_numbers_one_would_write() -> None:
    text = SPACE.replace("{ min = 0.5, max = 1.5, step = 0.5 }", "{ min = 0.1, max = 0.7, step = 0.1 }")
    assert parse_space(text, "s").groups[1].values("expansion") == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_sharing_by_block_gives_every_block_its_own_choices() -> None:
    space = parse_space(SPACE.replace('share = "group"', 'share = "block"'), "s")
    assert [g.name for g in space.groups] == ["1", "deep.1", "deep.2", "deep.3"]
    assert [(g.repeat, g.stride) for g in space.groups] == [(1, 2), (1, 2), (1, 1), (1, 1)]
    by_group = parse_space(SPACE, "s")
    assert space.number_of_blocks == by_group.number_of_blocks == 4
    deep = math.prod(by_group.groups[1].cardinalities)
    assert space.number_of_architectures == by_group.number_of_architectures * deep**2
    assert space.total_stride == by_group.total_stride == 8


def test_the_digest_tells_what_is_searched_and_nothing_else() -> None:
    digest = parse_space(SPACE, "s").digest
    for same in [('"small"', '"other"'), ("input_size = 32", "input_size = 64"), ('"a test"', '"b"')]:
        assert parse_space(SPACE.replace(*same), "s").digest == digest
    for other in [
        ("[0, 2]", "[0, 1]"),
        ("[32, 40]", "[40, 32]"),
        ("repeat = 3", "repeat = 2"),
        ("kernel = 3\n", "kernel = 5\n"),
        ("channels = 64", "channels = 72"),
        ('"deep"', '"shallow"'),
        ('share = "group"', 'share = "block"'),
    ]:
        assert SPACE.count(other[0]) >= 1
        assert parse_space(SPACE.replace(*other), "s").digest != digest


# (text to replace, replacement, what the one-line message must name)
MISTAKES = [
    ('format = "fpnas.space/1"', 'format = "fpnas.space/2"', ["format", "fpnas.space/2", "fpnas.space/1"]),
    ('format = "fpnas.space/1"\n', "", ["format", "missing"]),
    ('name = "small"', 'nmae = "small"', ["nmae", "accepted"]),
    ('name = "small"', "name = 3", ["name = 3"]),
    ('name = "small"', 'name = "a\\nb"', ["name"]),
    ('name = "small"', 'name = ""', ["name"]),
    ('source = "a test"\n', "", ["source", "missing"]),
    ("input_size = 32", "input_size = 0", ["input_size = 0", "4096"]),
    ("input_size = 32", "input_size = 4", ["input_size = 4", "8"]),
    ("input_size = 32", "input_size = 32.0", ["input_size = 32.0"]),
    ("input_size = 32", "input_size = true", ["input_size = True"]),
    ("input_size = 32", "input_size = 0x" + "f" * 5000, ["input_size"]),
    ("input_size = 32", "input_size = " + "9" * 5000, ["TOML"]),
    ("input_size = 32", "input_size = 32\nin_channels = 17", ["in_channels = 17"]),
    ("input_size = 32", "input_size = 32\nnum_classes = 1", ["num_classes = 1"]),
    ('share = "group"', 'share = "row"', ["share", "row", "group, block"]),
    ("[stem]\nkernel = 3", "[stem]\nkernel = 4", ["[stem]", "kernel = 4", "1, 3, 5, 7"]),
    ("[stem]\nkernel = 3\n", "[stem]\n", ["[stem]", "kernel", "missing"]),
    ("[stem]\n", "[stem]\nsize = 1\n", ["[stem]", "size"]),
    ('[head]\nkind = "conv"', '[head]\nkind = "pool"', ["[head]", "kind", "conv, ir_pool"]),
    ("channels = 64", "channels = -1", ["[head]", "channels = -1"]),
    ("kernel = [0, 3]", "kernel = [0, 4]", ["[choices]", "kernel = 4", "0, 3, 5, 7"]),
    ("kernel = [0, 3]", "kernel = []", ["[choices]", "kernel", "0 values"]),
    ("kernel = [0, 3]", "kernel = [3, 3]", ["[choices]", "kernel", "twice"]),
    ("kernel = [0, 3]", "kernel = [false, 3]", ["kernel = False"]),
    ("kernel = [0, 3]", "kernel = { min = 3, max = 5, step = 2 }", ["kernel", "list"]),
    ("kernel = [0, 3]", "kernel = " + "[" * 3000 + "]" * 3000, ["s: "]),
    ("kernel = [0, 3]\n", "", ["group 1", "kernel", "missing"]),
    ('["relu", "swish"]', '["relu", "gelu"]', ["activation", "gelu", "hswish"]),
    ('["relu", "swish"]', '["relu", "a\\nb"]', ["activation"]),
    ("splits = [0, 2]", "splits = [0, 9]", ["splits = 9", "0 to 8"]),
    ("[choices]", "[choices]\nwidth = 3", ["[choices]", "width"]),
    ("expansion = 1\n", "expansion = nan\n", ["group 1", "expansion = nan"]),
    ("expansion = 1\n", "expansion = inf\n", ["group 1", "expansion = inf"]),
    ("expansion = 1\n", "expansion = 0\n", ["group 1", "expansion = 0"]),
    ("expansion = 1\n", 'expansion = "1"\n', ["group 1", "expansion = '1'"]),
    ("max = 24, step = 4", "max = 25, step = 4", ["group 1", "channels", "step = 4", "25"]),
    ("max = 24, step = 4", "max = 12, step = 4", ["group 1", "channels", "min = 16", "max = 12"]),
    ("max = 24, step = 4", "max = 24, step = 0", ["group 1", "channels", "step = 0"]),
    ("max = 24, step = 4", "max = 24", ["group 1", "channels", "step", "missing"]),
    ("max = 24, step = 4", "max = 24, stride = 4", ["group 1", "channels", "stride"]),
    ("max = 24, step = 4", "max = 2000, step = 1", ["group 1", "channels", "256"]),
    ("max = 24, step = 4", "max = 24.0, step = 4", ["group 1", "channels", "max = 24.0"]),
    ("[32, 40]", "[32, 9000]", ["group 2", "channels = 9000"]),
    (
        "max = 1.5, step = 0.5 }\nchannels = [32, 40]",
        "max = 16.5, step = 0.5 }\nchannels = [32, 4096]",
        ["group deep", "expansion = 16.5", "of 4096 channels that is 67584", "at most 65536"],
    ),
    ("repeat = 3", "repeat = 0", ["group 2", "repeat = 0"]),
    ("repeat = 3\n", "", ["group 2", "repeat", "missing"]),
    ("stride = 2\n\n[[group]]", "stride = 3\n\n[[group]]", ["group 1", "stride = 3", "1, 2, 4"]),
    ("repeat = 3", "repeat = 3\nrepeats = 2", ["group 2", "repeats"]),
    ('name = "deep"', 'name = "1"', ["group", "'1'", "twice"]),
    ("[[group]]\nexpansion", "[group]\nexpansion", ["TOML"]),
    ("[stem]", "[stem", ["TOML"]),
]


@pytest.mark.parametrize(("old", "new", "named"), MISTAKES)
def test_a_mistake_is_named_in_one_line(old: str, new: str, named: list[str]) -> None:
    assert SPACE.count(old) == 1 or old.startswith(("name", "kernel"))
    with pytest.raises(UserError) as caught:
        parse_space(SPACE.replace(old, new, 1), "s")
    message = str(caught.value)
    assert message.startswith("s: ") and "\n" not in message and len(message) < 300
    for part in named:
        assert part in message


def test_a_group_of_too_many_combinations_is_named() -> None:
    wide = "expansion = { min = 0.1, max = 12.8, step = 0.1 }\nchannels = { min = 1, max = 256, step = 1 }"
    narrow = SPACE[SPACE.index("[[group]]") : SPACE.index("[[group]]", SPACE.index("[[group]]") + 1)]
    row = f"[[group]]\n{wide}\nkernel = [0, 3, 5]\nsplits = [0, 1, 2, 4]\nrepeat = 1\nstride = 1\n"
    text = SPACE.replace(narrow, row + row)
    with pytest.raises(UserError, match=r"s: group 2: \d+ combinations .* at most 16777216"):
        parse_space(text, "s")


def test_a_space_is_the_same_whether_its_expansions_have_a_point() -> None:
    space = parse_space(SPACE, "s")
    groups = tuple(
        replace(
            group,
            choices=tuple(
                replace(choice, values=tuple(int(v) if v == int(v) else v for v in choice.values))
                if choice.name == "expansion"
                else choice
                for choice in group.choices
            ),
        )
        for group in space.groups
    )
    whole = replace(space, groups=groups)
    assert any(type(value) is int for group in whole.groups for value in group.values("expansion"))
    assert whole.digest == space.digest == parse_space(space_to_toml(whole), "s").digest


def test_missing_parts_and_too_many_blocks_are_named() -> None:
    for part in ("[stem]", "[head]"):
        start = SPACE.index(part)
        without = SPACE[:start] + SPACE[SPACE.index("\n\n", start) :]
        with pytest.raises(UserError, match=r"\[stem\]|\[head\]"):
            parse_space(without, "s")
    with pytest.raises(UserError, match=r"group"):
        parse_space(SPACE[: SPACE.index("[[group]]")], "s")
    many = SPACE + '[[group]]\nname="x"\nexpansion=1\nchannels=8\nstride=1\nrepeat=100\n'
    many += '[[group]]\nname="y"\nexpansion=1\nchannels=8\nstride=1\nrepeat=97\n'
    with pytest.raises(UserError, match="201 blocks"):
        parse_space(many, "s")


def test_as_many_rows_as_blocks_are_read_back() -> None:
    # A space without shared choices is written with a row for every block.
    text = SPACE.replace('share = "group"', 'share = "block"')
    for name in "xy":
        text += f'[[group]]\nname="{name}"\nexpansion=1\nchannels=8\nstride=1\nrepeat=98\n'
    space = parse_space(text, "s")
    assert len(space.groups) == space.number_of_blocks == 200
    assert parse_space(space_to_toml(space), "written") == space


def test_names_made_for_blocks_must_not_meet_names_of_rows() -> None:
    text = SPACE.replace('share = "group"', 'share = "block"') + (
        '[[group]]\nname = "deep.2"\nexpansion = 1\nchannels = 8\nstride = 1\nrepeat = 1\n'
    )
    with pytest.raises(UserError, match=r"'deep\.2'.*twice"):
        parse_space(text, "s")


@pytest.mark.parametrize("name", ["nosuch", "no\nsuch", "a" * 500, "nul\0byte", ""])
def test_an_unknown_name_lists_the_builtin_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"fbnetv2-f.*tiny") as caught:
        load_space(name)
    assert "\n" not in str(caught.value)


def test_a_space_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SPACE)
    assert load_space(path) == parse_space(SPACE, "s") == load_space(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"mine\.toml.*UTF-8"):
        load_space(path)
    with pytest.raises(UserError, match=r"none\.toml: no such file"):
        load_space(tmp_path / "none.toml")
    with pytest.raises(UserError, match="not a path"):
        load_space("nul\0byte.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UserError, match=r"folder\.toml: cannot be read"):
        load_space(tmp_path / "folder.toml")
