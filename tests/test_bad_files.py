"""Space, network and architecture files with something wrong: one line that names the place, exit code 2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_runs import copied, network_file, search_config, train_config
from refusals import refused, sound_network, write_network

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.errors import UserError
from fpnas.space_file import load_space
from fpnas.supernet_search import run_search
from fpnas.train import run_train

SPACE = """
format = "fpnas.space/1"
name = "small"
source = "a test"
input_size = 8
share = "group"

[stem]
kernel = 3
channels = 8
stride = 1
activation = "relu"

[head]
kind = "conv"
channels = 16
activation = "relu"

[[group]]
name = "only"
repeat = 2
stride = 2
kernel = [0, 3]
activation = ["relu", "swish"]
splits = [0, 1]
expansion = { min = 1.0, max = 2.0, step = 0.5 }
channels = { min = 8, max = 16, step = 8 }
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_space_that_the_mistakes_are_made_in_is_sound() -> None:
    Path("small.toml").write_text(SPACE)
    assert load_space("small.toml").number_of_blocks == 2


NONSENSE = {
    "negative channels": ("min = 8, max = 16, step = 8", "min = -8, max = 16, step = 8", "channels"),
    "negative channel in a list": (
        "channels = { min = 8, max = 16, step = 8 }",
        "channels = [8, -8]",
        "channels",
    ),
    "min over max": ("min = 8, max = 16", "min = 24, max = 16", "min = 24"),
    "step that misses max": ("max = 16, step = 8", "max = 16, step = 7", "step = 7"),
    "step of zero": ("step = 0.5", "step = 0", "step = 0"),
    "a range without step": (", step = 8", "", "step"),
    "a range with an unknown field": ("step = 8 }", "step = 8, stop = 2 }", "stop"),
    "even kernel": ("kernel = [0, 3]", "kernel = [0, 2]", "kernel"),
    "even stem kernel": ("kernel = 3\nchannels", "kernel = 4\nchannels", "[stem]: kernel = 4"),
    "missing stride": ("stride = 2\n", "", "stride is missing"),
    "stride of zero": ("stride = 2\n", "stride = 0\n", "stride = 0"),
    "missing kernel": ("kernel = [0, 3]", "", "kernel is missing"),
    "no values": ("splits = [0, 1]", "splits = []", "splits"),
    "a value twice": ("splits = [0, 1]", "splits = [1, 1]", "splits"),
    "negative splits": ("splits = [0, 1]", "splits = [0, -1]", "splits"),
    "unknown activation": ('["relu", "swish"]', '["relu", "sine"]', "sine"),
    "repeat of zero": ("repeat = 2", "repeat = 0", "repeat = 0"),
    "repeat as text": ("repeat = 2", 'repeat = "two"', "repeat = 'two'"),
    "repeat as a truth value": ("repeat = 2", "repeat = true", "repeat = True"),
    "repeat in parts": ("repeat = 2", "repeat = 1.5", "repeat = 1.5"),
    "expansion as text": ("expansion = { min = 1.0", 'expansion = { min = "one"', "min = 'one'"),
    "expansion that is no number": ("min = 1.0", "min = nan", "min = nan"),
    "endless expansion": ("max = 2.0", "max = inf", "max = inf"),
    "channels as text": ("channels = { min = 8, max = 16, step = 8 }", 'channels = "wide"', "channels"),
    "a million values": ("min = 1.0, max = 2.0, step = 0.5", "min = 1, max = 100, step = 1e-4", "step"),
    "misspelt field": ("repeat = 2", "repeats = 2", "repeats"),
    "unknown field at the top": ('name = "small"', 'name = "small"\ncolour = "red"', "colour"),
    "no stem": ("[stem]", "[root]", "root"),
    "stem as text": ("[stem]", 'stem = "none"\n[other]', "stem"),
    "stem without channels": ("channels = 8\nstride = 1", "stride = 1", "[stem]: field channels is missing"),
    "unknown head": ('kind = "conv"', 'kind = "pool"', "[head]: kind = 'pool'"),
    "no group": (SPACE[SPACE.index("[[group]]") :], "", "[[group]]"),
    "group as a number": ("[[group]]", "[group]", "[[group]]"),
    "another version": ("fpnas.space/1", "fpnas.space/2", "fpnas.space/2"),
    "no format": ('format = "fpnas.space/1"', "", "format"),
    "unknown share": ('share = "group"', 'share = "row"', "share = 'row'"),
    "input smaller than the strides": ("input_size = 8", "input_size = 1", "input_size = 1"),
    "name of another kind": ('name = "small"', "name = 7", "name = 7"),
}


