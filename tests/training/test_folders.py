"""Class folders of real image files: what is read, and every refusal, caused for real."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import class_folders, picture, pixels
from PIL import Image

from fpnas.errors import UserError
from fpnas.training import folders, streams
from fpnas.training.batches import iterate
from fpnas.training.folders import load_images, scan_folder
from fpnas.training.pictures import read_image

BOTH = ("train", "val")


def refusal(root: Path, parts: tuple[str, ...] = BOTH) -> str:
    with pytest.raises(UserError) as error:
        scan_folder(root, parts)
    message = str(error.value)
    assert "\n" not in message and f"--data {root}" in message, message
    return message


def load(files: folders.FolderPart, on_bad_image: str = "error", size: int = 10):
    return load_images(files, size, 3, workers=2, on_bad_image=on_bad_image)


def test_files_and_labels_in_order_of_name(tmp_path: Path) -> None:
    names = ("Zebra", "großer Hund", "猫")
    class_folders(tmp_path, train=2, val=1, classes=names)
    odd = [
        picture(tmp_path / "train" / "猫" / f"a b é{ending}") for ending in (".JPG", ".bmp", ".webp", ".gif", ".tiff")
    ]
    (tmp_path / "train" / "猫" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "猫" / ".hidden.png").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "list.csv").write_text("")
    found, files = scan_folder(tmp_path, BOTH)
    assert found == names
    for part, number in (("train", 2), ("val", 1)):
        expected = [(tmp_path / part / name / f"{i}.png", k) for k, name in enumerate(names) for i in range(number)]
        expected += [(path, 2) for path in odd] if part == "train" else []
        assert sorted(files[part]) == sorted(expected)
        assert [label for _, label in files[part]] == sorted(label for _, label in files[part])
    source = load(files["train"])
    assert (len(source), source.skipped, source.in_memory) == (11, 0, True)


def test_val_is_not_needed_for_a_search(tmp_path: Path) -> None:
    class_folders(tmp_path, val=0)
    assert scan_folder(tmp_path, ("train",))[1].keys() == {"train"}


def test_val_may_lack_a_class(tmp_path: Path) -> None:
    class_folders(tmp_path, val=0, classes=("cat", "dog", "emu"))
    picture(tmp_path / "val" / "dog" / "0.png")
    assert [label for _, label in scan_folder(tmp_path, BOTH)[1]["val"]] == [1]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "1", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_same_kind_of_image(tmp_path: Path, mode: str, channels: int) -> None:
    path = picture(tmp_path / ("image.tif" if mode == "CMYK" else "image.png"), mode=mode)
    image = read_image(path, 10, channels)
    assert image.shape == (channels, 10, 10) and image.dtype == torch.uint8
    original = Image.fromarray(pixels()).convert(mode)
    with Image.open(path) as stored:
        assert stored.mode == mode
    # At its own size and square, an image keeps its values.
    expected = np.asarray(original.convert("RGBA").convert("RGB") if mode in ("P", "LA") else original.convert("RGB"))
    if channels == 3:
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
    elif mode in ("L", "LA", "1"):
        assert np.array_equal(image[0].numpy(), expected[:, :, 0])
    else:
        luma = expected @ np.array([0.299, 0.587, 0.114])
        assert np.abs(image[0].numpy() - luma).max() <= 1.0


def test_grey_scale_gives_three_equal_channels(tmp_path: Path) -> None:
    image = read_image(picture(tmp_path / "grey.png", mode="L"), 10, 3)
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_sixteen_bits_keep_their_shades(tmp_path: Path) -> None:
    shades = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png", 8, 1)[0].numpy()
    assert np.abs(image - shades / 257).max() <= 1.0


@pytest.mark.parametrize(("height", "width"), [(6, 12), (12, 6), (7, 12), (6, 6), (24, 24), (3, 300)])
def test_the_central_square_is_resized(tmp_path: Path, height: int, width: int) -> None:
    # Left and top of the centre black, right and bottom white: cut, the halves meet in the middle.
    values = np.zeros((height, width), np.uint8)
    values[:, (width + 1) // 2 :] = 255
    Image.fromarray(values).save(tmp_path / "halves.png")
    image = read_image(tmp_path / "halves.png", 6, 1)[0].double()
    assert (image[:, 0] < 64).all() and (image[:, -1] > 191).all(), image
    if width % 2 == 0:
        assert abs(image.mean() - 127.5) < 1


def test_an_image_of_one_by_a_million_pixels_is_no_bomb(tmp_path: Path) -> None:
    Image.new("L", (1_000_000, 1), 77).save(tmp_path / "line.png")
    assert (read_image(tmp_path / "line.png", 224, 3) == 77).all()


def test_missing_folder(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "absent")


@pytest.mark.parametrize("part", BOTH)
def test_missing_part(tmp_path: Path, part: str) -> None:
    class_folders(tmp_path, train=2 * (part == "val"), val=2 * (part == "train"))
    assert f"{part}/ is missing" in refusal(tmp_path)


def test_empty_folder(tmp_path: Path) -> None:
    assert "train/" in refusal(tmp_path)
    (tmp_path / "train").mkdir()
    assert "train/ has no class folder" in refusal(tmp_path)


@pytest.mark.parametrize("part", BOTH)
def test_class_without_an_image(tmp_path: Path, part: str) -> None:
    class_folders(tmp_path)
    folder = tmp_path / part / "dog"
    for path in folder.iterdir():
        path.unlink()
    assert f"{folder} has no image" in refusal(tmp_path)
    (folder / "image.txt").write_text("text")
    assert f"{folder} has no image" in refusal(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    class_folders(tmp_path, classes=("cat",))
    assert "one class 'cat'" in refusal(tmp_path)


def test_class_of_val_that_train_lacks(tmp_path: Path) -> None:
    class_folders(tmp_path)
    picture(tmp_path / "val" / "emu" / "0.png")
    for parts in (BOTH, ("train",)):
        assert "'emu' of val/" in refusal(tmp_path, parts)


@pytest.mark.parametrize("place", ["train", "train/emu", "train/cat/linked.png", "val", "val/dog/linked.png"])
def test_link_that_leads_out(tmp_path: Path, place: str) -> None:
    root = class_folders(tmp_path / "data")
    other = class_folders(tmp_path / "other", classes=("cat", "dog", "emu"))
    link = root / place
    if link.exists():
        link.rename(tmp_path / "aside")
    link.symlink_to(other / place.replace("linked", "0"))
    assert f"link {link} leads out" in refusal(root)


def test_links_within_are_followed(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data")
    (root / "train" / "cat" / "linked.png").symlink_to(root / "train" / "dog" / "0.png")
    (tmp_path / "named").symlink_to(root)
    assert len(scan_folder(tmp_path / "named", BOTH)[1]["train"]) == 9


def test_link_to_itself(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data")
    (root / "train" / "loop").symlink_to(root / "train" / "loop")
    link = root / "train" / "cat" / "loop.png"
    link.symlink_to(link)
    try:
        _, files = scan_folder(root, BOTH)
    except UserError as error:
        assert "loop" in str(error)
    else:
        with pytest.raises(UserError, match=r"loop\.png"):
            load(files["train"])


def spoil(path: Path, how: str) -> None:
    """Make an image file unreadable."""
    if how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "link":
        path.unlink()
        path.symlink_to(path.with_name("nowhere.png"))
    else:
        data = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"no image", "truncated": data[: len(data) // 2]}[how])


@pytest.mark.parametrize("how", ["empty", "text", "truncated", "folder", "link"])
@pytest.mark.parametrize("limit", [streams.MEMORY_LIMIT, 10])
def test_unreadable_image_is_named_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, limit: int
) -> None:
    monkeypatch.setattr(streams, "MEMORY_LIMIT", limit)
    class_folders(tmp_path)
    bad = tmp_path / "train" / "cat" / "2.png"
    spoil(bad, how)
    files = scan_folder(tmp_path, BOTH)[1]["train"]
    with pytest.raises(UserError) as error:
        list(iterate(load(files), 3, workers=2))
    assert str(bad) in str(error.value) and "\n" not in str(error.value)
    source = load(files, "skip")
    images = torch.cat([images for images, _ in iterate(source, 3, workers=2)])
    paths = [path for path, _ in files]
    if source.in_memory:
        assert source.labels.tolist() == [0] * 3 + [1] * 4
        paths.remove(bad)
    else:
        assert source.labels.tolist() == [0] * 4 + [1] * 4
        paths[2] = paths[3]
    assert torch.equal(images, torch.stack([read_image(path, 10, 3) for path in paths]))
    assert source.skipped == 1


def test_no_readable_image_at_all(tmp_path: Path) -> None:
    class_folders(tmp_path)
    for path in (tmp_path / "train").rglob("*.png"):
        spoil(path, "text")
    with pytest.raises(UserError, match=r"0\.png: neither this nor any other"):
        load(scan_folder(tmp_path, BOTH)[1]["train"], "skip")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("limit", [99, 49])
def test_absurd_number_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = picture(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    read_image(path, 4, 3)
    # Pillow only warns up to twice its limit, and raises beyond it; a user is told the same.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError, match=r"large\.png: .*pixels"):
        read_image(path, 4, 3)


@pytest.mark.parametrize("workers", [0, 3])
def test_streamed_equals_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    class_folders(tmp_path, train=9)
    files = scan_folder(tmp_path, BOTH)[1]["train"]
    whole = load(files, size=7)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", len(files) * 3 * 7 * 7 - 1)
    streamed = load(files, size=7)
    assert (whole.in_memory, streamed.in_memory, len(whole), len(streamed)) == (True, False, 18, 18)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    for expected, found in zip(iterate(whole, 4, order), iterate(streamed, 4, order, workers), strict=True):
        assert torch.equal(expected[0], found[0]) and torch.equal(expected[1], found[1])
