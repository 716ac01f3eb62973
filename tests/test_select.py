"""Images held out of a training, and the selection of one of several networks by them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Captured, answer, document
from finished_runs import LIGHT, network_file, repeatable_metrics, train_config
from refusals import SOUND_IMAGES, exit_code, image_folder, refused, tree, write_network
from torch import Tensor

from fpnas.errors import UserError
from fpnas.export_images import images_for_export
from fpnas.model_folder import load
from fpnas.network_file import load_network, network_to_json
from fpnas.select import Candidate, run_select
from fpnas.select_config import SelectConfig
from fpnas.train import run_train
from fpnas.training import streams
from fpnas.training.class_balance import class_balanced_split
from fpnas.training.crops import Crop
from fpnas.training.data import DataSet
from fpnas.training.load import load_data
from fpnas.training.streams import StreamedImages

FEW: dict[str, Any] = {"max_images": 200, "batch_size": 25, "epochs": 2, "warmup_epochs": 0.5}


def images_and_labels(dataset: DataSet, part: str) -> list[tuple[bytes, int]]:
    """The images of a part, in an order of their own."""
    source = {"train": dataset.train, "test": dataset.test}[part]
    assert source is not None
    images = source.batch(torch.arange(len(source)))
    return sorted((image.numpy().tobytes(), int(label)) for image, label in zip(images, source.labels, strict=True))


def select_config(output: Path, **changed: Any) -> SelectConfig:
    """A selection of seconds, but for what is changed."""
    return replace(SelectConfig(data="digits", output=output, **(LIGHT | FEW)), **changed)


def two_networks(folder: Path) -> tuple[Path, Path]:
    """A network, and the same without its blocks."""
    whole = network_file(folder)
    without = folder / "without.json"
    spec = load_network(whole)
    bypassed = tuple(replace(block, kernel=0) for block in spec.blocks)
    without.write_text(json.dumps(network_to_json(replace(spec, blocks=bypassed))))
    return whole, without


def loss_of(run: Path) -> float:
    """Cross-entropy of a trained model on the images that `select_config` holds out."""
    model, source = load(run), load_data("digits", max_images=200, hold_out=0.5).test
    assert source is not None
    pixels = source.batch(torch.arange(len(source))) / 255
    mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (model.preprocess.mean, model.preprocess.std))
    with torch.no_grad():
        logs = model.network((pixels - mean) / std).log_softmax(1)
    return -logs[torch.arange(len(source)), source.labels].mean().item()


# Images held out


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_what_is_held_out_is_of_the_training_images(share: float) -> None:
    whole = load_data("digits")
    split = load_data("digits", hold_out=share)
    kept, held = images_and_labels(split, "train"), images_and_labels(split, "test")
    assert sorted(kept + held) == images_and_labels(whole, "train")
    assert abs(len(held) - share * 1433) <= 1
    again, other = (load_data("digits", hold_out=share, seed=seed) for seed in (0, 1))
    assert images_and_labels(again, "test") == held != images_and_labels(other, "test")


def test_what_is_held_out_of_images_that_are_not_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = image_folder(tmp_path, train__cat=9, train__dog=5)  # and no test images
    (tmp_path / "train" / "dog" / "broken.png").write_bytes(b"no image")
    options: dict[str, Any] = {"image_size": 8, "hold_out": 0.5, "on_bad_image": "skip", "max_images": 14}
    held = load_data(str(folder), **options)
    monkeypatch.setattr(streams, "MEMORY_LIMIT", 1)
    streamed = load_data(str(folder), **options)
    assert held.train is not None and streamed.train is not None
    assert held.train.in_memory and not streamed.train.in_memory
    assert len(images_and_labels(streamed, "train")) == len(images_and_labels(streamed, "test")) == 7
    # Neither counts what was left out for both parts.
    assert held.skipped == streamed.skipped == 1
    assert {label for _, label in images_and_labels(streamed, "test")} == {0, 1}


def test_images_of_one_size_are_for_networks_of_any(tmp_path: Path) -> None:
    whole, other = two_networks(tmp_path)
    other.write_text(json.dumps(network_to_json(replace(load_network(other), input_size=16))))
    for order in ([whole, other], [other, whole]):
        candidates = run_select(order, select_config(tmp_path / order[0].stem, epochs=1))
        assert {candidate.network for candidate in candidates} == {str(whole), str(other)}


def test_a_training_is_judged_by_what_it_holds_out(tmp_path: Path) -> None:
    config = train_config(tmp_path / "run", hold_out=0.25, epochs=1)
    result = run_train(network_file(tmp_path), config)
    assert result.images == round(1433 / 4)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "358 held-out training images of digits" in card and "test images" not in card
    assert "- `hold_out`: 0.25" in card


def test_what_cannot_be_read_later_is_replaced_by_images_of_its_part() -> None:
    gone: set[int] = set()

    def read(index: int, crop: Crop | None = None) -> Tensor:
        if index in gone:
            raise UserError(f"image {index}: cannot be read")
        return torch.full((1, 2, 2), index, dtype=torch.uint8)

    source = StreamedImages(read, torch.zeros(40, dtype=torch.int64), replace_bad=True, left_out=3)
    kept = torch.arange(0, 40, 2)
    parts = source.part(kept, left_out=source.skipped), source.part(kept + 1, left_out=0)
    gone |= {4, 11}
    for part, places in zip(parts, (kept, kept + 1), strict=True):
        seen = part.batch(torch.arange(20))[:, 0, 0, 0].tolist()
        assert set(seen) == set(places.tolist()) - gone
    assert [part.skipped for part in parts] == [4, 1]


def test_searches_of_the_seed_have_other_halves() -> None:
    dataset = load_data("digits")
    assert dataset.train is not None
    halves = class_balanced_split(dataset.train.labels, 0.5, seed=0)
    held = images_and_labels(load_data("digits", hold_out=0.5), "test")
    for half in halves:
        pixels = dataset.train.batch(half)
        images = {
            (image.numpy().tobytes(), int(label))
            for image, label in zip(pixels, dataset.train.labels[half], strict=True)
        }
        assert 0.4 < sum(image in images for image in held) / len(held) < 0.6


def test_an_export_knows_what_was_held_out(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "photos", train__cat=20, train__dog=20)  # and no test images
    run = tmp_path / "run"
    options: dict[str, Any] = {"image_size": 8, "hold_out": 0.5, "epochs": 1, "batch_size": 10, "seed": 3}
    run_train(network_file(tmp_path), train_config(run, data=str(folder), **options))
    dataset, _, labels = images_for_export(run, load(run), None, workers=0, needs_training=True)
    assert dataset is not None and labels is not None
    split = load_data(str(folder), image_size=8, hold_out=0.5, seed=3)
    assert all(images_and_labels(dataset, part) == images_and_labels(split, part) for part in ("train", "test"))


# Selection


def test_the_best_is_the_one_whose_training_is_best(tmp_path: Path, capfd: Captured) -> None:
    networks = two_networks(tmp_path)
    options = ["--data=digits", "--max-images=200", "--batch-size=25", "--epochs=2", "--warmup-epochs=0.5"]
    options += ["--workers=0", "--threads=1", "--device=cpu"]
    # Each has what `fpnas train` gives it, on the same images.
    alone: dict[str, Any] = {}
    for network in networks:
        run = tmp_path / network.stem
        alone[str(network)] = document(capfd, "train", network, *options, "--hold-out=0.5", "--output", run)
    losses = {str(network): loss_of(tmp_path / network.stem) for network in networks}
    order = sorted(losses, key=lambda network: losses[network])
    assert losses[order[0]] < losses[order[1]] - 0.01
    output = tmp_path / "out"
    # The one that is taken has the second place on the command line.
    chosen = document(capfd, "select", *reversed(order), *options, "--output", output)
    assert (chosen["network"], chosen["output"]) == (order[0], str(output))
    assert json.loads((output / "selection.json").read_text()) == chosen["candidates"]
    for candidate, network, number in zip(chosen["candidates"], order, (2, 1), strict=True):
        assert candidate["network"] == network
        assert all(candidate[name] == alone[network][name] for name in ("top1", "macs", "params"))
        assert candidate["cross_entropy"] == pytest.approx(losses[network], abs=1e-5)
        assert Path(candidate["run"]).name == f"{number:02}-{Path(network).stem}"
        assert repeatable_metrics(Path(candidate["run"])) == repeatable_metrics(tmp_path / Path(network).stem)
    shown = answer(capfd, "select", *reversed(order), *options, "--output", output, "--resume")
    assert [line.split()[0] for line in shown.splitlines() if ".json" in line] == order


def test_of_equal_ones_the_first(tmp_path: Path) -> None:
    first = network_file(tmp_path)
    second = tmp_path / "second.json"
    second.write_text(first.read_text())
    found = run_select([second, first], select_config(tmp_path / "out"))
    assert [Path(candidate.network) for candidate in found] == [second, first]
    assert found[0].cross_entropy == found[1].cross_entropy


def test_a_selection_goes_on_and_takes_more_candidates(tmp_path: Path) -> None:
    first, second = two_networks(tmp_path)
    third = tmp_path / "third.json"
    third.write_text(first.read_text())
    output = tmp_path / "out"
    run_select([first, second], select_config(output))
    (output / "report.html").write_text("a page of both")
    before = {name: content for name, content in tree(output).items() if name != "selection.json"}
    found = run_select([first, second, third], select_config(output, resume=True))
    after = tree(output)
    assert {name: after[name] for name in before} == before
    whole = run_select([first, second, third], select_config(tmp_path / "whole"))

    def of(candidates: list[Candidate]) -> list[Candidate]:
        return [replace(candidate, run="") for candidate in candidates]

    assert of(found) == of(whole)


def test_what_searches_found(search_run: Path, tmp_path: Path, capfd: Captured) -> None:
    options = ["--data=digits", "--max-images=200", "--batch-size=25", "--epochs=1", "--warmup-epochs=0", "--quiet"]
    chosen = document(
        capfd, "select", search_run, network_file(tmp_path), *options, "--threads=1", "--output", tmp_path / "out"
    )
    files = {candidate["network"]: candidate["run"] for candidate in chosen["candidates"]}
    assert files.keys() == {str(search_run / "network.json"), str(tmp_path / "net.json")}
    run = Path(files[str(search_run / "network.json")])
    assert run.name == f"01-{search_run.name}"
    # The page of each is that of an ended training.
    page = (run / "report.html").read_text()
    assert "or interrupted:" not in page and "held-out training images it is most wrong about" in page.lower()
    assert "By `fpnas search` with strategy `fp-nas`" in (run / "README.md").read_text()


def test_bad_selections(
    tmp_path: Path, capfd: Captured, search_run: Path, train_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network()
    sound = ["--data=digits", "--output=out"]
    assert "two or more" in refused(capfd, "select", "net.json", *sound)
    assert "nothing.json" in refused(capfd, "select", "net.json", "nothing.json", *sound)
    assert "a search run is expected" in refused(capfd, "select", "net.json", train_run, *sound)
    assert "--hold-out 0" in refused(capfd, "select", "net.json", "net.json", *sound, "--hold-out=0")
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", "80")
        image_folder(Path("photos"), **SOUND_IMAGES)
        other_size = ["select", "net.json", "fbnetv2-f1", "--data=photos", "--output=out"]
        assert "--image-size" in refused(capfd, *other_size)
    assert "--hold-out 1" in refused(capfd, "train", "net.json", *sound, "--hold-out=1.0")
    few = [*sound, "--max-images=10", "--batch-size=2"]
    assert "--hold-out 0.01" in refused(capfd, "train", "net.json", *few, "--hold-out=0.01")
    assert "not all of a class" in refused(capfd, "train", "net.json", *few, "--hold-out=0.95")
    light = [*sound, "--max-images=100", "--batch-size=25", "--epochs=1", "--warmup-epochs=0", "--threads=1"]
    assert exit_code(["select", "net.json", "net.json", *light, "--quiet"]) == 0
    shutil.copy("net.json", "other.json")
    assert "--output out: holds other files" in refused(capfd, "select", "net.json", "net.json", *light)
    assert "--output out: holds other files" in refused(capfd, "select", "other.json", "other.json", *light)
    assert "same order" in refused(capfd, "select", "net.json", "other.json", *light, "--resume")
    assert "same order" in refused(capfd, "select", "other.json", "net.json", *light, "--resume")
    assert "same order" in refused(capfd, "select", "net.json", "net.json", *light, "--output", "photos", "--resume")
    assert "other configuration" in refused(capfd, "select", "net.json", "net.json", *light, "--resume", "--epochs=2")
    shutil.copytree(search_run, "search")
    Path("search/network.json").unlink()
    assert "candidate search: the search has not ended" in refused(capfd, "select", "net.json", "search", *sound)
