"""Runs of several processes against the run of one: the same samples to the bit, the same weights to rounding."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ended_search import search_to
from finished_runs import network_file, repeatable_metrics
from test_resume import assert_equal_runs

from fpnas.cli import main
from fpnas.runtime.checkpoint import Checkpoints
from fpnas.runtime.weights import load_weights

SEARCH = ("search", "--data", "digits", "--space", "tiny", "--target-macs", "60k", "--threads", "1")
SHORT = (*SEARCH, "--epochs", "3", "--batch-size", "60")
KILLED = (*SEARCH, "--epochs", "4", "--batch-size", "60", "--checkpoint-every", "0")
NETWORK = "a network's file"
TRAIN = ("train", NETWORK, "--data", "digits", "--threads", "1")
FEW = ("--max-images", "300", "--epochs", "2", "--warmup-epochs", "1")

RUNS: dict[str, tuple[str, ...]] = {
    "data": SHORT,
    "samples": (*SHORT, "--parallel", "samples"),
    "fp-nas-paper": (*SHORT, *FEW, "--strategy", "fp-nas-paper", "--parallel", "samples"),
    "fbnetv2": (*SHORT, *FEW, "--strategy", "fbnetv2"),
    "fbnetv2 by samples": (*SHORT, *FEW, "--strategy", "fbnetv2", "--parallel", "samples"),
    "training": (*TRAIN, "--epochs", "2"),
    "varied": (
        *TRAIN,
        "--epochs",
        "2",
        "--max-images",
        "300",
        "--crop-scale",
        "0.4",
        "--auto-augment",
        "rand-m9-mstd0.5",
    ),
    "whole": KILLED,
    "whole training": (*TRAIN, "--epochs", "4", "--checkpoint-every", "0"),
    "own norms": (*TRAIN, "--epochs", "4", "--checkpoint-every", "0", "--sync-batch-norm", "false"),
    "mixed": (*TRAIN, "--epochs", "2", "--batch-size", "12", "--max-images", "120", "--mixup", "0.2", "--cutmix", "1"),
    "selection": ("select", NETWORK, *TRAIN[1:], *FEW, "--batch-size", "20"),
    "restarts": (*SHORT, *FEW, "--restarts", "2"),
    "no shares": (*SHORT, "--batch-size", "61"),
    "no pairs": (*TRAIN, "--batch-size", "10", "--cutmix", "1"),
    "in use": SHORT,
}
"""What two processes are given to do, one after the other: it is their start that takes the time."""


def launched(count: int, *arguments: str | Path, restarts: int = 0) -> "subprocess.Popen[str]":
    """`torchrun` with fpnas, or with a script of this folder."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", str(restarts))
    script = str(arguments[0]).endswith(".py")
    program = (Path(__file__).with_name(str(arguments[0])), *arguments[1:]) if script else ("-m", "fpnas", *arguments)
    return subprocess.Popen(
        [*torchrun, "--nproc-per-node", str(count), *map(str, program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@dataclass(frozen=True)
class Several:
    """Runs that some processes did, by name in a folder, the exit codes of each process, and what was printed."""

    folder: Path
    codes: list[dict[str, int]]
    output: str
    error: str


def command(name: str, folder: Path, output: Path) -> list[str]:
    """A run's arguments, the network's file written to the folder."""
    file = str(network_file(folder))
    return [file if argument == NETWORK else argument for argument in RUNS[name]] + ["--output", str(output)]


def done(count: int, names: list[str], folder: Path) -> Several:
    """Have several processes do runs."""
    (folder / "in use").mkdir()
    (folder / "in use" / "mine").touch()
    for rank in range(count):
        # As on another machine, whose disk has nothing of what the first process writes.
        elsewhere = {name: folder / "elsewhere" / name for name in ("restarts",) if rank}
        commands = [command(name, folder, elsewhere.get(name, folder / name)) for name in names]
        (folder / f"commands{rank}.json").write_text(json.dumps(commands))
    process = launched(count, "several_runs.py", folder)
    output, error = process.communicate(timeout=500)
    assert process.returncode == 0, error
    files = [folder / f"codes{rank}.json" for rank in range(count)]
    return Several(
        folder, [dict(zip(names, json.loads(file.read_text()), strict=True)) for file in files], output, error
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Several:
    """All runs, by two processes."""
    return done(2, list(RUNS), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Several:
    """The search in both modes, by four."""
    return done(4, ["data", "samples"], tmp_path_factory.mktemp("four"))


def alone(name: str, folder: Path) -> Path:
    """A run by one process: this one."""
    assert main(command(name, folder, folder / "one")) == 0
    return folder / "one"


def numbers(value: Any) -> list[Any]:
    """A figure, or all of nested lists, in order."""
    return [number for part in value for number in numbers(part)] if isinstance(value, list) else [value]


def assert_equal_to_rounding(one: Path, other: Path, weights: str) -> None:
    """Records and weights of two runs: what was drawn and counted is equal, figures of the weights nearly."""
    for first, second in zip(repeatable_metrics(one), repeatable_metrics(other), strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            exact = name in ("step", "epoch", "samples", "samples_so_far", "sampled_cost", "acceptance", "mode_macs")
            if exact:
                assert second[name] == value, name
            else:
                assert numbers(second[name]) == pytest.approx(numbers(value), rel=2e-3, abs=1e-4), name
    first, second = (load_weights(run / weights, "")[0] for run in (one, other))
    for name, value in first.items():
        # Statistics of the supernet's batch norm are of whichever network a process computed last.
        if "running" not in name:
            torch.testing.assert_close(second[name], value, rtol=2e-3, atol=2e-4)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search by one process."""
    return alone("data", tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("mode", ["data", "samples"])
@pytest.mark.parametrize("count", ["two", "four"])
def test_a_search_finds_the_same(one_process: Path, count: str, mode: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(count).folder / mode
    for name in ("architecture.json", "network.json"):
        assert (run / name).read_bytes() == (one_process / name).read_bytes()
    assert_equal_to_rounding(one_process, run, "checkpoints/final.safetensors")


@pytest.mark.parametrize("name", ["fp-nas-paper", "fbnetv2", "fbnetv2 by samples"])
def test_strategies_that_train_more_than_one(two: Several, tmp_path: Path, name: str) -> None:
    assert_equal_to_rounding(alone(name, tmp_path), two.folder / name, "checkpoints/final.safetensors")


@pytest.mark.parametrize("name", ["training", "varied"])
def test_a_training_gives_the_same(two: Several, tmp_path: Path, name: str) -> None:
    assert_equal_to_rounding(alone(name, tmp_path), two.folder / name, "model.safetensors")
    one, other = (json.loads((run / "mistakes.json").read_text()) for run in (tmp_path / "one", two.folder / name))
    # The network is the same to rounding, so an image or two may be taken for another class.
    assert sum(map(sum, one["confusion"])) == sum(map(sum, other["confusion"])) == 364
    assert sum(abs(a - b) for a, b in zip(numbers(one["confusion"]), numbers(other["confusion"]), strict=True)) <= 8


def test_processes_mix_images_each_among_its_own(two: Several) -> None:
    assert [codes["mixed"] for codes in two.codes] == [0, 0]
    first, last = (record["loss"] for record in repeatable_metrics(two.folder / "mixed"))
    assert last < first


def test_a_selection_is_the_same(two: Several, tmp_path: Path) -> None:
    def losses(run: Path) -> list[float]:
        return [candidate["cross_entropy"] for candidate in json.loads((run / "selection.json").read_text())]

    found = losses(two.folder / "selection")
    # Two candidates that are the same network: what processes share may not differ between the trainings, either.
    assert found[0] == found[1] == pytest.approx(losses(alone("selection", tmp_path))[0], rel=1e-2)


def test_restarts_are_the_same(two: Several, tmp_path: Path) -> None:
    one, other = alone("restarts", tmp_path), two.folder / "restarts"
    for name in ("seed-0/network.json", "seed-1/network.json", "network.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert (other / "config.yaml").is_file()
    assert [codes["restarts"] for codes in two.codes] == [0, 0]
    assert not (two.folder / "elsewhere").exists()


def test_one_process_speaks(two: Several) -> None:
    for name in RUNS.keys() - {"no shares", "no pairs", "in use"}:
        assert str(two.folder / name) in two.output
    assert two.output.count("forward passes") == 7


def test_sums_and_norms() -> None:
    process = launched(2, "sums_and_norms.py")
    output, error = process.communicate(timeout=300)
    assert process.returncode == 0 and "sums and norms hold" in output, error


def test_a_batch_without_equal_shares_is_refused(two: Several) -> None:
    assert [codes["no shares"] for codes in two.codes] == [2, 2]
    assert "fpnas: error: --batch-size 61: there are 2 processes; a multiple of that is accepted" in two.error
    assert not (two.folder / "no shares").exists()


def test_a_share_without_pairs_to_mix_is_refused(two: Several) -> None:
    assert [codes["no pairs"] for codes in two.codes] == [2, 2]
    assert (
        "fpnas: error: --batch-size 10: --mixup and --cutmix work on pairs, in each of 2 processes; a multiple of 4 is "
        "accepted" in two.error
    )
    assert not (two.folder / "no pairs").exists()


def test_a_directory_in_use_is_refused_once(two: Several) -> None:
    assert [codes["in use"] for codes in two.codes] == [2, 2]
    assert two.error.count("in use: holds other files") == 1
    assert [path.name for path in (two.folder / "in use").iterdir()] == ["mine"]


def test_the_first_process_calls_back_and_ends_the_run_of_all(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    search_to(tmp_path / "alone")
    process = launched(2, "ended_search.py", tmp_path)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    shown = [
        json.loads((folder / name).read_text())
        for folder, name in ((tmp_path / "alone", "shown0.json"), (tmp_path, "shown0.json"), (tmp_path, "shown1.json"))
    ]
    assert shown[0] == shown[1] == [5, [*(["step", step] for step in range(1, 6)), ["end", 5]]]
    assert shown[2] == [5, []]
    for name in ("architecture.json", "network.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / "run" / name).read_bytes()


def wait_for_lines(run: Path, lines: int, process: "subprocess.Popen[str]") -> None:
    path = run / "metrics.jsonl"
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    """Process numbers of the ranks, in the order they were started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(int(child) for child in children if b"fpnas" in Path(f"/proc/{child}/cmdline").read_bytes())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes by Linux's /proc")
@pytest.mark.parametrize(
    ("name", "kills"), [("whole", ((18, 1), (36, 0))), ("whole training", ((2, 1),)), ("own norms", ((2, 0),))]
)
def test_a_killed_process_is_started_again(
    two: Several, tmp_path: Path, name: str, kills: tuple[tuple[int, int], ...]
) -> None:
    process = launched(2, *command(name, tmp_path, tmp_path / "killed"), restarts=3)
    for lines, rank in kills:
        wait_for_lines(tmp_path / "killed", lines, process)
        os.kill(workers_of(process)[rank], signal.SIGKILL)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    assert_equal_runs(two.folder / name, tmp_path / "killed")


def test_a_launch_does_not_go_on_with_another_s_run(two: Several, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(two.folder / "whole", run)
    process = launched(2, *KILLED, "--output", run, restarts=1)
    error = process.communicate(timeout=300)[1]
    assert process.returncode != 0 and "holds another run" in error


def test_termination_leaves_a_checkpoint(tmp_path: Path) -> None:
    process = launched(2, *SHORT, "--epochs", "30", "--output", tmp_path / "run")
    wait_for_lines(tmp_path / "run", 30, process)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=300)[1]
    newest = next(Checkpoints(tmp_path / "run" / "checkpoints", "search").whole([]))
    assert newest.step >= 28, error
    assert newest.state["keeper"]["recorded_bytes"] == (tmp_path / "run" / "metrics.jsonl").stat().st_size