@pytest.mark.parametrize("mistake", NONSENSE)
def test_nonsensical_space(capfd: pytest.CaptureFixture[str], mistake: str) -> None:
    old, new, named = NONSENSE[mistake]
    assert old in SPACE
    Path("small.toml").write_text(SPACE.replace(old, new, 1))
    message = refused(capfd, "space", "small.toml")
    assert message.startswith("space file small.toml: ") and named in message, message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'name = "small', "broken TOML"),
        (b"[[group", "broken TOML"),
        (b"a = 1\na = 2", "broken TOML"),
        (b"\xff\xfe\x00", "not a UTF-8 text file"),
        (b"", "format"),
        (b"x = " + b"[" * 5000, "broken TOML"),
    ],
)
def test_broken_space(capfd: pytest.CaptureFixture[str], content: bytes, named: str) -> None:
    Path("small.toml").write_bytes(content)
    message = refused(capfd, "space", "small.toml")
    assert message.startswith("space file small.toml: ") and named in message, message


@pytest.mark.parametrize("command", [["space"], ["space", "--json"]])
def test_unknown_space(capfd: pytest.CaptureFixture[str], command: list[str]) -> None:
    message = refused(capfd, *command, "no-such-space")
    assert "no-such-space" in message and "tiny" in message and "fbnetv2-f" in message, message


