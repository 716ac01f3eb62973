"""A file is written whole or not at all."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from fpnas.errors import UserError
from fpnas.files import (
    check_output_file,
    read_json,
    what_is_at,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)


def test_writes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, {"width": 3, "name": "ü"})
    assert read_json(path, "file") == {"width": 3, "name": "ü"}
    assert "ü" in path.read_text(encoding="utf-8")
    write_text_atomic(path, "text")
    assert path.read_bytes() == b"text"
    write_bytes_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        write_text_atomic(path, "new")
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_what_cannot_become_json_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json_atomic(tmp_path / "a.json", {"a": object()})
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "a", tmp_path / "file" / "a", tmp_path):
        with pytest.raises(UserError, match="cannot be written") as caught:
            write_text_atomic(path, "text")
        assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, list(range(10)))
    with open(path) as reader:
        write_json_atomic(path, list(range(100_000)))
        assert json.load(reader) == list(range(10))


def test_what_is_at_a_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    places = {"file": "file", "link": "folder", ".": "folder", "nowhere": "", "absent": "", "file/x": "", "a/b/c": ""}
    assert {name: what_is_at(tmp_path / name, "run") for name in places} == places
    assert what_is_at(os.devnull, "run") == "file"
    for name, reason in (("x" * 300, "File name too long"), ("a\0b", "not a path")):
        with pytest.raises(UserError, match=f"^run .*: {reason}$"):
            what_is_at(name, "run")


def test_places_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "new"):
        check_output_file(tmp_path / name)
    for name, reason in ((".", "is a folder"), ("absent/x", "absent is not a folder"), ("file/x", "is not a folder")):
        with pytest.raises(UserError, match=f"^--output .*{reason}"):
            check_output_file(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(UserError, match="is no ordinary file"):
            check_output_file(path)


def test_a_folder_that_cannot_be_written_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path} is not writable"):
        check_output_file(tmp_path / "new")
