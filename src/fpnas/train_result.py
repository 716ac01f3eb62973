"""What a training gave: in memory, and as the files of its run."""

from dataclasses import dataclass

from fpnas.files import read_json, write_json_atomic
from fpnas.network_file import load_network, network_to_json
from fpnas.nn.network import Network, build_network
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import load_weights, save_weights
from fpnas.training.data import DataSet

__all__ = ["TrainResult", "read_result", "write_result"]

_FIGURES = ("top1", "top5", "raw_top1", "macs", "params", "seconds", "skipped_images", "images")


@dataclass(frozen=True)
class TrainResult:
    """What a training gave. Accuracies in percent of the test images.

    Attributes:
        top1, top5: with the averaged weights, which are those of `network`.
        raw_top1: with the weights as they were at the last step; the same as `top1` where there is no average.
        macs, params: of the network.
        seconds: wall time, the evaluations included.
        network: on the processor, in eval mode.
        images: of the test, that the accuracies were measured on.
        skipped_images: that could not be read and were left out or replaced, as the first process met them.
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


def write_result(run: RunDirectory, dataset: DataSet, result: TrainResult) -> None:
    """Write a trained network and its figures; `result.json` comes last."""
    write_json_atomic(run.network_path, network_to_json(result.network.spec))
    write_json_atomic(
        run.preprocessing_path,
        {
            "image_size": dataset.image_size,
            "in_channels": dataset.in_channels,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
            "class_names": list(dataset.class_names),
        },
    )
    save_weights(run.weights_path, result.network.state_dict(), {"content": "network"})
    write_json_atomic(run.result_path, {name: getattr(result, name) for name in _FIGURES})


def read_result(run: RunDirectory) -> TrainResult:
    """What `write_result` wrote. Raises UserError when a file is missing or broken."""
    figures = read_json(run.result_path, "training result")
    network = build_network(load_network(run.network_path))
    network.load_state_dict(load_weights(run.weights_path, "weights file")[0])
    return TrainResult(**{name: figures[name] for name in _FIGURES}, network=network.eval())
