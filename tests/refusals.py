"""The command line called with something wrong, and what must hold then."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fpnas.architecture import Architecture
from fpnas.cli import main
from fpnas.network_file import network_to_json
from fpnas.network_spec import resolve
from fpnas.space_file import load_space


def _options(values: dict[str, str]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def search(**changed: str) -> list[str]:
    """Arguments of a small sound search, but for what is changed."""
    sound = {"data": "digits", "space": "tiny", "target_macs": "0.3M", "output": "run"}
    return ["search", *_options(sound | changed)]


def train(**changed: str) -> list[str]:
    """Arguments of a small sound training of `net.json`, but for what is changed."""
    return ["train", "net.json", *_options({"data": "digits", "output": "run", "epochs": "1"} | changed)]


def sound_network() -> dict[str, Any]:
    """Content of a network file for digits."""
    space = load_space("tiny")
    rows = tuple(tuple(size - 1 for size in sizes) for sizes in space.cardinalities)
    return network_to_json(resolve(space, Architecture(rows)))


def write_network() -> None:
    """Make a sound `net.json` in the working directory."""
    Path("net.json").write_text(json.dumps(sound_network()))


def image_folder(root: Path, **images: int) -> Path:
    """Class folders with small images, e.g. train__cat=3."""
    for place, number in images.items():
        folder = root / place.replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            Image.new("RGB", (9, 8), (40 * index % 256, 100, 7)).save(folder / f"{index}.png")
    return root


SOUND_IMAGES = {"train__cat": 4, "train__dog": 4, "val__cat": 1, "val__dog": 1}


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder: content of files, None for directories."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def exit_code(arguments: list[str]) -> int:
    """Exit code of `fpnas ARGUMENTS`, run in this process."""
    try:
        return main(arguments) or 0
    except SystemExit as stop:
        assert stop.code is None or isinstance(stop.code, int), stop.code
        return stop.code or 0


def refused(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The message with which the command line refuses its arguments.

    Asserts exit code 2, exactly one line on standard error, nothing on standard output, and that everything
    under the working directory is as it was.
    """
    before = tree(Path.cwd())
    capfd.readouterr()
    code = exit_code([str(argument) for argument in arguments])
    output, errors = capfd.readouterr()
    assert code == 2, (code, errors)
    assert output == ""
    assert errors.startswith("fpnas: error: ") and errors.endswith("\n"), errors
    assert errors.count("\n") == 1 and "Traceback" not in errors and "usage:" not in errors, errors
    assert tree(Path.cwd()) == before
    return errors.removeprefix("fpnas: error: ").rstrip("\n")
