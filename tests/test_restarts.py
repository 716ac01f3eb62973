"""Restarts: searches of several seeds in one run, and the best of them by short trainings."""

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Captured, answer, document
from finished_runs import LIGHT, copied, repeatable_metrics, search_config
from refusals import refused, tree

from fpnas.errors import UserError
from fpnas.restarts import search_with_restarts
from fpnas.restarts_config import RestartsConfig
from fpnas.runtime.callbacks import Moment
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import load_weights
from fpnas.search_result import result_figures
from fpnas.select import run_select
from fpnas.select_config import SelectConfig
from fpnas.supernet_search import run_search

SHORT = {"batch_size": 25, "epochs": 1, "warmup_epochs": 0.5, "max_images": 200}
STATE = "checkpoints/final.safetensors"
OPTIONS = ["--data=digits", "--space=tiny", "--target-macs=0.3M", "--epochs=2", "--warmup-epochs=1", "--batch-size=64"]
OPTIONS += ["--architecture-batch-size=32", "--workers=0", "--threads=1", "--device=cpu", "--quiet"]


def restarts_config(output: Path, **changed: Any) -> RestartsConfig:
    """Two searches of seconds, but for what is changed."""
    single = search_config(output, seed=3, epochs=2)
    return replace(RestartsConfig(**asdict(single), restarts=2), **changed)


