"""A search of digits in the tiny space: its end, its repetition, its files, what it may look at."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from enumeration import all_indices
from finished_runs import repeatable_metrics, search_config
from torch import Tensor

from fpnas.architecture import architecture_from_json
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.derivation import most_probable_within
from fpnas.derive import derive_run
from fpnas.distribution import Factorized, from_state_dict
from fpnas.errors import UserError
from fpnas.network_file import load_network
from fpnas.network_spec import resolve
from fpnas.runtime.metrics import read_metrics
from fpnas.runtime.weights import load_weights
from fpnas.space import SearchSpace
from fpnas.space_file import load_space
from fpnas.strategies import STRATEGIES, DeriveTools, StepTools, StrategySettings
from fpnas.supernet_search import run_search, search_supernet
from fpnas.training.data import DataSet, ImagesInMemory
from fpnas.training.load import load_data
from fpnas.training.supernet_trainer import SuperNetTrainer

SPACE = load_space("tiny")
STEPS = 33
TARGET = 300_000


class Recorded:
    """A strategy without any learning: two architectures a step, and a record of what it was given."""

    learns = True

    def __init__(self, space: SearchSpace, settings: StrategySettings) -> None:
        self.distribution = Factorized(space.cardinalities)
        self.settings = settings
        self.steps: list[StepTools] = []
        self.seen: list[Tensor] = []
        type(self).last = self

    def step(self, tools: StepTools) -> dict[str, float]:
        self.steps.append(tools)
        indices_2GV = self.distribution.sample(2, tools.generator)
        self.seen.append(indices_2GV)
        if not tools.warm_up:
            for figures in tools.judge(torch.cat([indices_2GV, indices_2GV])):
                assert figures.shape == (4,) and torch.equal(figures[:2], figures[2:])
        losses = tools.train_weights(indices_2GV, torch.tensor([0.5, 0.5]))
        assert losses.shape == (2,)
        return {"samples": 2, "loss": float(losses.mean()), "own_figure": 7.0}

    def derive(self, tools: DeriveTools) -> Tensor:
        self.scores = [tools.score(self.seen[0][0]) for _ in range(2)]
        return most_probable_within(self.distribution, tools.costs, tools.target).indices

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def digits() -> DataSet:
    return load_data("digits", max_images=200, parts=("train",))


def test_the_end_lies_within_the_budget_and_the_files_agree(search_run: Path) -> None:
    result = content(search_run / "result.json")
    network = load_network(search_run / "network.json")
    assert result["macs"] == network_cost(network).macs <= TARGET
    assert result["budget_share"] == result["macs"] / TARGET > 0.9
    architecture = architecture_from_json(SPACE, content(search_run / "architecture.json"), "here")
    assert network == resolve(SPACE, architecture, input_size=8, in_channels=1, num_classes=10)
    assert result["converged"] == (result["entropy_nats"] < 8)
    assert result["supernet_top1"] > 50


def test_the_result_is_the_most_probable_by_enumeration(search_run: Path) -> None:
    tensors, about = load_weights(search_run / "checkpoints" / "final.safetensors", "search state")
    distribution = from_state_dict(
        {
            "kind": about["distribution"],
            "cardinalities": SPACE.cardinalities,
            "logits": tensors["distribution.logits"],
        }
    )
    indices_NGV = all_indices(SPACE.cardinalities)
    fits = build_cost_table(SPACE, input_size=8).cost(indices_NGV) <= TARGET
    with torch.no_grad():
        best = distribution.log_prob(indices_NGV[fits]).max().item()
    result = content(search_run / "result.json")
    assert result["log_probability"] == pytest.approx(best, abs=1e-9)
    assert result["entropy_nats"] == pytest.approx(distribution.entropy().item(), abs=1e-9)


def test_the_record_has_every_step_and_epoch(search_run: Path) -> None:
    records = read_metrics(search_run / "metrics.jsonl")
    steps = [record for record in records if "epoch" not in record]
    epochs = [record for record in records if "epoch" in record]
    assert [record["step"] for record in steps] == list(range(STEPS))
    assert [(record["step"], record["epoch"]) for record in epochs] == [(10, 1), (21, 2), (32, 3)]
    result = content(search_run / "result.json")
    assert result["samples"] == sum(record["samples"] for record in steps) == epochs[-1]["samples_so_far"]
    assert result["backward_passes"] == STEPS
    # Of the samples of a step those that differ are evaluated; none in the first epoch.
    assert 22 <= result["forward_passes"] <= result["samples"] - 11
    assert all(0.95 * TARGET <= record["sampled_cost"] <= TARGET for record in steps)
    assert steps[-1]["entropy_nats"] < steps[11]["entropy_nats"]
    assert epochs[-1]["entropy_nats"] == result["entropy_nats"]


def test_the_same_seed_repeats_the_search(search_run: Path, tmp_path: Path) -> None:
    torch.manual_seed(12345)
    run_search(search_config(tmp_path / "again"))
    for name in ("architecture.json", "network.json", "split.json"):
        assert (search_run / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert repeatable_metrics(search_run) == repeatable_metrics(tmp_path / "again")
    states = [
        load_weights(run / "checkpoints" / "final.safetensors", "")[0] for run in (search_run, tmp_path / "again")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_another_seed_is_another_search() -> None:
    data = digits()
    results = [
        search_supernet(SPACE, data, search_config(Path("unused"), seed=seed, epochs=2, batch_size=32))
        for seed in (0, 1)
    ]
    assert results[0].supernet_top1 != results[1].supernet_top1


def test_the_halves_are_disjoint_and_balanced(search_run: Path) -> None:
    split = content(search_run / "split.json")
    first, second = split["weight_half"], split["architecture_half"]
    assert sorted(first + second) == list(range(1433))
    labels = load_data("digits").train.labels
    counts = [labels[torch.tensor(half)].bincount() for half in (first, second)]
    assert (counts[0] - counts[1]).abs().max() <= 1


class Watched(ImagesInMemory):
    """Images that record which of them are looked at."""

    def __init__(self, source: ImagesInMemory) -> None:
        super().__init__(source.images, source.labels)
        self.looked_at: set[int] = set()

    def batch(self, indices: Tensor) -> Tensor:
        self.looked_at |= set(indices.tolist())
        return super().batch(indices)


def test_test_images_are_never_looked_at() -> None:
    data = load_data("digits", max_images=200)
    watched = Watched(data.test)
    config = search_config(Path("unused"), epochs=2, batch_size=32)
    without, with_test = (search_supernet(SPACE, replace(data, test=test), config) for test in (None, watched))
    assert not watched.looked_at
    assert replace(without, seconds=0) == replace(with_test, seconds=0)


def test_nothing_is_written_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = search_supernet(SPACE, digits(), search_config(Path("run"), epochs=2, batch_size=32))
    assert result.macs <= TARGET
    assert list(tmp_path.iterdir()) == []


def test_budget_below_the_smallest_network_names_it(tmp_path: Path) -> None:
    smallest = int(build_cost_table(SPACE, input_size=8).cost(all_indices(SPACE.cardinalities)).min())
    with pytest.raises(UserError) as error:
        run_search(search_config(tmp_path / "run", target_macs=str(smallest - 1)))
    message = str(error.value)
    assert "--target-macs" in message and str(smallest) in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_budget_is_met(tmp_path: Path) -> None:
    costs = build_cost_table(SPACE, input_size=8).cost(all_indices(SPACE.cardinalities))
    config = search_config(tmp_path / "run", target_macs=str(int(costs.min())), epochs=2, batch_size=32)
    assert search_supernet(SPACE, digits(), config).macs == int(costs.min())


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 10_000},
        {"architecture_batch_size": 10_000},
        {"image_size": 3},
        {"strategy": "none"},
        {"epochs": 0},
        {"epochs": 3, "warmup_epochs": 3},
        {"data": "absent"},
        {"space": "absent"},
        {"budget": "none"},
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        run_search(search_config(tmp_path / "run", **changed))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_any_strategy_runs_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "recorded", Recorded)
    config = search_config(tmp_path / "run", strategy="recorded", max_images=200, batch_size=25, warmup_epochs=1)
    result = run_search(config)
    strategy = Recorded.last
    assert [tools.progress for tools in strategy.steps] == [step / 12 for step in range(12)]
    assert [tools.warm_up for tools in strategy.steps] == [True] * 4 + [False] * 8
    assert {tools.target for tools in strategy.steps} == {TARGET}
    costs = build_cost_table(SPACE, input_size=8)
    assert all(
        torch.equal(tools.costs.cost(seen), costs.cost(seen))
        for tools, seen in zip(strategy.steps, strategy.seen, strict=True)
    )
    distinct = [len(seen.unique(dim=0)) for seen in strategy.seen]
    assert result.samples == 24
    assert (result.backward_passes, result.forward_passes) == (sum(distinct), sum(distinct[4:]))
    records = [record for record in read_metrics(tmp_path / "run" / "metrics.jsonl") if "epoch" not in record]
    assert [record["own_figure"] for record in records] == [7.0] * 12
    assert strategy.settings == StrategySettings(learning_steps=8)
    first, second = strategy.scores
    assert first == second and 0 < first <= 100
    # The distribution is uniform still, and of equally probable architectures the cheapest is taken.
    assert result.macs == costs.minimum()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_searches_real_images(tmp_path: Path, strategy: str) -> None:
    config = search_config(tmp_path / "run", strategy=strategy, epochs=3, warmup_epochs=1, max_images=300)
    result = run_search(config)
    assert result.macs <= TARGET and math.isfinite(result.supernet_top1)
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert all(math.isfinite(line["loss"]) for line in lines if "loss" in line)
    assert content(tmp_path / "run" / "network.json")["blocks"]
    if strategy in ("random", "evolution"):
        assert result.converged and result.macs >= 0.95 * TARGET
        with pytest.raises(UserError, match=f"strategy {strategy} learns no distribution"):
            derive_run(tmp_path / "run", target_macs="200k", output=tmp_path / "net.json")
        # What it found for its own budget is known.
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.json")}
        for budget in (None, f"{TARGET / 1e6}M"):
            found = derive_run(tmp_path / "run", target_macs=budget)
            assert (found.macs, found.log_probability) == (result.macs, result.log_probability)
            assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.json")} == before
    else:
        assert derive_run(tmp_path / "run", target_macs="200k", output=tmp_path / "net.json").macs <= 200_000


def test_each_step_has_its_own_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "recorded", Recorded)
    config = search_config(tmp_path, strategy="recorded", epochs=2, batch_size=25)
    draws = []
    for _ in range(2):
        search_supernet(SPACE, digits(), config)
        draws.append(torch.stack(Recorded.last.seen))
    assert torch.equal(*draws) and len(draws[0].unique(dim=0)) > 6


def test_a_loss_that_is_not_finite_stops_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Recorded):
        def step(self, tools: StepTools) -> dict[str, float]:
            return super().step(tools) | {"loss": math.nan if len(self.steps) == 3 else 1.0}

    monkeypatch.setitem(STRATEGIES, "broken", Broken)
    config = search_config(tmp_path, strategy="broken", epochs=2, batch_size=25)
    with pytest.raises(FloatingPointError, match="step 2"):
        search_supernet(SPACE, digits(), config)


def test_half_that_leaves_a_batch_of_one_image_on_maps_of_one_pixel() -> None:
    data = load_data("digits", max_images=514, image_size=4, parts=("train",))
    config = search_config(Path("unused"), target_macs="60k", epochs=1, warmup_epochs=0, batch_size=128)
    assert search_supernet(SPACE, data, config).macs <= 60_000


def test_shortcuts_fade_in_the_warm_up_and_are_gone_when_the_distribution_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    train_weights = SuperNetTrainer.train_weights

    def watched(trainer: SuperNetTrainer, *arguments: Any) -> Tensor:
        seen.append(trainer.supernet.shortcut)
        return train_weights(trainer, *arguments)

    monkeypatch.setattr(SuperNetTrainer, "train_weights", watched)
    search_supernet(SPACE, digits(), search_config(tmp_path / "run", epochs=6, warmup_epochs=4))
    assert seen == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(
    ("strategy", "epochs", "warmup_epochs"),
    [("fp-nas", 20, 12), ("fp-nas", 2, 1), ("fp-nas", 1, 0), ("parsec", 21, 3), ("tunas", 20, 5), ("random", 20, 8)],
)
def test_the_warm_up_is_that_of_the_strategy(tmp_path: Path, strategy: str, epochs: int, warmup_epochs: int) -> None:
    config = search_config(tmp_path, strategy=strategy, epochs=epochs, warmup_epochs=None)
    assert config.scheduled(steps_per_epoch=10).warmup_epochs == warmup_epochs


def test_spaces_that_cannot_be_searched_are_refused_before_any_image_is_loaded(tmp_path: Path) -> None:
    single = tuple(
        replace(group, choices=tuple(replace(choice, values=choice.values[-1:]) for choice in group.choices))
        for group in SPACE.groups
    )
    other_head = replace(SPACE, head=replace(SPACE.head, kind="ir_pool"))
    for space, told in ((replace(SPACE, groups=single), "one architecture"), (other_head, "ir_pool: conv is accepted")):
        with pytest.raises(UserError, match=told):
            run_search(search_config(tmp_path / "run", data="no such data"), space=space)


def test_a_space_of_two_architectures_is_searched_until_it_has_settled(tmp_path: Path) -> None:
    first, *rest = SPACE.groups
    widths = [choice.values for choice in first.choices if choice.name == "channels"]
    assert len(widths[0]) > 1
    groups = [
        replace(
            group,
            choices=tuple(
                replace(
                    choice,
                    values=choice.values[:2] if group is first and choice.name == "channels" else choice.values[-1:],
                )
                for choice in group.choices
            ),
        )
        for group in (first, *rest)
    ]
    space = replace(SPACE, groups=tuple(groups))
    assert space.number_of_architectures == 2
    result = run_search(search_config(tmp_path / "run", target_macs="3M", epochs=5), space=space)
    assert result.converged and result.entropy_nats < math.log(2) / 2
