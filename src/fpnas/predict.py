"""Using a trained run: its model, its accuracy, its answer for an image."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fpnas.checks import check_number
from fpnas.errors import UserError
from fpnas.files import read_json
from fpnas.network_file import load_network
from fpnas.nn.network import Network, build_network
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import pick_device
from fpnas.runtime.weights import load_weights
from fpnas.train import normalised_batches
from fpnas.training.augment import normalise
from fpnas.training.evaluation import Accuracy, accuracy
from fpnas.training.folders import read_image
from fpnas.training.load import load_data

__all__ = ["Prediction", "TrainedRun", "evaluate_run", "load_trained_run", "predict_images", "prediction_to_json"]


@dataclass(frozen=True)
class TrainedRun:
    """A trained network with what it needs to be given images."""

    model: Network
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The most probable class of an image."""

    image: str
    label: str
    probability: float


def load_trained_run(path: str | os.PathLike[str]) -> TrainedRun:
    """The trained network of a run directory, in eval mode.

    Raises:
        UserError: no run of `fpnas train`, not finished, or files that do not belong together.
    """
    run = RunDirectory.open(path, "train")
    for needed in (run.network_path, run.weights_path, run.preprocessing_path):
        if not needed.is_file():
            raise UserError(f"run {path}: {needed.name} is missing: not trained to the end; run fpnas train")
    model = build_network(load_network(run.network_path))
    tensors, _ = load_weights(run.weights_path, "weights file")
    expected = model.state_dict()
    for name in sorted(expected.keys() ^ tensors.keys()):
        raise UserError(f"{run.weights_path}: tensor {name} is {'surplus' if name in tensors else 'missing'}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{run.weights_path}: tensor {name} has shape {tuple(tensor.shape)}; "
                f"{tuple(expected[name].shape)} is expected"
            )
    model.load_state_dict(tensors)
    content = read_json(run.preprocessing_path, "preprocessing file")
    spec = model.spec
    mean, std, names = content.get("mean"), content.get("std"), content.get("class_names")
    for field, value, length in (
        ("mean", mean, spec.in_channels),
        ("std", std, spec.in_channels),
        ("class_names", names, spec.num_classes),
    ):
        if not isinstance(value, list) or len(value) != length:
            raise UserError(f"{run.preprocessing_path}: {field}: a list of {length} is expected")
    assert mean and std and names
    where = f"preprocessing file {run.preprocessing_path}"
    means = tuple(check_number({"mean": value}, "mean", -1e6, 1e6, where) for value in mean)
    # A deviation that divides: what is under 1/255 is a constant channel, and was raised to that in training.
    deviations = tuple(check_number({"std": value}, "std", 1e-6, 1e6, where) for value in std)
    # The layout of the training: another one gives other last bits.
    model = model.eval().to(memory_format=torch.channels_last)
    return TrainedRun(model, means, deviations, tuple(map(str, names)))


def evaluate_run(path: str | os.PathLike[str], data: str, *, device: str = "auto", workers: int = 2) -> Accuracy:
    """Accuracy of a trained run on the test images of a data set.

    Raises:
        UserError: a run that was not trained, or data with other classes or channels.
    """
    trained = load_trained_run(path)
    spec = trained.model.spec
    dataset = load_data(data, image_size=spec.input_size, workers=workers, parts=("test",))
    if dataset.class_names != trained.class_names:
        raise UserError(f"--data {data}: its classes are not those the run was trained on")
    if dataset.in_channels != spec.in_channels:
        raise UserError(f"--data {data}: {dataset.in_channels} channels; the network takes {spec.in_channels}")
    assert dataset.test is not None
    target = pick_device(device)
    model = trained.model.to(target)
    # Normalised as in training, whatever the statistics of these images are.
    batches = normalised_batches(dataset.test, trained.mean, trained.std, 500, target, workers)
    return accuracy(model, batches)


@torch.no_grad()
def predict_images(path: str | os.PathLike[str], images: list[Path]) -> list[Prediction]:
    """The most probable class of each image file.

    Raises:
        UserError: a run that was not trained, or an unreadable image.
    """
    trained = load_trained_run(path)
    spec = trained.model.spec
    predictions = []
    for image in images:
        pixels = read_image(image, spec.input_size, spec.in_channels)[None]
        logits = trained.model(normalise(pixels, trained.mean, trained.std))
        probability, label = logits.softmax(1)[0].max(0)
        predictions.append(Prediction(str(image), trained.class_names[int(label)], float(probability)))
    return predictions


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as `fpnas predict --json` gives it."""
    return {"image": prediction.image, "class": prediction.label, "probability": prediction.probability}
