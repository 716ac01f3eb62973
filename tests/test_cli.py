"""The command line does the whole job: options and YAML in, one answer out, exit codes as promised."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import Captured, answer, document, heeding_interrupts
from PIL import Image
from refusals import refused, write_network

from fpnas.cli import main
from fpnas.cli_parser import CommandParser, attribute_helps
from fpnas.commands import COMMANDS, Command
from fpnas.errors import UserError
from fpnas.model_folder import load, save_model
from fpnas.network_file import load_network
from fpnas.restarts_config import RestartsConfig
from fpnas.search_config import SearchConfig
from fpnas.select_config import SelectConfig
from fpnas.train_config import TrainConfig
from fpnas.version import __version__

FPNAS = Path(sys.executable).parent / "fpnas"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Help


def test_overview_names_every_command(capfd: Captured) -> None:
    text = answer(capfd, "--help")
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{command.help}$", text, re.MULTILINE)
    assert answer(capfd, "--version") == f"fpnas {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_options_with_dashes(capfd: Captured, name: str) -> None:
    text = answer(capfd, name, "--help").replace("--print_config", "")
    assert text.startswith(f"usage: fpnas {name}")
    assert "--json" in text
    assert not re.search(r"--\w*_", text) and "class" not in re.findall(r"<(\w+)", text)


@pytest.mark.parametrize(
    ("name", "configuration"), [("search", RestartsConfig), ("select", SelectConfig), ("train", TrainConfig)]
)
def test_every_field_is_an_option_with_a_help(capfd: Captured, name: str, configuration: type) -> None:
    text = answer(capfd, name, "--help")
    helps = attribute_helps(configuration)
    for field in dataclasses.fields(configuration):
        assert f"--{field.name.replace('_', '-')} " in text
        assert len(helps[field.name]) > 5, field.name
        assert helps[field.name].split()[0] in text


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"]])
def test_help_answers_at_once(arguments: list[str]) -> None:
    # Processor time, and the best of three, so that a loaded machine does not fail it.
    seconds = []
    for _ in range(3):
        process = subprocess.Popen([FPNAS, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        seconds.append(usage.ru_utime + usage.ru_stime)
    assert min(seconds) < 0.5


# Options and YAML


def parsed(configuration: type, *arguments: str) -> Any:
    parser = CommandParser("test")
    parser.add_configuration(configuration)
    return parser.parse(arguments)


REQUIRED = ("--data=digits", "--space=tiny", "--target-macs=2.5M", "--output=run")


def test_defaults_are_those_of_the_dataclass() -> None:
    values = parsed(SearchConfig, *REQUIRED)
    expected = SearchConfig(data="digits", space="tiny", target_macs="2.5M", output=Path("run"))
    assert {field.name: values[field.name] for field in dataclasses.fields(expected)} == vars(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-images", "7", "--no-quiet"],
        ["--max_images", "7", "--quiet=false"],
        ["--max-images=7", "--quiet", "--no-quiet"],
        ["--max_images=7"],
    ],
)
def test_options_are_accepted_with_dashes_and_underscores(arguments: list[str]) -> None:
    values = parsed(SearchConfig, *REQUIRED, *arguments)
    assert (values.max_images, values.quiet) == (7, False)


def test_values_keep_their_underscores_and_dashes() -> None:
    values = parsed(SearchConfig, *REQUIRED, "--data=--a_b", "--output", "c_d")
    assert (values.data, values.output) == ("--a_b", Path("c_d"))


def test_the_command_line_wins_over_yaml_in_any_order() -> None:
    Path("c.yaml").write_text("space: tiny\ntarget_macs: 2500000\ndata: digits\nepochs: 3\nseed: 4\nquiet: true\n")
    for arguments in (["--config=c.yaml", "--epochs=5"], ["--epochs=5", "--config", "c.yaml"]):
        values = parsed(SearchConfig, *arguments, "--output=run")
        assert (values.epochs, values.seed, values.quiet, values.space) == (5, 4, True, "tiny")


@pytest.mark.parametrize("text", ["2500000", "2.5e6", "2.5M", "'2.5M'", "2500e3"])
def test_a_quantity_in_yaml_may_be_a_number(capfd: Captured, text: str) -> None:
    Path("c.yaml").write_text(f"target_macs: {text}\n")
    message = refused(capfd, "search", "--config=c.yaml", "--data=./absent", "--space=tiny", "--output=run")
    assert message.startswith("--data") and "absent" in message  # the quantity was accepted, the data come next


def test_a_printed_configuration_can_be_given_back(capfd: Captured) -> None:
    arguments = ["search", *REQUIRED, "--epochs=7", "--quiet"]
    text = answer(capfd, *arguments, "--print_config")
    content = yaml.safe_load(text)
    expected = RestartsConfig(data="digits", space="tiny", target_macs="2.5M", output=Path("run"), epochs=7, quiet=True)
    assert content == vars(expected) | {"output": "run"}
    Path("c.yaml").write_text(text)
    assert answer(capfd, "search", "--config", "c.yaml", "--print-config") == text


def test_mistakes_name_option_value_and_what_is_accepted(capfd: Captured) -> None:
    assert refused(capfd, "search", *REQUIRED, "--epochs=many") == "--epochs many: a whole number is accepted"
    assert refused(capfd, "search", *REQUIRED, "--seed", "1.5") == "--seed 1.5: a whole number is accepted"
    Path("c.yaml").write_text("learning_rate: fast\n")
    message = refused(capfd, "search", *REQUIRED, "--config=c.yaml")
    assert message == "--config c.yaml: learning_rate = 'fast': a number is accepted"
    # The file is to blame, not the value that would win over it.
    assert refused(capfd, "search", *REQUIRED, "--config=c.yaml", "--learning-rate=0.1") == message
    Path("c.yaml").write_text("epochs: 3\nepochs: 4\n")
    assert refused(capfd, "search", *REQUIRED, "--config=c.yaml") == (
        "--config c.yaml: broken YAML: 'epochs' is there twice"
    )
    Path("c.yaml").write_text("quiet: 1\n")
    message = refused(capfd, "search", *REQUIRED, "--config=c.yaml")
    assert message == "--config c.yaml: quiet = 1: true or false is accepted"
    assert refused(capfd, "search", *REQUIRED, "--quiet=maybe") == "--quiet maybe: true or false is accepted"
    Path("c.yaml").write_text("\ufeffepochs: many\n", encoding="utf-8")  # as some editors of Windows begin
    assert "epochs = 'many'" in refused(capfd, "search", *REQUIRED, "--config=c.yaml")
    message = refused(capfd, "train", "--data=digits")
    assert message.startswith("train: FILE, --output missing;")


# Answers


# The whole job


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a search `s` and a training `t` of what it found, made by the command line."""
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        common = ["--data=digits", "--epochs=2", "--batch-size=32", "--max-images=400", "--quiet"]
        assert main(["search", "--space=tiny", "--target-macs=0.3M", "--output=s", *common]) == 0
        assert main(["train", "s/network.json", "--output=t", *common]) == 0
        yield folder


