"""Using a trained run: image files, and runs with something wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_runs import copied
from PIL import Image

from fpnas.errors import UserError
from fpnas.model_folder import load
from fpnas.predict import evaluate_model, load_any, predict_images, prediction_to_json
from fpnas.runtime.weights import load_weights, save_weights
from fpnas.training.augment import normalise
from fpnas.training.load import load_data


def refusal(run: Path) -> str:
    with pytest.raises(UserError) as error:
        load(run)
    message = str(error.value)
    assert "\n" not in message and str(run) in message, message
    return message


def test_predictions_for_image_files(train_run: Path, tmp_path: Path) -> None:
    test = load_data("digits", parts=("test",)).test
    pixels = test.batch(torch.arange(30))
    paths = [tmp_path / f"a digit {index} é.png" for index in range(30)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image[0].numpy()).save(path)
    predictions = predict_images(train_run, paths)
    trained = load(train_run)
    with torch.no_grad():
        probabilities = trained.network(normalise(pixels, trained.preprocess.mean, trained.preprocess.std)).softmax(1)
    assert [prediction.image for prediction in predictions] == list(map(str, paths))
    assert [prediction.label for prediction in predictions] == list(map(str, probabilities.argmax(1).tolist()))
    assert [p.probability for p in predictions] == pytest.approx(probabilities.amax(1).tolist(), abs=1e-5)
    hits = sum(p.label == str(label) for p, label in zip(predictions, test.labels.tolist(), strict=False))
    assert hits > 25
    assert prediction_to_json(predictions[0]) == {
        "image": str(paths[0]),
        "class": predictions[0].label,
        "probability": predictions[0].probability,
    }


def test_colours_and_sizes_that_the_network_was_not_made_for(train_run: Path, tmp_path: Path) -> None:
    image = load_data("digits", parts=("test",)).test.batch(torch.tensor([7]))[0, 0].numpy()
    grey = Image.fromarray(image)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    grey.save(paths[0])
    grey.convert("RGBA").save(paths[1])
    Image.fromarray(np.kron(image, np.ones((4, 4), np.uint8))).save(paths[2])
    assert len({prediction.label for prediction in predict_images(train_run, paths)}) == 1


def test_unreadable_image(train_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    for path in (tmp_path / "bad.png", tmp_path / "absent.png", tmp_path):
        with pytest.raises(UserError) as error:
            predict_images(train_run, [path])
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_search_run_is_refused(search_run: Path) -> None:
    assert "is missing" in refusal(search_run)


def test_no_run(tmp_path: Path) -> None:
    assert "network.json is missing" in refusal(tmp_path)
    assert "no such folder" in refusal(tmp_path / "absent")
    (tmp_path / "model").write_bytes(b"onnx, but for the name")
    assert "is a file" in refusal(tmp_path / "model")
    with pytest.raises(UserError, match=r"is a file; a model folder, or an ONNX file named \*\.onnx"):
        load_any(tmp_path / "model")


@pytest.mark.parametrize("missing", ["network.json", "model.safetensors", "config.json"])
def test_unfinished_training(train_run: Path, tmp_path: Path, missing: str) -> None:
    run = copied(train_run, tmp_path)
    (run / missing).unlink()
    assert f"{missing} is missing" in refusal(run)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights(train_run: Path, tmp_path: Path, kept: int) -> None:
    path = copied(train_run, tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert str(path) in refusal(path.parent)


@pytest.mark.parametrize("change", ["missing", "surplus", "shape", "name"])
def test_altered_tensors_are_named(train_run: Path, tmp_path: Path, change: str) -> None:
    run = copied(train_run, tmp_path)
    tensors, about = load_weights(run / "model.safetensors", "weights file")
    name = "stem.conv.weight"
    if change == "missing":
        del tensors[name]
    elif change == "surplus":
        name = "stem.other"
        tensors[name] = torch.zeros(1)
    elif change == "shape":
        tensors[name] = tensors[name][:-1]
    else:
        tensors["stem.conv.weights"] = tensors.pop(name)
    save_weights(run / "model.safetensors", tensors, about)
    message = refusal(run)
    assert name in message and "model.safetensors" in message


def with_setting(run: Path, field: str, value: object) -> Path:
    """The configuration of a model, one of its settings changed."""
    path = run / "config.json"
    content = json.loads(path.read_text())
    content["pretrained_cfg"][field] = value
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("field", ["mean", "std", "label_names"])
@pytest.mark.parametrize("value", [None, [], "text", 3, [None], ["a", "b"]])
def test_altered_preprocessing_is_named(train_run: Path, tmp_path: Path, field: str, value: object) -> None:
    path = with_setting(copied(train_run, tmp_path), field, value)
    message = refusal(path.parent)
    assert field in message and "config.json" in message


@pytest.mark.parametrize(("field", "value"), [("std", [0.0]), ("std", [-1.0]), ("std", [1e400]), ("mean", [1e400])])
def test_statistics_that_no_image_can_be_normalised_by(
    train_run: Path, tmp_path: Path, field: str, value: list[float]
) -> None:
    path = with_setting(copied(train_run, tmp_path), field, value)
    assert field in refusal(path.parent)


def test_broken_json(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    for name in ("config.json", "network.json"):
        whole = (run / name).read_text()
        (run / name).write_text(whole[: len(whole) // 2])
        assert name in refusal(run)
        (run / name).write_text(whole)


def test_evaluation_on_other_data(train_run: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / part / name / "0.png")
    with pytest.raises(UserError, match="classes are not those"):
        evaluate_model(train_run, str(tmp_path), workers=0)


def test_data_without_names_whose_test_part_lacks_the_last_class(train_run: Path) -> None:
    digits = load_data("digits", max_images=50)
    preprocess = load(train_run).preprocess
    preprocess.check_fits(replace(digits, class_names=tuple("01234567")), "digits")
    for names in ((*"0123456789", "10"), tuple("12345678"), ("0", "2")):
        with pytest.raises(UserError, match="classes are not those"):
            preprocess.check_fits(replace(digits, class_names=names), "digits")


def test_evaluation_on_class_folders_of_another_number_of_channels(train_run: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in "0123456789":
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / part / name / "0.png")
    with pytest.raises(UserError, match="3 channels"):
        evaluate_model(train_run, str(tmp_path), workers=0)
