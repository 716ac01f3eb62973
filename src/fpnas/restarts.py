"""Restarts: several searches that differ in their seeds alone, and the best of what they found."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fpnas.checks import check_ranges
from fpnas.errors import UserError, tell
from fpnas.files import what_is_at, write_bytes_atomic
from fpnas.network_file import NETWORK_NAME
from fpnas.restarts_config import MOST_RESTARTS, RestartsConfig
from fpnas.runtime.callbacks import Callback
from fpnas.runtime.processes import join_processes
from fpnas.runtime.run_directory import CONFIG_FILE, RunDirectory, goes_on
from fpnas.runtime.setup import pick_device
from fpnas.search_result import SearchResult, read_result
from fpnas.select import Candidate, run_select
from fpnas.select_config import SelectConfig
from fpnas.space_file import load_space
from fpnas.supernet_search import run_search

__all__ = ["search_with_restarts"]

_SELECTION = "selection"
_OF_THE_SEARCH = (
    "data",
    "image_size",
    "workers",
    "threads",
    "device",
    "on_bad_image",
    "resume",
    "checkpoint_every",
    "quiet",
)


def search_with_restarts(
    config: RestartsConfig, short: SelectConfig, *, callbacks: Sequence[Callback] = ()
) -> tuple[SearchResult, list[Candidate]]:
    """Search several times, and take the best network by a short training of each.

    Every search has its run in the output, `seed-N`, as `fpnas search --seed N` leaves it; the short trainings are in
    `selection`. At the end what the best search left stands in the output itself, which is a run like any other then.

    Args:
        config: of the searches, and how many there are: two or more.
        short: of the short trainings. Its `output`, and the fields that are those of the searches, are not looked at.
        callbacks: are shown every search, and then every training, one after another.

    Returns:
        What the best search found, or what was derived in its place since, and all candidates, best first.

    Raises:
        UserError: as `run_search` and `run_select`, and where the output has anything but what the same restarts left
            in it before, as far as they are to go on.
    """
    config.validate()
    check_ranges(config, restarts=(2, MOST_RESTARTS))
    short = replace(
        short, output=config.output / _SELECTION, **{name: getattr(config, name) for name in _OF_THE_SEARCH}
    )
    short.validate()
    seeds = range(config.seed * config.restarts, (config.seed + 1) * config.restarts)
    runs = [config.output / f"seed-{seed}" for seed in seeds]
    processes = join_processes(pick_device(config.device))
    processes.from_first(lambda: _check_output(config, runs))
    for number, (seed, run) in enumerate(zip(seeds, runs, strict=True), 1):
        if not config.quiet and processes.is_first:
            tell(f"search {number} of {config.restarts}: {run}")
        run_search(replace(config.one(), seed=seed, output=run), callbacks=callbacks)
    candidates = run_select([run / NETWORK_NAME for run in runs], short, callbacks=callbacks)
    best = Path(candidates[0].network).parent
    return processes.from_first(lambda: _take(best, config.output)), candidates


def _check_output(config: RestartsConfig, runs: Sequence[Path]) -> None:
    """UserError where there is anything but what these restarts left before, as far as they are to go on."""
    if not any(goes_on(run, config.resume) for run in runs):
        RunDirectory.check_free(config.output)
        return
    known = {_SELECTION, "checkpoints", *(run.name for run in runs)}
    for path in sorted(config.output.iterdir()) if what_is_at(config.output, "--output") == "folder" else ():
        if path.is_dir() and path.name not in known:
            raise UserError(f"--resume: {path}: of other restarts; the same --seed and --restarts are accepted")
    if what_is_at(config.output / CONFIG_FILE, "--output") and not any(run.exists() for run in runs):
        raise UserError(f"--resume: run {config.output}: is one search; without --restarts it goes on")


def _take(best: Path, output: Path) -> SearchResult:
    """Put what a search left into the directory above it, unless it is there: what was derived since is to stay."""
    source = RunDirectory.open(best, "search")
    if not what_is_at(output / CONFIG_FILE, "--output") or RunDirectory.open(output).config != source.config:
        _copy(source, output)
    taken = RunDirectory.open(output, "search")
    return read_result(taken, load_space(taken.space_path))


def _copy(source: RunDirectory, output: Path) -> None:
    """Copy what makes a finished search, but for what it needs to go on."""
    left = (
        source.space_path,
        source.split_path,
        source.metrics_path,
        source.search_state_path,
        source.architecture_path,
        source.network_path,
        source.result_path,
        source.config_path,  # the last: by it a directory is a run
    )
    (output / source.checkpoints.name).mkdir(exist_ok=True)
    for path in left:
        write_bytes_atomic(output / path.relative_to(source.path), path.read_bytes())