def test_search_says_what_it_found(capfd: Captured) -> None:
    options = ["--epochs=2", "--batch-size=32", "--architecture-batch-size=32", "--max-images=200"]
    found = document(capfd, "search", *REQUIRED, "--target-macs=0.3M", *options)
    assert 0 < found["macs"] <= 300_000
    assert found["budget_share"] == pytest.approx(found["macs"] / 300_000)
    assert found["network"] == "run/network.json" and Path(found["architecture"]).is_file()
    assert document(capfd, "cost", found["network"])["macs"] == found["macs"]


def test_architecture_and_network_files_of_a_search_cost_the_same(capfd: Captured, job: Path) -> None:
    costs = [document(capfd, "cost", job / "s" / name) for name in ("architecture.json", "network.json")]
    assert costs[0] == costs[1]


def test_every_run_keeps_its_page(job: Path) -> None:
    for run in ("s", "t"):
        page = (job / run / "report.html").read_text()
        assert "Under way" not in page and "chart-0" in page


def test_the_page_of_a_run_that_had_ended_is_that_of_its_end(capfd: Captured, job: Path, tmp_path: Path) -> None:
    shutil.copytree(job / "s", tmp_path / "s")
    shutil.copytree(job / "t", tmp_path / "t")
    common = ["--data=digits", "--epochs=2", "--batch-size=32", "--max-images=400", "--quiet", "--resume"]
    pages = [tmp_path / run / "report.html" for run in ("s", "t")]
    whole = [page.read_text() for page in pages]
    for page in pages:
        page.write_text("Killed before the end.")
    answer(capfd, "search", "--space=tiny", "--target-macs=0.3M", f"--output={tmp_path / 's'}", *common)
    answer(capfd, "train", job / "s" / "network.json", f"--output={tmp_path / 't'}", *common)
    assert [page.read_text() for page in pages] == whole
    # Another network in the run: the page shows it.
    macs = document(capfd, "derive", tmp_path / "s", "--target-macs=150k")["macs"]
    assert f"{macs:,}" in pages[0].read_text() and f"{macs:,}" not in whole[0]


