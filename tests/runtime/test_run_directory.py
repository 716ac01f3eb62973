"""Where a run lives: made whole, opened again, and never over anything else."""

import errno
import os
from pathlib import Path

import pytest
import torch
import yaml

from fpnas.errors import UserError
from fpnas.runtime.environment import environment
from fpnas.runtime.run_directory import RunDirectory
from fpnas.version import __version__


def test_a_run_can_be_made_and_opened(tmp_path: Path) -> None:
    config = {"seed": 3, "output": tmp_path / "a" / "b", "max_images": None, "data": "größe"}
    made = RunDirectory.create(tmp_path / "a" / "b", "search", config)
    opened = RunDirectory.open(tmp_path / "a" / "b")
    assert opened == made
    assert opened.kind == "search"
    assert opened.config == config | {"output": str(tmp_path / "a" / "b")}
    assert opened.checkpoints.is_dir()
    assert yaml.safe_load(opened.config_path.read_text())["fpnas"] == __version__


def test_a_run_says_what_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/lib/fpnas/__main__.py", "search", "--output", "a b"])
    RunDirectory.create(tmp_path / "run", "search", {})
    made_with = RunDirectory.open(tmp_path / "run").made_with
    assert made_with["fpnas"] == __version__ and made_with["torch"] == torch.__version__
    assert made_with["command"] == "fpnas search --output 'a b'" and made_with["processes"] == "1"
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest", "-q"])
    assert "command" not in environment()
    # Runs of before, and whatever else may stand there.
    for text in ("", "environment: 3\n", "environment: [3]\n"):
        (tmp_path / "run" / "config.yaml").write_text(f"kind: search\nfpnas: 0.1\n{text}configuration: {{}}\n")
        assert RunDirectory.open(tmp_path / "run").made_with == {"fpnas": "0.1"}


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    RunDirectory.check_free(tmp_path)
    assert RunDirectory.create(tmp_path, "train", {}).path == tmp_path


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    RunDirectory.check_free(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["run", "run/config.yaml", "run/config.yaml/deeper", "full", "full/link", "a\0b"])
def test_a_place_that_is_taken_is_refused_and_left_alone(tmp_path: Path, path: str) -> None:
    RunDirectory.create(tmp_path / "run", "search", {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for attempt in (RunDirectory.check_free, lambda place: RunDirectory.create(place, "train", {})):
        with pytest.raises(UserError, match="--output"):
            attempt(tmp_path / path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_no_system_takes_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(UserError) as error:
        RunDirectory.create(path, "train", {})
    message = str(error.value)
    assert message.count(str(path)) == 1 and message.endswith(f": {os.strerror(errno.ENAMETOOLONG)}")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so that permissions alone would not show it.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="not writable"):
        RunDirectory.check_free(tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "no config.yaml"),
        ("kind: [", "broken YAML"),
        ("- search", "kind"),
        ("kind: dance\nconfiguration: {}", "dance"),
        ("configuration: {}", "kind"),
        ("kind: search", "configuration is missing"),
        ("kind: search\nconfiguration: 3", "configuration is missing"),
        ("kind: [search]\nconfiguration: {}", "kind"),
        ("kind: search\nconfiguration: {seed: 2024-13-45}", "broken YAML"),
        (f"kind: search\nconfiguration: {{seed: {'9' * 5000}}}", "broken YAML"),
        ("[" * 3000, "broken YAML"),
        ("kind: search\nconfiguration: {1: 1}", "unknown field 1"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None, named: str) -> None:
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=named):
        RunDirectory.open(tmp_path)


def test_a_missing_run_and_one_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        RunDirectory.open(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a directory"):
        RunDirectory.open(tmp_path / "file")
    RunDirectory.create(tmp_path / "run", "search", {})
    with pytest.raises(UserError, match="is a search run; a train run is expected"):
        RunDirectory.open(tmp_path / "run", "train")
