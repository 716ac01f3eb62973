"""The package in Python: its few names, a search by keywords, a budget of one's own, networks as modules."""

import functools
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import search_config
from test_resume import Killed, assert_equal_runs, killed_after

import fpnas
from fpnas.cost import COSTS, Cost
from fpnas.cost.table import build_cost_table
from fpnas.derive import derive_run, distribution_of
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import BlockSpec
from fpnas.report.page import write_report
from fpnas.runtime.metrics import read_metrics
from fpnas.strategies import STRATEGIES, tunas
from fpnas.supernet_search import run_search
from fpnas.train import origin_of
from fpnas.training.data import DataSet, ImagesInMemory, data_set
from fpnas.training.load import load_data

SMALL: dict[str, Any] = {"max_images": 200, "batch_size": 25, "epochs": 3, "warmup_epochs": 1}
HERE: dict[str, Any] = {"workers": 0, "threads": 1, "device": "cpu", "quiet": True, "architecture_batch_size": 32}
QUICK = SMALL | HERE


def params(network: Any) -> int:
    return sum(parameter.numel() for parameter in fpnas.build(network).parameters())


def test_every_name_is_there_and_says_what_it_is() -> None:
    for name in fpnas.__all__:
        assert getattr(fpnas, name) is getattr(fpnas, name) and name in dir(fpnas)
        assert name == "__version__" or (getattr(fpnas, name).__doc__ and f"`{name}" in str(fpnas.__doc__)), name
        # A module of that name would take the place of what it stands for as soon as it is imported.
        assert importlib.util.find_spec(f"fpnas.{name}") is None, name
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = fpnas.serach  # type: ignore[attr-defined]