def test_derive(capfd: Captured, job: Path) -> None:
    derived = document(capfd, "derive", job / "s", "--target-macs", "150k", "--output", "small.json")
    assert derived.keys() == {"architecture", "network", "macs", "log_probability"}
    assert derived["network"] == "small.json" and derived["macs"] <= 150_000 and derived["log_probability"] <= 0
    assert document(capfd, "cost", "small.json")["macs"] == derived["macs"]
    assert document(capfd, "cost", derived["architecture"])["macs"] == derived["macs"]
    assert load_network("small.json").num_classes == 10
    # A name without .json, and a flag before the run.
    other = document(capfd, "derive", "--quiet", job / "s", "--target-macs", "200k", "--output", "net-0.2M")
    assert (other["network"], other["architecture"]) == ("net-0.2M", "net-0.2M.architecture.json")
    assert document(capfd, "cost", other["architecture"])["macs"] == other["macs"]


def test_evaluate(capfd: Captured, job: Path) -> None:
    figures = document(capfd, "evaluate", job / "t", "--data", "digits")
    result = json.loads((job / "t" / "result.json").read_text())
    assert figures == {name: result[name] for name in ("top1", "top5", "images")}
    assert f"{figures['top1']:.2f}%" in answer(capfd, "evaluate", job / "t", "--data=digits")


