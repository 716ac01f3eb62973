"""Restarts: several searches that differ in their seeds alone, and the best of what they found."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fpnas.checks import check_ranges
from fpnas.errors import UserError, tell
from fpnas.files import what_is_at, write_bytes_atomic
from fpnas.network_file import NETWORK_NAME
from fpnas.restarts_config import MOST_RESTARTS, RestartsConfig
from fpnas.runtime.callbacks import Callback
from fpnas.runtime.metrics import EVENT_FILES
from fpnas.runtime.processes import join_processes
from fpnas.runtime.run_directory import CONFIG_FILE, RunDirectory, goes_on
from fpnas.runtime.setup import pick_device
from fpnas.search_result import SearchResult, read_result
from fpnas.select import Candidate, check_selection, check_short_training, run_select
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
        UserError: as `run_search` and `run_select`, and where the output has searches of other restarts. What can be
            known of the short trainings is refused before the first search.
    """
    config.validate()
    check_ranges(config, restarts=(2, MOST_RESTARTS))
    short = replace(
        short, output=config.output / _SELECTION, **{name: getattr(config, name) for name in _OF_THE_SEARCH}
    )
    short.validate()
    seeds = range(config.seed * config.restarts, (config.seed + 1) * config.restarts)
    runs = [config.output / f"seed-{seed}" for seed in seeds]
    networks = [run / NETWORK_NAME for run in runs]
    processes = join_processes(pick_device(config.device))
    processes.from_first(lambda: _check_output(config, runs))
    processes.from_first(lambda: _check_selection(networks, short))
    space = load_space(config.space)
    with _of_short_trainings(config):
        check_short_training(short, space.input_size)
    for number, (seed, run) in enumerate(zip(seeds, runs, strict=True), 1):
        if not config.quiet and processes.is_first:
            tell(f"search {number} of {config.restarts}: {run}")
        run_search(replace(config.one(), seed=seed, output=run), callbacks=callbacks)
    with _of_short_trainings(config):
        candidates = run_select(networks, short, callbacks=callbacks)
    best = Path(candidates[0].network).parent
    return processes.from_first(lambda: _take(best, config.output)), candidates


@contextmanager
def _of_short_trainings(config: RestartsConfig) -> Iterator[None]:
    """Say of a wrong option that it is one of the short trainings: the searches have options of these names, too."""
    given = f"--select-config {config.select_config}" if config.select_config else "short trainings"
    try:
        yield
    except UserError as error:
        option = str(error).split(maxsplit=1)[0].rstrip(":")
        if not option.startswith("--") or option[2:].replace("-", "_") in _OF_THE_SEARCH:
            raise
        raise UserError(f"{given}: {error}") from None
    except FloatingPointError as error:
        anew = f"in --select-config, once {config.output / _SELECTION} is removed"
        raise FloatingPointError(f"short trainings: {error} {anew}") from None


def _check_output(config: RestartsConfig, runs: Sequence[Path]) -> None:
    """UserError where there are other searches than these restarts left before, as far as they are to go on."""
    names = [run.name for run in runs]
    begun = [bool(what_is_at(run / CONFIG_FILE, "--output")) for run in runs]
    if any(goes_on(run, config.resume) for run in runs) and what_is_at(config.output, "--output") == "folder":
        others = [
            path
            for path in sorted(config.output.iterdir())
            if re.fullmatch(r"seed-\d+", path.name) and path.name not in names
        ]
        if others or (any(begun) and not begun[0]):
            raise UserError(
                f"--resume: {others[0] if others else config.output}: of other restarts; the same --seed and "
                "--restarts are accepted, and more restarts of seed 0"
            )
        if any(begun):
            return  # whatever of the user's own lies beside the searches
        if what_is_at(config.output / CONFIG_FILE, "--output"):
            raise UserError(f"--resume: run {config.output}: is one search; without --restarts it goes on")
    RunDirectory.check_free(config.output, runs=names)


def _check_selection(networks: Sequence[Path], short: SelectConfig) -> None:
    """UserError where there are other short trainings than these restarts left before."""
    try:
        check_selection(networks, short)
    except UserError as error:
        raise UserError(f"{error}; once {short.output} is removed, the choice begins anew") from None


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
    (output / CONFIG_FILE).unlink(missing_ok=True)  # of the best one so far: what is half copied is no run
    (output / source.checkpoints.name).mkdir(exist_ok=True)
    for path in output.glob(EVENT_FILES):
        path.unlink()  # of the best one so far
    for path in (*sorted(source.path.glob(EVENT_FILES)), *left):
        write_bytes_atomic(output / path.relative_to(source.path), path.read_bytes())
