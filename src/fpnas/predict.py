"""Using a trained model: its accuracy, its answer for an image."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fpnas.errors import UserError, tell
from fpnas.files import what_is_at
from fpnas.model_folder import TrainedModel, check_finite, load
from fpnas.onnx_model import OnnxModel, load_onnx
from fpnas.runtime.setup import pick_device
from fpnas.training.evaluation import Accuracy, accuracy, normalised_batches
from fpnas.training.load import load_data

__all__ = ["Prediction", "evaluate_model", "load_any", "predict_images", "prediction_to_json"]


@dataclass(frozen=True)
class Prediction:
    """The most probable class of an image, and its probability, in [0, 1]."""

    image: str
    label: str
    probability: float


def load_any(source: str | os.PathLike[str]) -> TrainedModel | OnnxModel:
    """The model in a model folder, a run of `fpnas train`, or an ONNX file. Raises UserError."""
    path = Path(source)
    if path.suffix == ".onnx" and what_is_at(path, "model") != "folder":
        return load_onnx(path)
    if what_is_at(path, "model") == "file":
        raise UserError(f"model {path}: is a file; a model folder, or an ONNX file named *.onnx, is accepted")
    model = load(path)
    check_finite(model, source)
    return model


def evaluate_model(
    source: str | os.PathLike[str],
    data: str,
    *,
    device: str = "auto",
    workers: int = 2,
    on_bad_image: str = "error",
) -> Accuracy:
    """Accuracy of a trained model on the test images of a data set.

    Args:
        source: as `load_any` takes it.
        data: as `--data` takes it.
        device: `auto`, `cpu` or `cuda`.
        workers: threads that load images.
        on_bad_image: `error` or `skip`.

    Raises:
        UserError: no trained model, data with other classes or channels, or `cuda` for an ONNX file.
    """
    model = load_any(source)
    if isinstance(model, OnnxModel) and device == "cuda":
        raise UserError("--device cuda: an ONNX file is run on the processor; auto or cpu is accepted")
    preprocess = model.preprocess
    dataset = load_data(
        data, image_size=preprocess.image_size, workers=workers, on_bad_image=on_bad_image, parts=("test",)
    )
    preprocess.check_fits(dataset, data)
    assert dataset.test is not None
    target = torch.device("cpu") if isinstance(model, OnnxModel) else pick_device(device)
    # Normalised as in training, whatever the statistics of these images are.
    batches = normalised_batches(dataset.test, preprocess.mean, preprocess.std, target, workers)
    measured = accuracy(model.to(target), batches)
    if dataset.skipped:
        tell(f"fpnas: {dataset.skipped} unreadable images were left out or replaced")
    return measured


@torch.no_grad()
def predict_images(source: str | os.PathLike[str], images: list[Path]) -> list[Prediction]:
    """The most probable class of each image file.

    Raises:
        UserError: no trained model, or an unreadable image.
    """
    model = load_any(source)
    predictions = []
    for image in images:
        probability, label = model(model.preprocess(image)).softmax(1)[0].max(0)
        predictions.append(Prediction(str(image), model.class_names[int(label)], float(probability)))
    return predictions


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as `fpnas predict --json` gives it."""
    return {"image": prediction.image, "class": prediction.label, "probability": prediction.probability}
