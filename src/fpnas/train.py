"""Training: a network on a data set, from fresh weights or those of another training or a search."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from fpnas.errors import UserError
from fpnas.model_folder import TrainedModel, load
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.runtime.carry_out import RunFiles, carry_out, check_output
from fpnas.runtime.processes import join_processes
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import configure_threads, pick_device
from fpnas.train_config import TrainConfig
from fpnas.train_loop import TrainLoop
from fpnas.train_result import TrainResult, read_result, write_result
from fpnas.training.data import DataSet, data_identity
from fpnas.training.load import load_data

__all__ = ["TrainResult", "origin_of", "run_train", "train"]


def run_train(source: Path, config: TrainConfig) -> TrainResult:
    """Train as the command line does: network and data by name, everything written to `config.output`.

    Args:
        source: a network file, or a model folder whose weights are the start.
        config: of the training.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data. Nothing was written then.
    """
    config.validate()
    configure_threads(config.threads)
    initial = load(source) if source.is_dir() else None
    spec = initial.network.spec if initial else load_network(source)
    check_output(join_processes(pick_device(config.device)), config.output, "train", resume=config.resume)
    dataset = load_data(
        config.data,
        image_size=config.image_size,
        default_image_size=spec.input_size,
        max_images=config.max_images,
        seed=config.seed,
        workers=config.workers,
        on_bad_image=config.on_bad_image,
    )
    return train(spec, dataset, config, write=True, initial=initial, origin=origin_of(source))


def train(
    spec: NetworkSpec,
    dataset: DataSet,
    config: TrainConfig,
    *,
    write: bool = False,
    initial: TrainedModel | None = None,
    origin: str = "",
) -> TrainResult:
    """Train a network.

    Args:
        spec: the network; its channels, classes and image size are fitted to the data.
        dataset: with training and test images.
        config: `data` and the loading options in it are not looked at.
        write: whether `config.output` becomes the run directory; else nothing is written.
        initial: a trained network of these blocks to start from; weights are fresh when left out, or those of
            `config.from_search`.
        origin: how the network was found, for the model card.

    Raises:
        UserError: the images are too small for the network, or too few for a batch; a teacher or a search that does
            not fit; with `write`, a run that cannot go on.
        FloatingPointError: the loss is not finite.
        SystemExit, KeyboardInterrupt: SIGTERM or SIGINT came; with `write`, a checkpoint was written.
        ProcessLost: of several processes, another one has ended.
    """
    processes = join_processes(pick_device(config.device))
    loop = TrainLoop(spec, dataset, config, processes, initial)
    network = json.dumps(network_to_json(loop.spec), sort_keys=True)
    files = RunFiles(
        config.output,
        "train",
        asdict(config),
        config.resume,
        prepare=lambda run: None,
        write=lambda run, result: write_result(run, dataset, result, data=config.data, origin=origin),
        read=read_result,
    )
    return carry_out(
        loop.run,
        files if write else None,
        processes=processes,
        identity={
            "network file": hashlib.sha256(network.encode()).hexdigest()[:16],
            **data_identity(dataset),
            **loop.start_identity,
        },
        total_steps=loop.total_steps,
        checkpoint_minutes=config.checkpoint_every,
    )


def origin_of(source: Path) -> str:
    """How the network at a path was found, as far as the files beside it say."""
    if source.is_dir():
        return "Trained further from the weights of another model, on other images."
    try:
        run = RunDirectory.open(source.parent, "search")
    except UserError:
        return "By hand: its network file was given."
    config = run.config
    return (
        f"By `fpnas search` with strategy `{config.get('strategy')}` in space `{config.get('space')}`, within "
        f"{config.get('target_macs')} multiply-adds, on the training images alone (seed {config.get('seed')})."
    )
