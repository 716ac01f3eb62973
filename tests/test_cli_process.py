"""The installed command as a process: quick help, one JSON document, configuration files, signals, closed pipes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from refusals import SOUND_IMAGES, exit_code, image_folder, refused, search, train, tree, write_network

FPNAS = Path(sys.executable).parent / "fpnas"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answer(capfd: Captured, *arguments: str | Path) -> Any:
    """The JSON document of a command, which must be all that is on standard output."""
    capfd.readouterr()
    assert exit_code([*map(str, arguments), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def effective(capfd: Captured, *arguments: str) -> dict[str, Any]:
    """The effective configuration as --print_config tells it."""
    capfd.readouterr()
    assert exit_code([*arguments, "--print_config"]) == 0
    return yaml.safe_load(capfd.readouterr().out)


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["train", "--help"], ["space", "--help"]])
def test_help_is_quick_and_imports_nothing_heavy(arguments: list[str]) -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        result = subprocess.run([FPNAS, *arguments], capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - started)
        assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith("usage: fpnas")
    # The fastest of three: the machine may be busy with other tests.
    assert min(seconds) < 0.5, seconds
    code = "import sys, fpnas.cli; fpnas.cli.main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True).returncode == 0


def test_options_are_shown_with_dashes(capfd: Captured) -> None:
    assert exit_code(["search", "--help"]) == 0
    text = capfd.readouterr().out
    assert "--target-macs" in text and "--max-images" in text and "--target_macs" not in text


def test_dashes_and_underscores_are_accepted(capfd: Captured) -> None:
    for spelling in ("--batch-size", "--batch_size"):
        assert effective(capfd, "search", spelling, "32")["batch_size"] == 32
        assert effective(capfd, "search", f"{spelling}=32")["batch_size"] == 32


@pytest.mark.parametrize(
    ("arguments", "quiet"), [([], False), (["--quiet"], True), (["--quiet=true"], True), (["--no-quiet"], False)]
)
def test_switches(capfd: Captured, arguments: list[str], quiet: bool) -> None:
    assert effective(capfd, "search", *arguments)["quiet"] is quiet


def test_the_command_line_wins_over_the_file_wherever_it_stands(capfd: Captured) -> None:
    Path("c.yaml").write_text("epochs: 7\nseed: 5\ntarget_macs: 300000\n")
    for arguments in (["--config=c.yaml", "--epochs=9"], ["--epochs", "9", "--config", "c.yaml"]):
        found = effective(capfd, "search", *arguments)
        assert (found["epochs"], found["seed"], str(found["target_macs"])) == (9, 5, "300000")


@pytest.mark.parametrize("command", ["search", "train"])
def test_the_printed_configuration_can_be_read_again(capfd: Captured, command: str) -> None:
    printed = effective(capfd, command, "--epochs=9", "--data=digits", "--output=run")
    Path("c.yaml").write_text(yaml.safe_dump(printed))
    assert effective(capfd, command, "--config=c.yaml") == printed


def test_wrong_values_in_a_file_name_the_file(capfd: Captured) -> None:
    Path("c.yaml").write_text("epochs: many\n")
    message = refused(capfd, *search(), "--config=c.yaml")
    assert "c.yaml" in message and "epochs" in message and "many" in message and "whole number" in message


def test_answers_about_spaces(capfd: Captured) -> None:
    spaces = answer(capfd, "spaces")
    assert {space["name"] for space in spaces} >= {"fbnetv2-f", "fbnetv2-f-32", "tiny"}
    tiny = answer(capfd, "space", "tiny")
    assert {key: tiny[key] for key in spaces[0]} == next(space for space in spaces if space["name"] == "tiny")
    assert (tiny["architectures"], tiny["groups"], tiny["blocks"], tiny["input_size"]) == ("73728", 4, 5, 8)
    assert tiny["macs"]["min"] < tiny["macs"]["median"] < tiny["macs"]["max"]
    assert answer(capfd, "space", "tiny", "--input-size", "16")["macs"]["max"] > tiny["macs"]["max"]
    full = next(space for space in spaces if space["name"] == "fbnetv2-f")
    assert (round(full["entropy_nats"], 2), full["initial_samples"]) == (56.25, 14)


def test_answer_about_a_published_network(capfd: Captured) -> None:
    found = answer(capfd, "cost", "fbnetv2-f1")
    assert (found["macs"], found["weights"], found["input_size"]) == (56_410_560, 5_999_408, 128)
    for name in ("macs", "weights", "params"):
        assert sum(block[name] for block in found["blocks"]) == found[name]


def test_tables(capfd: Captured) -> None:
    for arguments, shown in (
        (["spaces"], "fbnetv2-f"),
        (["space", "tiny"], "73728"),
        (["cost", "fbnetv2-f4"], "total"),
    ):
        assert exit_code(arguments) == 0
        assert shown in capfd.readouterr().out


def test_from_search_to_onnx(capfd: Captured) -> None:
    """Every command after the other on digits, with answers that agree with the files and with each other."""
    small = {"max_images": "200", "batch_size": "50", "epochs": "2"}
    found = answer(capfd, *search(**small, architecture_batch_size="50"), "--quiet")
    assert found["macs"] <= 300_000
    derived = answer(capfd, "derive", "run", "--target-macs", "0.25M", "--output", "small.json")
    assert set(derived) == {"architecture", "network", "macs", "log_probability"} and derived["macs"] <= 250_000
    for name in ("network", "architecture"):
        assert answer(capfd, "cost", derived[name])["macs"] == derived["macs"]
    trained = answer(capfd, "train", "small.json", *train(output="trained", **small)[2:], "--quiet")
    accuracy = answer(capfd, "evaluate", "trained", "--data", "digits")
    assert set(accuracy) == {"top1", "top5", "images"}
    assert accuracy["top1"] == pytest.approx(trained["top1"])
    image_folder(Path("images"), **SOUND_IMAGES)
    images = sorted(map(str, Path("images").rglob("*.png")))[:2]
    predictions = answer(capfd, "predict", "trained", *images)
    assert [one["image"] for one in predictions] == images
    assert all(0 < one["probability"] <= 1 and one["class"] in "0123456789" for one in predictions)
    exported = answer(capfd, "export", "trained", "--format", "onnx", "--output", "model.onnx")
    assert exported["largest_difference"] < 1e-4 and Path("model.onnx").stat().st_size == exported["bytes"]
    before = tree(Path.cwd())
    assert "--output trained" in refused(capfd, "train", "small.json", *train(output="trained")[2:])
    assert tree(Path.cwd()) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(number: signal.Signals, code: int) -> None:
    write_network()
    arguments = train(epochs="1000", max_images="200", batch_size="50")
    with subprocess.Popen(
        [FPNAS, *arguments, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 90
        metrics = Path("run/metrics.jsonl")
        while not (metrics.is_file() and metrics.stat().st_size) and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert output == "" and "Traceback" not in errors and errors.count("\n") <= 1
    assert not [path for path in Path("run").rglob("*") if path.name in ("network.json", "result.json")]


def test_a_closed_pipe_is_no_news() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run([FPNAS, "space", "tiny"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writer)
    assert result.stderr == ""


def test_module_form() -> None:
    result = subprocess.run([sys.executable, "-m", "fpnas", "--version"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stdout.startswith("fpnas ")
