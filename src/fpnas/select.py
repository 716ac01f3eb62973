"""Selection: which of several networks is best for the images, by a short training of each and images held out."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fpnas.builtin_files import builtin_network_names, find_network
from fpnas.errors import UserError, tell
from fpnas.files import what_is_at, write_json_atomic
from fpnas.network_file import NETWORK_NAME, load_network
from fpnas.runtime.callbacks import Callback
from fpnas.runtime.carry_out import defaults_of
from fpnas.runtime.processes import join_processes
from fpnas.runtime.run_directory import CONFIG_FILE, MAY_CHANGE, RunDirectory, goes_on
from fpnas.runtime.setup import configure_threads, pick_device
from fpnas.select_config import SelectConfig
from fpnas.train import check_before_loading, check_options, fit_to_data, origin_of, train
from fpnas.train_config import TrainConfig
from fpnas.training.batches import check_batch_size
from fpnas.training.data import DataSet, data_identity
from fpnas.training.evaluation import cross_entropy, normalised_batches
from fpnas.training.load import load_data

__all__ = [
    "SELECTION_FILE",
    "Candidate",
    "candidate_file",
    "check_selection",
    "check_short_training",
    "run_select",
]

SELECTION_FILE = "selection.json"


@dataclass(frozen=True)
class Candidate:
    """A network of a selection, and what its short training gave.

    Attributes:
        network: its file.
        macs, params: of the network.
        cross_entropy: mean over the images held out, nats.
        top1: percent of them.
        run: directory of the training.
    """

    network: str
    macs: int
    params: int
    cross_entropy: float
    top1: float
    run: str


def candidate_file(name: str) -> Path:
    """The network file that a name stands for: a search's run, a network file or a built-in network's name.

    Raises:
        UserError: there is none.
    """
    if name in builtin_network_names() or what_is_at(name, "candidate") != "folder":
        return find_network(name)
    found = RunDirectory.open(name, "search").network_path
    if not what_is_at(found, "candidate"):
        raise UserError(f"candidate {name}: the search has not ended; one that has is accepted")
    return found


def run_select(sources: Sequence[Path], config: SelectConfig, *, callbacks: Sequence[Callback] = ()) -> list[Candidate]:
    """Train every network for a short while and judge it by training images that are held out.

    Searches that differ in their seed alone find networks that differ: as in DARTS (Liu, Simonyan and Yang, ICLR 2019),
    the best of several is taken; by cross-entropy, as a search judges networks. What that is worth is in
    docs/results.md, "The best of several searches".

    Args:
        sources: network files, two or more.
        config: of the trainings. All have the same seed, so that all learn from the same images and are judged by the
            same ones.
        callbacks: are shown every training, one after another.

    Returns:
        The candidates, best first; of equal ones, in the order given. `selection.json` in the output has them, too.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data; nothing was written then, unless it
            showed on the way.
    """
    config.validate()
    if len(sources) < 2:
        raise UserError(f"select: {len(sources)} candidates; two or more are accepted")
    configure_threads(config.threads)
    device = pick_device(config.device)
    processes = join_processes(device)
    # Networks that searches of these processes found are in the first one's files alone.
    specs = processes.from_first(lambda: [load_network(source) for source in sources])
    for spec in specs:
        check_before_loading(spec, config, None)
    processes.from_first(lambda: check_selection(sources, config))
    sizes = {spec.input_size for spec in specs}
    dataset = _load(config, sizes.pop() if len(sizes) == 1 else None)
    assert dataset.test is not None
    images = data_identity(dataset)
    for spec in specs:
        fit_to_data(spec, dataset)  # refuses what would be refused after the trainings of others
    candidates = []
    for number, (source, spec, run) in enumerate(zip(sources, specs, _runs(sources, config), strict=True), 1):
        if not config.quiet and processes.is_first:
            tell(f"short training {number} of {len(sources)}: {source}")
        one = replace(config, output=run)
        result = train(
            spec, dataset, one, write=True, origin=origin_of(source, spec), images=images, callbacks=callbacks
        )
        batches = normalised_batches(dataset.test, dataset.mean, dataset.std, device, config.workers)
        loss = cross_entropy(result.network.to(device), batches)
        candidates.append(Candidate(os.fspath(source), result.macs, result.params, loss, result.top1, os.fspath(run)))
    candidates.sort(key=lambda candidate: candidate.cross_entropy)
    if processes.is_first:
        write_json_atomic(config.output / SELECTION_FILE, [asdict(candidate) for candidate in candidates])
    return candidates


def check_short_training(config: SelectConfig, input_size: int) -> None:
    """Refuse what `run_select` would, as far as that is known before there are networks.

    Args:
        config: of the trainings.
        input_size: of the networks, where the images have no size of their own.

    Raises:
        UserError: the configuration or the data will not do.
    """
    check_options(config, input_size)
    dataset = _load(config, input_size)
    assert dataset.train is not None
    check_batch_size(config.batch_size, len(dataset.train))


def check_selection(sources: Sequence[Path], config: SelectConfig) -> None:
    """Check that the output of a selection is free, or has what the same selection left, as far as it is to go on.

    Raises:
        UserError: there is anything else, or a training of another configuration.
    """
    runs = _runs(sources, config)
    if not any(goes_on(run, config.resume) for run in runs):
        RunDirectory.check_free(config.output, runs=[run.name for run in runs])
        return
    known = {run.name for run in runs}
    for path in sorted(config.output.iterdir()) if what_is_at(config.output, "--output") == "folder" else ():
        if path.is_dir() and path.name not in known:  # files, as a page of all trainings, may lie beside them
            raise UserError(
                f"--resume: {path}: of another selection; the same candidates in the same order are accepted, and more "
                "behind them"
            )
    for run in runs:
        RunDirectory.check_free(run, resume="train")
        if what_is_at(run / CONFIG_FILE, "--output"):
            one = asdict(replace(config, output=run))
            RunDirectory.check_same(run, "train", one, may_change=MAY_CHANGE, defaults=defaults_of(TrainConfig))


def _load(config: SelectConfig, input_size: int | None) -> DataSet:
    """The images, with those held out in place of the test images."""
    return load_data(
        config.data,
        image_size=config.image_size,
        default_image_size=input_size,
        max_images=config.max_images,
        hold_out=config.hold_out,
        seed=config.seed,
        workers=config.workers,
        on_bad_image=config.on_bad_image,
    )


def _runs(sources: Sequence[Path], config: SelectConfig) -> list[Path]:
    """The directory of each candidate's training."""
    return [config.output / f"{number:02}-{_called(source)}" for number, source in enumerate(sources, 1)]


def _called(source: Path) -> str:
    """A name for the candidate in its file: that of the run, where it is a search's."""
    return source.absolute().parent.name if source.name == NETWORK_NAME else source.stem
