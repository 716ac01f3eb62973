"""Training: a network on a data set, from fresh weights or those of another training or a search."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from fpnas.builtin_files import builtin_network_names, find_network
from fpnas.cost import network_cost
from fpnas.errors import UserError
from fpnas.files import what_is_at
from fpnas.initial_weights import check_one_start, network_of_search, starting_network
from fpnas.model_card import code, last_part
from fpnas.model_folder import TrainedModel, load
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import Network
from fpnas.runtime.callbacks import Callback
from fpnas.runtime.carry_out import RunFiles, carry_out, check_output, defaults_of
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.processes import join_processes
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import configure_threads, pick_device
from fpnas.train_config import TrainConfig
from fpnas.train_loop import TrainLoop
from fpnas.train_result import TrainResult, read_result, result_figures, write_result
from fpnas.training.data import DataSet, data_identity
from fpnas.training.distillation import check_teacher
from fpnas.training.load import load_data
from fpnas.training.policies import Policy
from fpnas.training.precision import Precision

__all__ = ["TrainResult", "check_before_loading", "check_options", "fit_to_data", "origin_of", "run_train", "train"]


def run_train(source: Path, config: TrainConfig, *, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """Train as the command line does: network and data by name, everything written to `config.output`.

    Args:
        source: a network file, or a model folder whose weights are the start.
        config: of the training.
        callbacks: are shown the run after every epoch and at the end, and may end it.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data; nothing was written then, unless it
            showed on the way: a full disk, an image that is read late.
    """
    config.validate()
    configure_threads(config.threads)
    initial = load(source) if what_is_at(source, "network") == "folder" else None
    spec = initial.network.spec if initial else load_network(source)
    check_before_loading(spec, config, initial)
    check_output(join_processes(pick_device(config.device)), config.output, "train", resume=config.resume)
    dataset = load_data(
        config.data,
        image_size=config.image_size,
        default_image_size=spec.input_size,
        max_images=config.max_images,
        hold_out=config.hold_out,
        seed=config.seed,
        workers=config.workers,
        on_bad_image=config.on_bad_image,
    )
    return train(
        spec, dataset, config, write=True, initial=initial, origin=origin_of(source, spec), callbacks=callbacks
    )


def train(
    spec: NetworkSpec,
    dataset: DataSet,
    config: TrainConfig,
    *,
    write: bool = False,
    initial: TrainedModel | None = None,
    origin: str = "",
    images: Mapping[str, str] | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Train a network.

    Args:
        spec: the network; its channels, classes and image size are fitted to the data.
        dataset: with training and test images.
        config: the loading options in it are not looked at; `data` is what the model card calls the images.
        write: whether `config.output` becomes the run directory; else nothing is written.
        initial: a trained network of these blocks to start from; weights are fresh when left out, or those of
            `config.from_search`.
        origin: how the network was found, for the model card.
        images: `data_identity` of the data set as it was before an earlier training, in which unreadable images may
            have shown up that change it.
        callbacks: are shown the run after every epoch and at the end, and may end it.

    Raises:
        UserError: the images are too small for the network, or too few for a batch; a teacher or a search that does
            not fit; with `write`, a run that cannot go on.
        FloatingPointError: the loss is not finite.
        SystemExit, KeyboardInterrupt: SIGTERM or SIGINT came; with `write`, a checkpoint was written, unless the step
            under way took more than 7 s after SIGTERM.
        ProcessLost: of several processes, another one has ended.
    """
    processes = join_processes(pick_device(config.device))
    spec = fit_to_data(spec, dataset)
    network, start_identity = starting_network(spec, dataset, config, initial)
    loop = TrainLoop(network, dataset, config, processes)

    def work(keeper: RunKeeper) -> TrainResult:
        trained = loop.run(keeper, with_mistakes=write)
        assert isinstance(trained.model, Network)
        cost = network_cost(spec)
        return TrainResult(
            top1=trained.accuracy.top1,
            top5=trained.accuracy.top5,
            raw_top1=trained.raw_top1,
            macs=cost.macs,
            params=cost.params,
            seconds=trained.seconds,
            network=trained.model,
            skipped_images=dataset.skipped,
            images=trained.accuracy.images,
            epochs=loop.epochs_recorded,
            mistakes=trained.mistakes,
        )

    content = json.dumps(network_to_json(spec), sort_keys=True)
    files = RunFiles(
        config.output,
        "train",
        asdict(config),
        defaults_of(TrainConfig),
        config.resume,
        prepare=lambda run: None,
        write=lambda run, result: write_result(run, dataset, result, data=config.data, origin=origin),
        read=read_result,
    )
    return carry_out(
        work,
        files if write else None,
        processes=processes,
        identity={
            "network file": hashlib.sha256(content.encode()).hexdigest()[:16],
            **(data_identity(dataset) if images is None else images),
            **start_identity,
            **loop.identity,
        },
        total_steps=loop.total_steps,
        checkpoint_minutes=config.checkpoint_every,
        callbacks=callbacks,
        figures=result_figures,
    )


def check_before_loading(spec: NetworkSpec, config: TrainConfig, initial: TrainedModel | None) -> None:
    """Raises UserError for what can be known to fail before images are loaded."""
    check_options(config, spec.input_size)
    if config.image_size is not None:
        spec.at_input_size(config.image_size)
    check_one_start(config, initial)
    if config.from_search:
        network_of_search(config.from_search, spec)


def check_options(config: TrainConfig, input_size: int) -> None:
    """The part of `check_before_loading` that needs no network, but for the size of its input."""
    device = pick_device(config.device)
    Precision(config.precision, device)  # refuses what the device cannot do
    join_processes(device).check_divides(config.batch_size, "--batch-size")
    if config.teacher is not None:
        check_teacher(config.teacher)
    if config.auto_augment:
        Policy(config.auto_augment, input_size, (0.5, 0.5, 0.5))


def fit_to_data(spec: NetworkSpec, dataset: DataSet) -> NetworkSpec:
    """The network with the data's channels, classes and image size. Raises UserError when too small."""
    fitted = replace(spec, in_channels=dataset.in_channels, num_classes=len(dataset.class_names))
    fitted = fitted.at_input_size(dataset.image_size)
    # What was published was measured with other data.
    return fitted if fitted == spec else replace(fitted, published={})


def origin_of(source: Path, spec: NetworkSpec) -> str:
    """How the network at a path was found, as far as that is known; for the model card.

    Args:
        source: a model folder, or a network file.
        spec: the network as it stands there.
    """
    if source.is_dir():
        return "Trained further from the weights of another model."
    if source.stem in builtin_network_names() and source == find_network(source.stem):
        return f"The network {code(source.stem)} that comes with fpnas."
    try:
        run = RunDirectory.open(source.parent, "search")
    except UserError:
        run = None
    if run is None or source != run.network_path:
        return f"A network file was given, {code(source.name)}."
    # Not the budget of the search: `fpnas derive` may have put a network of another one there.
    config = run.config
    return (
        f"By `fpnas search` with strategy {code(str(config.get('strategy')))} in space "
        f"{code(last_part(str(config.get('space'))))}, on the training images alone (seed {config.get('seed')}): a "
        f"network of {network_cost(spec).macs / 1e6:.2f}M multiply-adds at {spec.input_size} pixels."
    )