def test_what_needs_no_torch_takes_no_time() -> None:
    code = (
        "import sys, fpnas; fpnas.load_space('tiny'), fpnas.Cost, fpnas.UserError; "
        "print([name for name in ('torch', 'numpy', 'timm') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_by_keywords_as_by_configuration(search_run: Path, tmp_path: Path) -> None:
    config = search_config(tmp_path / "run")
    settings = {"epochs": 3, "warmup_epochs": 1, "batch_size": 64} | HERE
    result = fpnas.search("tiny", "digits", target_macs=0.3e6, output=str(tmp_path / "run"), **settings)
    assert_equal_runs(search_run, tmp_path / "run")
    assert replace(run_search(replace(config, resume=True, target_macs="300000.0")), seconds=0) == replace(
        result, seconds=0
    )


def test_by_name_or_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_data("digits", max_images=200, parts=("train",))
    by_name = fpnas.search("tiny", "digits", target_macs="0.3M", **QUICK)
    settings = {name: value for name, value in QUICK.items() if name != "max_images"}
    by_itself = fpnas.search(fpnas.load_space("tiny"), data, target_macs=300_000, **settings)
    assert replace(by_name, seconds=0) == replace(by_itself, seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_multiply_adds_are_a_cost_like_others() -> None:
    expected = fpnas.search("tiny", "digits", target_macs="0.3M", **QUICK)
    for cost in ("macs", fpnas.cost.MACS):
        found = fpnas.search("tiny", "digits", cost=cost, target="0.3M", **QUICK)
        assert replace(found, seconds=0) == replace(expected, seconds=0)


@pytest.fixture(scope="module")
def within_params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search within 20,000 parameters."""
    output = tmp_path_factory.mktemp("params") / "run"
    fpnas.search("tiny", "digits", cost="params", target="20k", output=output, **QUICK)
    return output


def test_a_budget_in_parameters(within_params: Path) -> None:
    result = json.loads((within_params / "result.json").read_text())
    found = params(within_params / "network.json")
    assert found <= 20_000 and result["budget_share"] == found / 20_000
    records = read_metrics(within_params / "metrics.jsonl")
    assert all(0.95 * 20_000 <= record["sampled_cost"] <= 20_000 for record in records if "epoch" not in record)
    last = records[-1]
    distribution = distribution_of(within_params)
    tables = {
        name: build_cost_table(fpnas.load_space("tiny"), cost=COSTS[cost], input_size=8)
        for name, cost in (("macs", "macs"), ("cost", "params"))
    }
    for name, table in tables.items():
        assert last[f"mode_{name}"] == table.cost(distribution.mode()[None]).item()
        assert last[f"expected_{name}"] == pytest.approx(table.expected(distribution))


def test_a_run_with_another_cost_says_so(within_params: Path, tmp_path: Path, capfd: Any) -> None:
    assert "cost: params\n" in (within_params / "config.yaml").read_text()
    network = load_network(within_params / "network.json")
    assert "M multiply-adds at 8 pixels" in origin_of(within_params / "network.json", network)
    write_report([within_params], tmp_path / "report.html")
    assert "fpnas.search(..., cost=params, target=20000)" in (tmp_path / "report.html").read_text()
    with pytest.raises(fpnas.UserError, match="its budget is 20000 of cost params; --target-macs"):
        derive_run(within_params)
    derived = derive_run(within_params, target_macs="100k", output=tmp_path / "net.json")
    assert derived.macs <= 100_000


def latency(**measured_ns: int) -> Cost:
    """Nanoseconds by a table of kernels."""

    def block_ns(block: BlockSpec) -> int:
        return measured_ns[f"kernel{block.kernel}"] * block.out_size

    return Cost("latency", "ns", stem=lambda spec: 900, block=block_ns, head=lambda spec: 500)


def test_a_cost_of_one_s_own_goes_on_as_it_began(tmp_path: Path) -> None:
    cost = latency(kernel0=10, kernel3=100, kernel5=180)
    space = fpnas.load_space("tiny")
    target = (build_cost_table(space, cost=cost, input_size=8).maximum() * 2) // 3
    search = functools.partial(fpnas.search, space, "digits", target=target, checkpoint_every=0.0, **QUICK)
    whole = search(cost=cost, output=tmp_path / "whole")
    assert 0.9 * target < cost(whole.network) <= target and whole.budget_share == cost(whole.network) / target
    with pytest.MonkeyPatch.context() as patch:
        killed_after(6, patch)
        with pytest.raises(Killed):
            search(cost=cost, output=tmp_path / "parts")
    other = latency(kernel0=10, kernel3=100, kernel5=181)
    with pytest.raises(fpnas.UserError, match=r"cost latency: not what .*parts began with"):
        search(cost=other, output=tmp_path / "parts", resume=True)
    search(cost=cost, output=tmp_path / "parts", resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_strategy_of_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "mine", tunas.build)
    mine = fpnas.search("tiny", "digits", target_macs="0.3M", strategy="mine", **QUICK)
    assert replace(mine, seconds=0) == replace(
        fpnas.search("tiny", "digits", target_macs="0.3M", strategy="tunas", **QUICK), seconds=0
    )


BYTES = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)


def data_of(images: torch.Tensor, labels: Any = (0, 1, 0, 1)) -> DataSet:
    """A data set of one's own, of two classes, said to have grey images of eight pixels."""
    source = ImagesInMemory(images, torch.as_tensor(labels))
    return data_set("mine", ("cat", "dog"), 1, 8, train=source, test=None)


WITHOUT_IMAGES = replace(load_data("digits", max_images=20), train=None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target_macs": None}, "a budget is needed"),
        ({"target_macs": None, "target": 5}, "a budget is needed"),
        ({"target": 5}, "a budget is needed: target_macs, or cost and target"),
        ({"cost": "params"}, "cost and target belong together"),
        ({"cost": "params", "target": "20k"}, "and to no target_macs"),
        ({"cost": "time", "target": "20k", "target_macs": None}, "cost = 'time': one of macs, weights, params"),
        ({"cost": "params", "target": "10", "target_macs": None}, "target 10: the smallest network"),
        ({"cost": "params", "target": "ten", "target_macs": None}, "target ten: a positive number"),
        ({"target_macs": "big"}, "--target-macs big: a positive number"),
        ({"target_macs": 100}, "--target-macs 100: the smallest network"),
        ({"epoch": 3}, "setting 'epoch': unknown; accepted are strategy, seed, epochs"),
        ({"epochs": "3"}, "epochs = '3': a value of type int or None"),
        ({"epochs": True}, "epochs = True"),
        ({"epochs": 0}, "--epochs 0"),
        ({"learning_rate": None}, "learning_rate = None: a value of type float"),
        ({"strategy": "magic"}, "--strategy magic"),
        ({"space": "nowhere"}, "space 'nowhere'"),
        ({"space": 7}, "space 7: a space, its name"),
        ({"data": "nowhere"}, "--data nowhere"),
        ({"data": None}, "data None: a data set"),
        ({"data": WITHOUT_IMAGES}, "data digits: it has no training images"),
        (
            {"data": replace(WITHOUT_IMAGES, train=WITHOUT_IMAGES.test)},
            "max_images: the images of data digits are loaded",
        ),
        (
            {"data": data_of(torch.zeros(4, 1, 8, 16))},
            "data mine: images of float32, shape (1, 8, 16); uint8, shape (1, 8, 8) is accepted",
        ),
        ({"data": data_of(torch.zeros(4, 1, 8, 8))}, "data mine: images of float32"),
        ({"data": data_of(BYTES.expand(4, 3, 8, 8))}, "data mine: images of uint8, shape (3, 8, 8); uint8, shape (1,"),
        ({"data": data_of(BYTES, [0, 1, 2, 0])}, "data mine: labels of int64, 0 to 2; int64, 0 to 1 are accepted"),
        ({"data": data_of(BYTES, [0, 1, -1, 0])}, "data mine: labels of int64, -1 to 1"),
        ({"data": data_of(BYTES, torch.zeros(4, dtype=torch.int32))}, "data mine: labels of int32"),
        ({"data": data_of(BYTES[:0], torch.zeros(0, dtype=torch.int64))}, "data mine: it has no training images"),
        ({"callbacks": print}, "callbacks = "),
        ({"callbacks": [7]}, "callbacks = [7]"),
        ({"resume": True}, "an output is needed"),
        ({"output": "taken"}, "--output taken: is a file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    changed: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    arguments = {"space": "tiny", "data": "digits", "target_macs": "0.3M"} | QUICK | changed
    with pytest.raises(fpnas.UserError) as error:
        fpnas.search(arguments.pop("space"), arguments.pop("data"), **arguments)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_network_of_any_origin_is_built(tmp_path: Path) -> None:
    spec = fpnas.build("fbnetv2-f1").spec
    (tmp_path / "net.json").write_text(json.dumps(network_to_json(spec)))
    networks = [
        fpnas.build(origin) for origin in ("fbnetv2-f1", spec, tmp_path / "net.json", str(tmp_path / "net.json"))
    ]
    weights = [network.state_dict() for network in networks]
    for other in weights[1:]:
        assert all(torch.equal(value, other[name]) for name, value in weights[0].items())
    assert networks[0].training
    small = fpnas.build(spec, num_classes=5, in_channels=1)
    assert small(torch.zeros(2, 1, 64, 64)).shape == (2, 5)


def test_who_loads_or_searches_keeps_their_random_numbers(train_run: Path) -> None:
    state = torch.random.get_rng_state()
    fpnas.load(train_run)
    fpnas.search("tiny", "digits", target_macs="0.3M", epochs=2, max_images=200, batch_size=50, quiet=True)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_are_those_of_the_seed_and_nobody_else_s() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first, again, other = (fpnas.build("fbnetv2-f1", seed=seed).classifier.weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        ("nowhere", {}, "network 'nowhere': no such file; a file or one of fbnetv2-f1"),
        ("nowhere.json", {}, "nowhere.json"),
        (7, {}, "network 7: a spec, a network file or a built-in network's name"),
        ("fbnetv2-f1", {"num_classes": 1}, "num_classes = 1"),
        ("fbnetv2-f1", {"in_channels": "3"}, "in_channels = '3'"),
        ("fbnetv2-f1", {"seed": -1}, "seed = -1"),
    ],
)
def test_what_cannot_be_built_is_refused(network: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(fpnas.UserError) as error:
        fpnas.build(network, **options)
    assert said in str(error.value) and "\n" not in str(error.value)