def test_missing_space_file_and_folder_as_space_file(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "absent.toml: no such file" in refused(capfd, "space", "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    assert "folder.toml: cannot be read" in refused(capfd, "space", "folder.toml")


def test_space_at_an_input_too_small_for_its_strides(capfd: pytest.CaptureFixture[str]) -> None:
    message = refused(capfd, "space", "tiny", "--input-size", "3")
    assert "3" in message and "at least 4 pixels" in message, message


@pytest.mark.parametrize("size", ["0", "-8", "eight", "8.5", "nan", "99999999"])
@pytest.mark.parametrize("command", [["space", "tiny"], ["cost", "net.json"]])
def test_senseless_input_size(capfd: pytest.CaptureFixture[str], command: list[str], size: str) -> None:
    write_network()
    message = refused(capfd, *command, f"--input-size={size}")
    assert "--input-size" in message and size in message, message


def with_value(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets one value of a nested object; the path is dotted, numbers index lists."""

    def change(content: Any) -> None:
        *way, last = path.split(".")
        for part in way:
            content = content[int(part)] if isinstance(content, list) else content[part]
        content[last] = value

    return change


def without(path: str) -> Callable[[dict[str, Any]], None]:
    """Takes one field away."""

    def change(content: Any) -> None:
        *way, last = path.split(".")
        for part in way:
            content = content[int(part)] if isinstance(content, list) else content[part]
        del content[last]

    return change


NETWORK_MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another version": (with_value("format", "fpnas.network/2"), "fpnas.network/2"),
    "version of another kind": (with_value("format", 1), "format = 1"),
    "no format": (without("format"), "format"),
    "channels as text": (with_value("blocks.1.channels", "16"), "block 2: channels = '16'"),
    "channels in parts": (with_value("blocks.1.channels", 16.5), "block 2: channels = 16.5"),
    "negative channels": (with_value("blocks.0.channels", -16), "block 1: channels = -16"),
    "channels as a truth value": (with_value("stem.channels", True), "stem: channels = True"),
    "null for a stride": (with_value("blocks.2.stride", None), "block 3: stride = None"),
    "a list for an expansion": (with_value("blocks.1.expansion", [1]), "block 2: expansion = [1]"),
    "no number for an expansion": (with_value("blocks.1.expansion", float("nan")), "expansion = nan"),
    "even kernel": (with_value("blocks.1.kernel", 4), "block 2: kernel = 4"),
    "unknown activation": (with_value("blocks.1.activation", "sine"), "activation = 'sine'"),
    "activation of another kind": (with_value("stem.activation", {}), "stem: activation = {}"),
    "blocks as an object": (with_value("blocks", {}), "blocks"),
    "a block as a number": (with_value("blocks", [3]), "block 1"),
    "head as a list": (with_value("head", []), "head"),
    "no head": (without("head"), "head"),
    "no blocks": (without("blocks"), "blocks"),
    "one class": (with_value("num_classes", 1), "num_classes = 1"),
    "classes as text": (with_value("num_classes", "ten"), "num_classes = 'ten'"),
    "an endless number of classes": (with_value("num_classes", 10**30), "num_classes"),
    "input of no pixels": (with_value("input_size", 0), "input_size = 0"),
    "name of another kind": (with_value("name", 3), "name = 3"),
    "unknown gate": (with_value("gate", "open"), "gate = 'open'"),
    "unknown field": (with_value("colour", "red"), "colour"),
    "unknown field of a block": (with_value("blocks.0.groups", 2), "block 1: unknown field 'groups'"),
}


@pytest.mark.parametrize("mistake", NETWORK_MISTAKES)
def test_network_file_with_a_mistake(capfd: pytest.CaptureFixture[str], mistake: str) -> None:
    change, named = NETWORK_MISTAKES[mistake]
    content = sound_network()
    change(content)
    Path("net.json").write_text(json.dumps(content))
    message = refused(capfd, "cost", "net.json")
    assert "net.json" in message and named in message, message
    assert refused(capfd, "train", "net.json", "--data", "digits", "--output", "run") == message


WHOLE = json.dumps({"format": "fpnas.network/1", "name": "n"})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (WHOLE[:20].encode(), "not whole JSON"),
        (b"", "not whole JSON"),
        (b"[1, 2]", "object is expected, found list"),
        (b'"text"', "object is expected, found str"),
        (b"null", "object is expected, found NoneType"),
        (b"\xff\xfe", "not a UTF-8 text file"),
        (b"[" * 100_000, "not whole JSON"),
        (b"{}", "format"),
    ],
)
@pytest.mark.parametrize("command", [["cost"], ["train", "--data", "digits", "--output", "run"]])
def test_broken_network_file(capfd: pytest.CaptureFixture[str], command: list[str], content: bytes, named: str) -> None:
    Path("net.json").write_bytes(content)
    message = refused(capfd, command[0], "net.json", *command[1:])
    assert "net.json" in message and named in message, message


@pytest.mark.parametrize("command", [["cost"], ["train", "--data", "digits", "--output", "run"]])
def test_missing_network_file(capfd: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert "absent.json" in refused(capfd, command[0], "absent.json", *command[1:])
    Path("folder").mkdir()
    assert "folder" in refused(capfd, command[0], "folder", *command[1:])


ARCHITECTURE_MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another version": (with_value("format", "fpnas.architecture/2"), "fpnas.architecture/2"),
    "another space": (with_value("space", "fbnetv2-f"), "digest"),
    "unknown space": (with_value("space", "no-such-space"), "--space names a file"),
    "space of another kind": (with_value("space", 3), "space"),
    "another digest": (with_value("digest", "0" * 16), "0" * 16),
    "a group too few": (with_value("groups", []), "groups"),
    "a value that is no choice": (with_value("groups.1.kernel", 7), "group 2: kernel = 7"),
    "a value of another kind": (with_value("groups.1.kernel", "3"), "group 2: kernel = '3'"),
}


@pytest.mark.parametrize("mistake", ARCHITECTURE_MISTAKES)
def test_architecture_file_with_a_mistake(capfd: pytest.CaptureFixture[str], mistake: str) -> None:
    change, named = ARCHITECTURE_MISTAKES[mistake]
    space = load_space("tiny")
    content = architecture_to_json(space, Architecture(tuple((0,) * 5 for _ in space.groups)))
    change(content)
    Path("architecture.json").write_text(json.dumps(content))
    message = refused(capfd, "cost", "architecture.json")
    assert "architecture.json" in message and named in message, message


@pytest.mark.parametrize("kind", ["search", "train"])
def test_a_result_that_lacks_a_field_is_named(search_run: Path, train_run: Path, tmp_path: Path, kind: str) -> None:
    run = copied(search_run if kind == "search" else train_run, tmp_path)
    figures = json.loads((run / "result.json").read_text())
    del figures["seconds"]
    (run / "result.json").write_text(json.dumps(figures))
    with pytest.raises(UserError, match=r"result\.json: of another version; fields .*seconds.* are expected"):
        if kind == "search":
            run_search(search_config(run, resume=True))
        else:
            run_train(network_file(tmp_path), train_config(run, resume=True))
