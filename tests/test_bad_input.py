"""Options, configurations, data and runs with something wrong: one line, exit code 2, nothing left behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import SOUND_IMAGES, exit_code, image_folder, refused, search, train, write_network

from fpnas.cost.table import build_cost_table
from fpnas.runtime.run_directory import RunDirectory
from fpnas.space_file import load_space

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Usage and configuration


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "command"),
        (["serch"], "serch"),
        (["--colour"], "--colour"),
        (["spaces", "surplus"], "surplus"),
        (["space"], "space"),
        (["cost"], "file"),
        (["export", "run", "--format=onnx"], "--output"),
        (["predict", "run"], "image"),
        (["evaluate", "run"], "--data"),
        (["cost", "fbnetv2-f1", "--space=tiny"], "--space tiny"),
        (["report", "run", "--port=8000"], "--port 8000"),
        (["report", "run", "--live", "--output=page.html"], "--output page.html"),
        (["train", "fbnetv2-f1", "--data=digits", "--output=run", "--teacher="], "--teacher"),
        (search()[:-1], "--output"),
        ([*search(), "--no-such-option=3"], "--no-such-option"),
        ([*search(), "--epochs"], "--epochs"),
        ([*search(), "surplus"], "surplus"),
    ],
)
def test_bad_usage(capfd: Captured, arguments: list[str], named: str) -> None:
    assert named in refused(capfd, *arguments).lower()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("strategy", "no-such-strategy"),
        ("strategy", ""),
        ("epochs", "0"),
        ("epochs", "-1"),
        ("epochs", "many"),
        ("epochs", "2.5"),
        ("epochs", "true"),
        ("warmup-epochs", "100"),
        ("batch-size", "0"),
        ("batch-size", "1e9999"),
        ("learning-rate", "0"),
        ("learning-rate", "-0.1"),
        ("learning-rate", "nan"),
        ("learning-rate", "inf"),
        ("learning-rate", "fast"),
        ("seed", "-1"),
        ("seed", "x"),
        ("max-images", "0"),
        ("max-images", "5"),
        ("image-size", "0"),
        ("workers", "-1"),
        ("threads", "0"),
        ("device", "tpu"),
        ("on-bad-image", "ignore"),
        ("weight-step", "none"),
        ("joint-from", "1.5"),
    ],
)
def test_senseless_value(capfd: Captured, option: str, value: str) -> None:
    message = refused(capfd, *search(), f"--{option}={value}")
    assert f"--{option}" in message and value in message, message


@pytest.mark.parametrize("value", ["0", "-1", "-5M", "abc", "nan", "inf", "", "60X", "1e400", "0.1", "M"])
@pytest.mark.parametrize("apart", [False, True])
def test_senseless_target(capfd: Captured, value: str, apart: bool) -> None:
    arguments = [part for part in search() if not part.startswith("--target-macs")]
    given = ["--target-macs", value] if apart else [f"--target-macs={value}"]
    message = refused(capfd, *arguments, *given)
    assert "--target-macs" in message and (apart or value in message), message


def test_target_under_the_smallest_network_names_the_smallest(capfd: Captured) -> None:
    smallest = build_cost_table(load_space("tiny")).minimum()
    message = refused(capfd, *search(target_macs=str(smallest - 1)))
    assert f"--target-macs {smallest - 1}" in message and str(smallest) in message, message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"epochs: [1, 2", "config.yaml"),
        (b"- epochs", "config.yaml"),
        (b"just text", "config.yaml"),
        (b"\xff\xfe\x00", "config.yaml"),
        (b"epoch: 3", "epoch"),
        (b"epochs: many", "many"),
        (b"epochs: 0", "epochs"),
        (b"epochs: [3]", "epochs"),
        (b"target_macs: {a: 1}", "target"),
        (b"target_macs: [1]", "60M"),
    ],
)
def test_bad_configuration_file(capfd: Captured, content: bytes, named: str) -> None:
    Path("config.yaml").write_bytes(content)
    arguments = search()
    if b"target" in content:
        arguments = [part for part in arguments if not part.startswith("--target-macs")]
    assert named in refused(capfd, *arguments, "--config=config.yaml")


def test_missing_configuration_file(capfd: Captured) -> None:
    assert "absent.yaml" in refused(capfd, *search(), "--config=absent.yaml")


def test_unknown_space_in_a_search(capfd: Captured) -> None:
    message = refused(capfd, *search(space="no-such-space"))
    assert "no-such-space" in message and "tiny" in message, message


# Output


def test_output_that_holds_another_run_is_left_alone(capfd: Captured) -> None:
    write_network()
    RunDirectory.create(Path("run"), "search", {"seed": 3})
    Path("run/network.json").write_text("precious")
    for arguments in (search(), train()):
        message = refused(capfd, *arguments)
        assert "--output run" in message and "another" in message, message


def test_output_that_holds_other_files_or_is_a_file(capfd: Captured) -> None:
    write_network()
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("precious")
    Path("file").write_text("precious")
    for output in ("full", "file", "file/run", "file/run/deep"):
        for arguments in (search(output=output), train(output=output)):
            message = refused(capfd, *arguments)
            assert f"--output {output}" in message, message


@pytest.mark.parametrize("output", ["/proc/no-such-place/run", "/dev/null/run", "x" * 300, "a\0b", ""])
def test_output_that_cannot_be_made(capfd: Captured, output: str) -> None:
    write_network()
    for arguments in (search(output=output), train(output=output)):
        assert "--output" in refused(capfd, *arguments)


LONG = "n" * 300
PLACES = {
    "a network": ["train", LONG, "--data=digits", "--output=run"],
    "a network file": ["train", f"{LONG}.json", "--data=digits", "--output=run"],
    "a folder": ["train", f"{LONG}/model", "--data=digits", "--output=run"],
    "--config": [*train(), f"--config={LONG}"],
    "--teacher": [*train(), f"--teacher={LONG}"],
    "--from-search": [*train(), f"--from-search={LONG}"],
    "--data": train(data=LONG),
    "--resume": [*train(output=LONG), "--resume"],
    "cost": ["cost", LONG],
    "cost --space": ["cost", "net.json", f"--space={LONG}"],
    "space": ["space", LONG],
    "search --space": search(space=LONG),
    "derive": ["derive", LONG],
    "derive --output": ["derive", "searched", f"--output={LONG}"],
    "derive --output in a folder": ["derive", "searched", f"--output={LONG}/x.json"],
    "evaluate": ["evaluate", LONG, "--data=digits"],
    "predict": ["predict", LONG, "x.png"],
    "predict by ONNX": ["predict", f"{LONG}.onnx", "x.png"],
    "predict a file": ["predict", "trained", LONG],
    "export": ["export", LONG, "--format=onnx", "--output=x.onnx"],
    "export --output": ["export", "trained", "--format=onnx", f"--output={LONG}"],
    "export --output in a folder": ["export", "trained", "--format=onnx", f"--output={LONG}/x.onnx"],
    "export a folder": ["export", "trained", "--format=folder", f"--output={LONG}"],
    "export --data": ["export", "trained", "--format=onnx", "--output=x.onnx", f"--data={LONG}"],
    "import": ["import", "ir_r1_k3_s2_e3_c24", f"--output={LONG}"],
    "report": ["report", LONG],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_is_too_long_for_a_file(capfd: Captured, trained: Path, search_run: Path, place: str) -> None:
    write_network()
    Path("trained").symlink_to(trained)
    Path("searched").symlink_to(search_run)
    arguments = PLACES[place]
    if place == "cost --space":
        shutil.copy(search_run / "architecture.json", "net.json")
    assert LONG[:50] in refused(capfd, *arguments)


# Runs


@pytest.mark.parametrize(
    "command",
    [["evaluate", "--data=digits"], ["predict", "x.png"], ["export", "--format=onnx", "--output=x.onnx"]],
)
def test_run_that_was_not_trained(capfd: Captured, command: list[str]) -> None:
    RunDirectory.create(Path("searched"), "search", {})
    RunDirectory.create(Path("begun"), "train", {})
    Path("empty").mkdir()
    Path("file").write_text("")
    Path("broken").mkdir()
    Path("broken/config.yaml").write_text("kind: [")
    for run in ("searched", "begun", "empty", "file", "absent", "broken"):
        assert run in refused(capfd, command[0], run, *command[1:])


def test_derive_from_what_is_no_finished_search(capfd: Captured) -> None:
    RunDirectory.create(Path("begun"), "search", {"space": "tiny", "target_macs": "0.3M"})
    RunDirectory.create(Path("trained"), "train", {})
    for run in ("begun", "trained", "absent"):
        assert run in refused(capfd, "derive", run)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training on digits."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_network()
        assert exit_code([*train(max_images="100", batch_size="50"), "--quiet=true"]) == 0
    return folder / "run"


def test_image_that_cannot_be_read_for_a_prediction(capfd: Captured, trained: Path) -> None:
    Path("bad.png").write_bytes(b"no image")
    for image in ("bad.png", "absent.png", "."):
        assert image in refused(capfd, "predict", trained, image)


def test_evaluation_on_data_with_other_classes(capfd: Captured, trained: Path) -> None:
    image_folder(Path("images"), **SOUND_IMAGES)
    assert "--data images" in refused(capfd, "evaluate", trained, "--data=images")


def test_export_to_where_nothing_can_be_written(capfd: Captured, trained: Path) -> None:
    Path("file").write_text("precious")
    for output in ("file/x.onnx", "absent/x.onnx", "/proc/x.onnx", "."):
        assert output in refused(capfd, "export", trained, "--format=onnx", f"--output={output}")
    message = refused(capfd, "export", trained, "--format=tflite", "--output=x.onnx")
    assert "--format" in message and "tflite" in message and "onnx" in message, message


@pytest.mark.parametrize("name", ["model.safetensors", "network.json", "config.json"])
def test_export_of_a_run_with_a_truncated_file(capfd: Captured, trained: Path, name: str) -> None:
    copy = Path("copy")
    copy.mkdir()
    for path in trained.iterdir():
        if path.is_file():
            content = path.read_bytes()
            (copy / path.name).write_bytes(content[: len(content) // 2] if path.name == name else content)
    assert name in refused(capfd, "export", copy, "--format=onnx", "--output=x.onnx")


# The installed command, in a process of its own


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (search(space="no-such-space"), "no-such-space"),
        (search(target_macs="abc"), "--target-macs"),
        (search(data="./absent"), "absent"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_installed_command(arguments: list[str], named: str) -> None:
    command = Path(sys.executable).parent / "fpnas"
    result = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("fpnas: error: ") and named in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(Path.cwd().iterdir()) == []
