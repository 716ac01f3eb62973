"""What a training gave: in memory, and as the files of its run."""

from dataclasses import dataclass, fields
from typing import Any

from fpnas.errors import UserError
from fpnas.files import printable, read_json, write_json_atomic, write_text_atomic
from fpnas.model_card import model_card
from fpnas.model_folder import CARD_NAME, TrainedModel, load, save_model
from fpnas.nn.network import Network
from fpnas.runtime.run_directory import MAY_CHANGE, RunDirectory
from fpnas.train_config import TrainConfig
from fpnas.training.data import DataSet
from fpnas.training.mistakes import Mistakes
from fpnas.training.preprocessing import Preprocessing

__all__ = ["TrainResult", "read_result", "result_figures", "write_result"]

_FIGURES = ("top1", "top5", "raw_top1", "macs", "params", "seconds", "skipped_images", "images", "epochs")


@dataclass(frozen=True)
class TrainResult:
    """What a training gave. Accuracies in percent of the test images, or of those held out in their place.

    Attributes:
        top1, top5: with the averaged weights, which are those of `network`.
        raw_top1: with the weights as they were at the last step; the same as `top1` where there is no average.
        macs, params: of the network.
        seconds: wall time, the evaluations included.
        network: on the processor, in eval mode.
        images: of these, that the accuracies were measured on.
        epochs: that were done; fewer than planned where a callback ended the training.
        skipped_images: that could not be read and were left out or replaced, as the first process met them.
        mistakes: on those images, of a training that was written; None where it was read again.
    """

    top1: float
    top5: float
    raw_top1: float
    macs: int
    params: int
    seconds: float
    network: Network
    skipped_images: int = 0
    images: int = 0
    epochs: int = 0
    mistakes: Mistakes | None = None


def result_figures(result: TrainResult) -> dict[str, Any]:
    """The figures of a result, as `result.json` has them."""
    return {name: getattr(result, name) for name in _FIGURES}


def write_result(run: RunDirectory, dataset: DataSet, result: TrainResult, *, data: str, origin: str) -> None:
    """Write a trained network as a model folder, and its figures; `result.json` comes last.

    Args:
        run: the directory.
        dataset: what it was trained on; `data` is how it was named.
        result: the network and its figures.
        origin: how the network was found, for the model card.
    """
    preprocess = Preprocessing(dataset.image_size, dataset.in_channels, dataset.mean, dataset.std, dataset.class_names)
    save_model(run.path, TrainedModel(result.network, preprocess))
    figures = result_figures(result)
    usual = {field.name: field.default for field in fields(TrainConfig)}
    aside = {*MAY_CHANGE, "data", "license"}
    done = run.config | {"epochs": result.epochs}
    card = model_card(
        result.network.spec,
        figures,
        data=data,
        class_names=dataset.class_names,
        license=str(run.config["license"]),
        origin=origin,
        recipe={name: value for name, value in done.items() if name not in aside and value != usual.get(name)},
        held_out=bool(run.config["hold_out"]),
    )
    write_text_atomic(run.path / CARD_NAME, printable(card))
    if result.mistakes is not None:
        write_json_atomic(run.mistakes_path, result.mistakes.to_json())
    write_json_atomic(run.result_path, figures)


def read_result(run: RunDirectory) -> TrainResult:
    """What `write_result` wrote. Raises UserError when a file is missing or broken."""
    figures = read_json(run.result_path, "training result")
    if not figures.keys() >= set(_FIGURES):
        raise UserError(f"{run.result_path}: of another version; fields {', '.join(_FIGURES)} are expected")
    return TrainResult(**{name: figures[name] for name in _FIGURES}, network=load(run.path).network)
