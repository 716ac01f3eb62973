"""Data with something wrong: one line that names it, exit code 2, nothing left behind."""

import os
from pathlib import Path

import pytest
from refusals import SOUND_IMAGES, image_folder, refused, search, train, write_network

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("data", ["absent", "./absent", "some/where/else", "", "no-such-data"])
def test_missing_data(capfd: Captured, data: str) -> None:
    message = refused(capfd, *search(data=data))
    assert "--data" in message and data.removeprefix("./") in message, message


def test_file_as_data(capfd: Captured) -> None:
    Path("file").write_text("text")
    assert "file" in refused(capfd, *search(data="./file"))


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        ({}, "train"),
        ({"train": 0}, "train"),
        ({"train": 2, "val": 2}, "train"),
        ({"train__cat": 3, "val__cat": 1}, "two"),
        ({"train__cat": 3, "train__dog": 0, "val__cat": 1}, "dog"),
        ({"train__cat": 3, "train__dog": 3, "val__bird": 1}, "bird"),
        ({"val__cat": 3, "val__dog": 3}, "train"),
    ],
)
def test_unusable_folder(capfd: Captured, folders: dict[str, int], named: str) -> None:
    write_network()
    Path("images").mkdir()
    image_folder(Path("images"), **folders)
    for arguments in (search(data="images"), train(data="images")):
        message = refused(capfd, *arguments)
        assert "--data images" in message and named in message, message


def test_a_class_whose_name_is_no_text_is_refused_before_the_work(capfd: Captured) -> None:
    write_network()
    image_folder(Path("images"), **SOUND_IMAGES)
    for part in ("train", "val"):
        os.rename(f"images/{part}/cat", os.fsdecode(f"images/{part}/".encode() + b"caf\xe9"))
    for arguments in (search(data="images"), train(data="images")):
        assert "is not UTF-8" in refused(capfd, *arguments)


def test_folder_without_val_cannot_be_trained_on(capfd: Captured) -> None:
    write_network()
    image_folder(Path("images"), train__cat=3, train__dog=3)
    message = refused(capfd, *train(data="images"))
    assert "--data images" in message and "val" in message, message


@pytest.mark.parametrize("content", [b"", b"no image", "truncated"])
@pytest.mark.parametrize("place", ["train/cat", "train/dog"])
def test_unreadable_image_is_named(capfd: Captured, content: bytes | str, place: str) -> None:
    image_folder(Path("images"), **SOUND_IMAGES)
    bad = Path("images") / place / "bad.png"
    whole = (bad.parent / "0.png").read_bytes()
    bad.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    assert str(bad) in refused(capfd, *search(data="images"))


def test_image_size_too_small_for_the_strides(capfd: Captured) -> None:
    write_network()
    image_folder(Path("images"), **SOUND_IMAGES)
    for data in ("digits", "images"):
        for arguments in (search(data=data, image_size="3"), train(data=data, image_size="3")):
            message = refused(capfd, *arguments)
            assert "image size 3" in message and "at least 4 pixels" in message, message


@pytest.mark.parametrize("option", ["batch-size", "architecture-batch-size"])
def test_batch_larger_than_the_half(capfd: Captured, option: str) -> None:
    half = 40
    sound = search(max_images=str(2 * half), batch_size="20", architecture_batch_size="20")
    message = refused(capfd, *sound, f"--{option}={half + 1}")
    assert f"--{option} {half + 1}" in message and str(half) in message, message


def test_batch_larger_than_the_training_set(capfd: Captured) -> None:
    write_network()
    assert "--batch-size 41" in refused(capfd, *train(max_images="40", batch_size="41"))
