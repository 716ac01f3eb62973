"""Architecture files: there and back, and what is refused."""

import json
from typing import Any

import pytest
import torch
from sampled import uniform_indices

from fpnas.architecture import Architecture, all_architectures, architecture_from_json, architecture_to_json
from fpnas.errors import UserError
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space


@pytest.mark.parametrize("name", builtin_space_names())
def test_json_there_and_back(name: str) -> None:
    space = load_space(name)
    for row in uniform_indices(space, 50):
        architecture = Architecture.of(row)
        content = json.loads(json.dumps(architecture_to_json(space, architecture)))
        assert architecture_from_json(space, content, "a") == architecture


def test_json_holds_names_and_values() -> None:
    space = load_space("tiny")
    content = architecture_to_json(space, Architecture(tuple((0,) * 5 for _ in space.groups)))
    assert content["format"] == "fpnas.architecture/1"
    assert (content["space"], content["digest"]) == ("tiny", space.digest)
    assert content["groups"][1] == {
        "name": "down",
        "kernel": 0,
        "activation": "relu",
        "splits": 0,
        "expansion": 0.75,
        "channels": 16,
    }


def test_a_whole_number_may_stand_for_an_expansion() -> None:
    space = load_space("tiny")
    architecture = Architecture(tuple((0,) * 5 for _ in space.groups))
    content = architecture_to_json(space, architecture)
    content["groups"][0]["expansion"] = 1
    assert architecture_from_json(space, content, "a") == architecture


def test_tensors_and_lists_make_equal_architectures() -> None:
    rows = [[0, 1, 0, 2, 1], [1, 0, 0, 0, 3]]
    assert Architecture.of(torch.tensor(rows)) == Architecture.of(rows)
    assert hash(Architecture.of(torch.tensor(rows))) == hash(Architecture.of(rows))


def test_all_architectures_are_all_different() -> None:
    space = load_space("tiny")
    seen = list(all_architectures(space))
    assert len(seen) == len(set(seen)) == space.number_of_architectures
    assert seen[1].indices[-1][-1] == 1 and seen == sorted(seen, key=lambda a: a.indices)


def _change(content: dict[str, Any], *path: Any, to: Any) -> None:
    for step in path[:-1]:
        content = content[step]
    content[path[-1]] = to


MISTAKES: list[tuple[tuple[Any, ...], Any, list[str]]] = [
    (("format",), "fpnas.architecture/2", ["format", "fpnas.architecture/2", "fpnas.architecture/1"]),
    (("format",), None, ["format"]),
    (("space",), 7, ["space = 7"]),
    (("digest",), "0" * 16, ["digest", "another space"]),
    (("digest",), {}, ["digest"]),
    (("extra",), 1, ["extra"]),
    (("groups",), None, ["groups", "4 groups"]),
    (("groups",), [], ["groups", "4 groups"]),
    (("groups", 2), 3, ["group 3"]),
    (("groups", 2, "name"), "down", ["group 3", "name = 'down'", "deep"]),
    (("groups", 2, "kernel"), 7, ["group 3", "kernel = 7", "0, 3, 5"]),
    (("groups", 2, "kernel"), False, ["group 3", "kernel = False"]),
    (("groups", 2, "kernel"), 3.0, ["group 3", "kernel = 3.0"]),
    (("groups", 2, "kernel"), "3", ["group 3", "kernel = '3'"]),
    (("groups", 2, "activation"), "a\nb", ["group 3", "activation"]),
    (("groups", 2, "expansion"), float("nan"), ["group 3", "expansion = nan"]),
    (("groups", 2, "expansion"), 10**4500, ["group 3", "expansion"]),
    (("groups", 2, "channels"), 28, ["group 3", "channels = 28", "24, 32"]),
    (("groups", 2, "width"), 28, ["group 3", "width"]),
]


@pytest.mark.parametrize(("path", "value", "named"), MISTAKES, ids=[str(path) for path, *_ in MISTAKES])
def test_a_mistake_is_named_in_one_line(path: tuple[Any, ...], value: Any, named: list[str]) -> None:
    space = load_space("tiny")
    content = architecture_to_json(space, Architecture(tuple((0,) * 5 for _ in space.groups)))
    _change(content, *path, to=value)
    with pytest.raises(UserError) as caught:
        architecture_from_json(space, content, "file a.json")
    message = str(caught.value)
    assert message.startswith("file a.json: ") and "\n" not in message
    for part in named:
        assert part in message


@pytest.mark.parametrize("field", ["format", "space", "digest", "groups"])
def test_a_missing_field_is_named(field: str) -> None:
    space = load_space("tiny")
    content = architecture_to_json(space, Architecture(tuple((0,) * 5 for _ in space.groups)))
    del content[field]
    with pytest.raises(UserError, match=field):
        architecture_from_json(space, content, "a")


def test_an_architecture_of_another_space_is_refused() -> None:
    space, other = load_space("fbnetv2-f"), load_space("fbnetv2-f-32")
    content = architecture_to_json(other, Architecture(tuple((0,) * 5 for _ in other.groups)))
    with pytest.raises(UserError, match="another space"):
        architecture_from_json(space, content, "a")