def short_training(**changed: Any) -> SelectConfig:
    """What chooses; data and output are those of the searches."""
    return SelectConfig(**({"data": "", "output": Path()} | SHORT | changed))


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two restarts; not to be changed."""
    output = tmp_path_factory.mktemp("restarts") / "run"
    search_with_restarts(restarts_config(output), short_training())
    return output


def chosen(run: Path) -> Path:
    """The search whose network was taken."""
    best = json.loads((run / "selection" / "selection.json").read_text())[0]
    return run / Path(best["network"]).parent.name


def same(one: Path, other: Path) -> None:
    """AssertionError unless two runs of restarts have the same networks and records."""
    runs = ["seed-6", "seed-7", "selection/01-seed-6", "selection/02-seed-7", "."]
    for run in runs:
        assert (one / run / "network.json").read_bytes() == (other / run / "network.json").read_bytes()
        assert repeatable_metrics(one / run) == repeatable_metrics(other / run)


def test_each_search_is_the_one_of_its_seed_and_the_best_is_taken_as_select_takes_it(
    restarted: Path, tmp_path: Path
) -> None:
    networks = []
    for seed in (6, 7):
        alone = tmp_path / f"seed-{seed}"
        run_search(search_config(alone, seed=seed, epochs=2))
        networks.append(alone / "network.json")
        for name in ("network.json", "architecture.json", "split.json"):
            assert (alone / name).read_bytes() == (restarted / alone.name / name).read_bytes(), name
        one, other = (load_weights(run / STATE, "")[0] for run in (alone, restarted / alone.name))
        assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
        assert repeatable_metrics(alone) == repeatable_metrics(restarted / alone.name)
    assert networks[0].read_text() != networks[1].read_text()
    config = SelectConfig(data="digits", output=tmp_path / "selection", **(LIGHT | SHORT))
    candidates = run_select(networks, config)
    taken = json.loads((restarted / "selection" / "selection.json").read_text())
    assert [one["cross_entropy"] for one in taken] == [one.cross_entropy for one in candidates]
    assert chosen(restarted).name == Path(candidates[0].network).parent.name


def test_the_output_is_the_run_of_the_best(restarted: Path, tmp_path: Path, capfd: Captured) -> None:
    best = chosen(restarted)
    for path in best.rglob("*"):
        name = path.relative_to(best)
        left = path.is_file() and path.suffix != ".pt" and path.name != ".lock"
        assert not left or (restarted / name).read_bytes() == path.read_bytes(), name
    assert yaml.safe_load((restarted / "config.yaml").read_text())["configuration"]["seed"] in (6, 7)
    run = copied(restarted, tmp_path)
    derived = document(capfd, "derive", run, "--target-macs", "0.25M")
    assert derived["macs"] <= 250_000 and derived["network"] == str(run / "network.json")


def test_the_best_may_be_any(tmp_path: Path) -> None:
    first_is_best = set()
    for seed in range(4):
        output = tmp_path / str(seed)
        result, candidates = search_with_restarts(restarts_config(output, seed=seed), short_training())
        assert candidates[0].cross_entropy < candidates[1].cross_entropy
        figures = json.loads((chosen(output) / "result.json").read_text())
        assert figures == json.loads((output / "result.json").read_text()) == result_figures(result)
        first_is_best.add(chosen(output).name == f"seed-{2 * seed}")
    assert first_is_best == {True, False}


@pytest.mark.parametrize("moments", [1, 3, 5])
def test_an_interrupted_one_goes_on(restarted: Path, tmp_path: Path, moments: int) -> None:
    seen = 0

    def interrupt(moment: Moment) -> None:
        nonlocal seen
        seen += moment.kind == "epoch"
        if seen == moments:
            raise KeyboardInterrupt

    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        search_with_restarts(restarts_config(output), short_training(), callbacks=[interrupt])
    assert not (output / "config.yaml").exists()
    with pytest.raises(UserError, match=r"no config\.yaml"):
        RunDirectory.open(output)
    search_with_restarts(restarts_config(output, resume=True), short_training())
    same(output, restarted)


def test_more_of_them_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "run"
    search_with_restarts(restarts_config(output, seed=0), short_training())
    kept = {name: content for name, content in tree(output).items() if "/" in name and name[:5] in ("seed-", "selec")}
    kept.pop("selection/selection.json")
    first = chosen(output)
    _, candidates = search_with_restarts(restarts_config(output, seed=0, restarts=5, resume=True), short_training())
    assert len(candidates) == 5 and chosen(output) != first  # or this test shows less than it is to
    after = tree(output)
    assert {name: after[name] for name in kept} == kept
    for name in ("network.json", "result.json", "config.yaml", STATE):
        assert (output / name).read_bytes() == (chosen(output) / name).read_bytes()
    curves = [{path.name for path in run.glob("events.*")} for run in (output, chosen(output))]
    assert curves[0] == curves[1] and len(curves[0]) == 1
    # Killed while the best one so far was replaced, it is no run until it goes on.
    again = copied(output, tmp_path / "again")
    for name in ("network.json", "config.yaml"):
        shutil.copy(again / first.name / name, again / name)
    before = tree(again)

    def die(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    five = restarts_config(again, seed=0, restarts=5, resume=True)
    with monkeypatch.context() as patched:
        patched.setattr("fpnas.restarts.write_bytes_atomic", die)
        with pytest.raises(KeyboardInterrupt):
            search_with_restarts(five, short_training())
    with pytest.raises(UserError, match=r"no config\.yaml"):
        RunDirectory.open(again)
    search_with_restarts(five, short_training())
    assert (again / "network.json").read_bytes() == (output / "network.json").read_bytes() != before["network.json"]


def test_what_the_user_has_beside_the_searches_stays(restarted: Path, tmp_path: Path) -> None:
    run = copied(restarted, tmp_path)
    (run / "train").mkdir()
    (run / "train" / "notes.txt").write_text("mine")
    search_with_restarts(restarts_config(run, resume=True), short_training())
    assert (run / "train" / "notes.txt").read_text() == "mine"


def test_one_that_was_killed_while_it_made_its_first_directory_begins_anew(tmp_path: Path, restarted: Path) -> None:
    output = tmp_path / "run"
    (output / "seed-6" / "checkpoints").mkdir(parents=True)
    (output / "seed-6" / ".lock").touch()
    search_with_restarts(restarts_config(output), short_training())
    same(output, restarted)


def test_a_finished_one_keeps_what_was_derived_from_it(restarted: Path, tmp_path: Path, capfd: Captured) -> None:
    run = copied(restarted, tmp_path)
    derived = document(capfd, "derive", run, "--target-macs", "0.25M")
    before = tree(run)
    result, _ = search_with_restarts(restarts_config(run, resume=True), short_training())
    assert result.macs == derived["macs"] and math.isnan(result.supernet_top1)
    assert {name: content for name, content in tree(run).items() if "selection.json" not in name} == {
        name: content for name, content in before.items() if "selection.json" not in name
    }


def test_what_the_command_prints(tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.yaml").write_text(json.dumps(SHORT))
    options = [*OPTIONS, "--restarts=2", "--select-config", tmp_path / "short.yaml", "--output", tmp_path / "run"]
    printed = document(capfd, "search", *options)
    assert printed["candidates"] == json.loads((tmp_path / "run" / "selection" / "selection.json").read_text())
    assert printed["network"] == str(tmp_path / "run" / "network.json")
    trained = yaml.safe_load((tmp_path / "run" / "selection" / "01-seed-0" / "config.yaml").read_text())
    assert {name: trained["configuration"][name] for name in SHORT} == SHORT
    for run in ("", "seed-0", "seed-1", "selection/01-seed-0", "selection/02-seed-1"):
        assert "or interrupted:" not in (tmp_path / "run" / run / "report.html").read_text()
    shown = answer(capfd, "search", *[option for option in options if option != "--quiet"], "--resume")
    assert "best first" in shown and "seed-1" in shown and "candidates" not in shown
    assert "another configuration" in refused(capfd, "search", *options, "--resume", "--epochs=3")
    alone = [*OPTIONS, "--output", tmp_path / "run", "--resume", "--seed=5"]
    assert "another configuration" in refused(capfd, "search", *alone)
    assert "of other restarts" in refused(capfd, "search", *options, "--resume", "--seed=1")
    assert "holds another run" in refused(capfd, "search", *options)


def test_bad_restarts(tmp_path: Path, capfd: Captured, search_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sound = [*OPTIONS, "--output=out"]
    assert "--restarts 0" in refused(capfd, "search", *sound, "--restarts=0")
    assert "--restarts 1001" in refused(capfd, "search", *sound, "--restarts=1001")
    # Three from 2147483646 on would be one too many.
    message = refused(capfd, "search", *sound, "--restarts=3", "--seed=715827882")
    assert message == "--seed 715827882: from 0 to 715827881 is accepted"
    assert "--select-config own-images-select" in refused(capfd, "search", *sound, "--select-config=own-images-select")
    two = [*sound, "--restarts=2", "--select-config"]
    assert "nowhere" in refused(capfd, "search", *two, "nowhere")
    (tmp_path / "short.yaml").write_text("epoch: 3")
    assert "unknown field 'epoch'" in refused(capfd, "search", *two, "short.yaml")
    (tmp_path / "short.yaml").write_text("hold_out: 0")
    assert "--hold-out 0" in refused(capfd, "search", *two, "short.yaml")
    # Nor would these be known to the searches.
    for wrong, message in {
        "auto_augment: nonsense": "--select-config short.yaml: --auto-augment nonsense",
        "teacher: nowhere": "--select-config short.yaml: --teacher nowhere",
        "batch_size: 1000": "--select-config short.yaml: --batch-size 1000: there are 717 images",
        "precision: fp16": "--select-config short.yaml: --precision fp16",
        "max_images: 5": "--select-config short.yaml: --max-images 5",
    }.items():
        (tmp_path / "short.yaml").write_text(wrong)
        assert message in refused(capfd, "search", *two, "short.yaml")
    assert not Path("out").exists()
    assert (
        refused(capfd, "search", *OPTIONS[1:], "--data=nowhere", "--output=out", "--restarts=2")[:14]
        == "--data nowhere"
    )
    shutil.copytree(search_run, "single")
    single = [*OPTIONS, "--output=single", "--restarts=2"]
    assert "--output single: holds another run" in refused(capfd, "search", *single)
    assert "run single: is one search" in refused(capfd, "search", *single, "--resume")
    Path("mine").mkdir()
    Path("mine/space.toml").write_text("mine")
    assert "--output mine: holds other files" in refused(
        capfd, "search", *OPTIONS, "--output=mine", "--restarts=2", "--resume"
    )


def test_others_do_not_join(restarted: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copied(restarted, tmp_path)  # of seed 3

    def refusal(short: SelectConfig, **changed: Any) -> str:
        before = tree(run)
        with pytest.raises(UserError) as error:
            search_with_restarts(restarts_config(run, resume=True, **changed), short)
        assert tree(run) == before and "\n" not in str(error.value)
        return str(error.value)

    assert f"--resume: {run}/seed-6: of other restarts" in refusal(short_training(), seed=4)
    # Seeds 0 to 6 hold the first of these, but not in its place; 0 to 7 hold both.
    assert "seed-7: of other restarts" in refusal(short_training(), seed=0, restarts=7)
    assert "of other restarts" in refusal(short_training(), seed=0, restarts=8)
    message = refusal(replace(short_training(), epochs=2))
    assert "01-seed-6 has another configuration: epochs 1, now 2" in message
    assert message.endswith(f"once {run}/selection is removed, the choice begins anew")
