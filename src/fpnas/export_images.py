"""The images that an exported model is compared with PyTorch on, and quantised by."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fpnas.errors import UserError, tell
from fpnas.files import what_is_at
from fpnas.model_folder import TrainedModel
from fpnas.runtime.run_directory import CONFIG_FILE, RunDirectory
from fpnas.training.augment import normalise
from fpnas.training.batches import iterate, spread
from fpnas.training.data import DataSet
from fpnas.training.load import load_data

__all__ = ["calibration_batches", "images_for_export", "random_images"]

CHECKED_IMAGES = 1000
CALIBRATION_IMAGES = 1000
_BATCH = 16


def images_for_export(
    source: str | os.PathLike[str], model: TrainedModel, data: str | None, workers: int, *, needs_training: bool = False
) -> tuple[DataSet | None, Tensor, Tensor | None]:
    """The data set to compare by, normalised images of its test and their labels.

    Args:
        source: where the model is: a model folder, or the run of a training, which knows its data.
        model: of that place.
        data: the data set to take instead.
        workers: threads that load images.
        needs_training: whether training images are needed, too.

    Returns:
        The data set, images (N, C, S, S) and labels (N,); None, random images and None where a folder says nothing of
        its data, or a run's are gone.

    Raises:
        UserError: data that were named cannot be had or do not fit; there are no training images where they are needed.
    """
    is_run = what_is_at(Path(source) / CONFIG_FILE, "run") == "file"
    config = RunDirectory.open(source, "train").config if is_run else {}
    name = data or config.get("data")
    if name is None:
        if needs_training:
            raise UserError("--format onnx-int8: is quantised by training images; a model folder alone needs --data")
        return None, random_images(model), None
    # Of a training that held images out, by those.
    own_split = () if data or not config.get("hold_out") else ("hold_out", "max_images", "seed")
    try:
        dataset = load_data(
            str(name),
            image_size=model.preprocess.image_size,
            **{field: config[field] for field in own_split},
            workers=workers,
            on_bad_image="skip",  # they are to compare and to quantise by: others will do
            parts=("train", "test") if needs_training else ("test",),
        )
        model.preprocess.check_fits(dataset, str(name))
        return dataset, *_images_to_compare(model, dataset, workers)
    except UserError as error:
        if data is not None:
            raise
        gone = f"the images of {source} cannot be had: {str(error).removeprefix('--data ')}"
        if needs_training:
            raise UserError(
                f"--format onnx-int8: is quantised by training images; {gone}; --data names others"
            ) from None
        tell(f"fpnas: compared on random images: {gone}")
        return None, random_images(model), None


def random_images(model: TrainedModel) -> Tensor:
    """Images to compare by where there are no others, normalised, always the same: shape (64, C, S, S)."""
    preprocess = model.preprocess
    shape = (preprocess.in_channels, preprocess.image_size, preprocess.image_size)
    return torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))


def _images_to_compare(model: TrainedModel, dataset: DataSet, workers: int) -> tuple[Tensor, Tensor]:
    """Normalised test images and their labels."""
    preprocess = model.preprocess
    assert dataset.test is not None
    indices = spread(len(dataset.test), CHECKED_IMAGES)
    batches = [pixels for pixels, _ in iterate(dataset.test, _BATCH, indices, workers=workers)]
    return normalise(torch.cat(batches), preprocess.mean, preprocess.std).contiguous(), dataset.test.labels[indices]


def calibration_batches(model: TrainedModel, dataset: DataSet, workers: int) -> Iterator[np.ndarray]:
    """Training images as they are in use.

    Ranges are averaged over batches, so that each has to have as many images, and of all classes.
    """
    assert dataset.train is not None
    indices = spread(len(dataset.train), CALIBRATION_IMAGES, shuffled_for="calibration")
    for pixels, _ in iterate(dataset.train, 100, indices, workers=workers, evenly=True):
        yield normalise(pixels, model.preprocess.mean, model.preprocess.std).contiguous().numpy()