def test_evaluate_can_leave_out_what_is_no_image(capfd: Captured, job: Path) -> None:
    for folder in (Path("images", part, str(label)) for part in ("train", "val") for label in range(10)):
        folder.mkdir(parents=True)
        Image.new("L", (8, 8), 20 * int(folder.name)).save(folder / "whole.png")
    Path("images/val/3/broken.png").write_bytes(b"no image")
    given = ("--data=images", "--on-bad-image=skip")
    answer(
        capfd,
        "train",
        job / "s" / "network.json",
        *given,
        "--image-size=8",
        "--epochs=1",
        "--batch-size=5",
        "--output=own",
    )
    assert main(["evaluate", "own", *given, "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["images"] == 10 and "1 unreadable images were left out" in err
    assert "broken.png" in refused(capfd, "evaluate", "own", "--data=images")


def test_predict(capfd: Captured, job: Path) -> None:
    for index in range(2):
        Image.new("L", (8, 8), 90 * index).save(f"{index}.png")
    rows = document(capfd, "predict", job / "t", "0.png", "1.png")
    assert [row["image"] for row in rows] == ["0.png", "1.png"]
    for row in rows:
        assert row.keys() == {"image", "class", "probability"}
        assert row["class"] in "0123456789" and 0 < row["probability"] <= 1
    assert "0.png" in answer(capfd, "predict", job / "t", "0.png")


def test_predict_takes_images_of_any_name(capfd: Captured, job: Path) -> None:
    names = [os.fsdecode(b"\xe9.png"), "--my_image.png"]
    for name in names:
        Image.new("L", (8, 8), 90).save(name)
    rows = json.loads(answer(capfd, "predict", job / "t", "--json", "--", *names))
    assert [row["image"] for row in rows] == names


def test_weights_that_are_no_numbers_are_not_asked(capfd: Captured, job: Path, tmp_path: Path) -> None:
    shutil.copytree(job / "t", tmp_path / "t")
    model = load(tmp_path / "t")
    with torch.no_grad():
        model.network.classifier.bias[3] = torch.nan
    save_model(tmp_path / "t", model)
    Image.new("L", (8, 8), 90).save("0.png")
    for rest in (["0.png"], ["0.png", "--json"]):
        assert "classifier.bias has values that are not finite" in refused(capfd, "predict", tmp_path / "t", *rest)
    assert "classifier.bias" in refused(capfd, "evaluate", tmp_path / "t", "--data=digits")


def test_a_built_in_network_has_its_name_to_itself(capfd: Captured, job: Path) -> None:
    common = ["--data=digits", "--epochs=1", "--max-images=100", "--batch-size=50", "--image-size=32", "--quiet"]
    for resume in ([], ["--resume"]):
        answer(capfd, "train", "fbnetv2-f1", "--output=fbnetv2-f1", *common, *resume)
    # A run of that name is the folder ./fbnetv2-f1.
    answer(capfd, "train", "./fbnetv2-f1", "--output=on", *common)
    assert "Trained further" in Path("on/README.md").read_text()
    assert "Trained further" not in Path("fbnetv2-f1/README.md").read_text()


FOLDER = ("--format", "folder", "--output", "model")


def test_export(capfd: Captured, job: Path) -> None:
    exported = document(capfd, "export", job / "t", "--format", "onnx", "--output", "m.onnx")
    assert exported["path"] == "m.onnx" and exported["largest_difference"] <= 1e-4
    assert Path("m.onnx").stat().st_size == exported["bytes"]


def test_an_exported_folder_is_shown_without_what_was_not_measured(capfd: Captured, job: Path) -> None:
    shown = dict(re.split(r"  +", line) for line in answer(capfd, "export", job / "t", *FOLDER).splitlines()[1:])
    assert shown["path"] == "model" and Path("model/model.safetensors").is_file()
    assert (shown["same top1"], shown["top1"], shown["latency ms"]) == ("100.00%", "-", "-")


# Exit codes


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A command `act` that calls what a test puts into the list, and answers with the call's value."""
    calls: list[Any] = []
    acting = Command("act", lambda parser: None, lambda arguments: calls[0](), print)
    monkeypatch.setitem(COMMANDS, "act", acting)
    yield calls


def raising(error: BaseException) -> Any:
    def act() -> None:
        raise error

    return act


def test_any_other_failure_is_1_with_a_traceback(capfd: Captured, command: list[Any]) -> None:
    command.append(raising(RuntimeError("no such operator")))
    assert main(["act"]) == 1
    output, errors = capfd.readouterr()
    assert output == "" and "Traceback" in errors and "no such operator" in errors


def test_a_run_that_diverged_is_1_in_one_line(capfd: Captured, command: list[Any]) -> None:
    command.append(raising(FloatingPointError("step 3: the loss is nan")))
    assert main(["act"]) == 1
    assert capfd.readouterr() == ("", "fpnas: error: step 3: the loss is nan\n")


def test_what_a_user_can_be_told_is_2_in_one_line(capfd: Captured, command: list[Any]) -> None:
    command.append(raising(UserError("file a\nb:\n  broken\t at 3")))
    assert main(["act"]) == 2
    assert capfd.readouterr() == ("", "fpnas: error: file a b: broken at 3\n")


def test_interruption_is_130(capfd: Captured, command: list[Any]) -> None:
    command.append(raising(KeyboardInterrupt()))
    assert main(["act"]) == 130
    assert capfd.readouterr() == ("", "fpnas: interrupted\n")


def test_termination_is_143_and_the_handler_goes_back(command: list[Any]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    command.append(lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(10)))
    assert main(["act"]) == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_standard_output_is_for_the_answer(capfd: Captured, command: list[Any]) -> None:
    command.append(lambda: print("noise of a library") or {"a": 1})
    assert main(["act", "--json"]) == 0
    output, errors = capfd.readouterr()
    assert json.loads(output) == {"a": 1} and errors == "noise of a library\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_running_search_can_be_stopped(number: signal.Signals, code: int) -> None:
    arguments = ["search", *REQUIRED, "--epochs=100000", "--batch-size=32", "--threads=1"]
    process = subprocess.Popen(
        [FPNAS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_interrupts,
    )
    try:
        deadline = time.monotonic() + 120
        while not Path("run/metrics.jsonl").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output) == (code, ""), errors
    assert "Traceback" not in errors
    # Nothing under a final name that was not finished.
    assert not Path("run/network.json").exists() and not Path("run/result.json").exists()


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    process = subprocess.Popen([FPNAS, "cost", "fbnetv2-f4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(60)


@pytest.mark.parametrize("arguments", [["spaces"], ["cost", "fbnetv2-f1", "--json"], ["--help"], ["search", "--help"]])
def test_a_full_disk_behind_the_answer_is_one_line(arguments: list[str]) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [FPNAS, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=buffered
        )
    assert result.returncode == 1
    assert result.stderr == "fpnas: error: standard output: cannot be written: No space left on device\n"
    closed = " ".join(["exec", str(FPNAS), *arguments, ">&-"])
    assert subprocess.run(["sh", "-c", closed], capture_output=True, text=True, timeout=60).stderr == ""


def test_a_name_that_the_terminal_does_not_know(tmp_path: Path) -> None:
    write_network()
    shutil.copy("net.json", "\u65e5.json")
    content = json.loads(Path("net.json").read_text())
    Path("\u65e5.json").write_text(json.dumps(content | {"name": "\u65e5"}))
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run([FPNAS, "cost", "\u65e5.json"], capture_output=True, timeout=60, env=latin)
    assert result.returncode == 0 and b"\\u65e5" in result.stdout, result.stderr


def test_the_module_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "fpnas", "--version"], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, f"fpnas {__version__}\n")


def test_a_network_that_was_written_by_hand_can_be_costed(capfd: Captured) -> None:
    write_network()
    assert document(capfd, "cost", "net.json")["blocks"][0]["name"] == "stem"
