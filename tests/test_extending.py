"""The guide to extending fpnas is run: its files, commands, messages and Python are what a reader gets."""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from documents import ROOT, blocks_of, fits, run_blocks
from own_names import tables_as_before
from sampled import uniform_indices
from torch import Tensor, nn

from fpnas.architecture import Architecture
from fpnas.budget_sampling import CANDIDATES, MOST_ROUNDS
from fpnas.cli import main
from fpnas.cli_parser import CommandParser
from fpnas.commands import COMMANDS
from fpnas.cost.base import Cost
from fpnas.cost.table import build_cost_table
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.network import ConvNorm, build_network
from fpnas.search_config import SearchConfig
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space
from fpnas.strategies import DeriveTools, Judgement, StepTools
from fpnas.supernet_search import build_strategy

DOCUMENT = ROOT / "docs" / "extending.md"

BLOCKS = blocks_of(DOCUMENT.read_text(encoding="utf-8"))


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the document's Python defines; strategies and activations are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    with tables_as_before():
        yield run_blocks(BLOCKS, str(DOCUMENT))


def test_every_block_is_found_and_of_a_kind_that_is_checked() -> None:
    kinds = Counter(block.kind for block in BLOCKS)
    assert set(kinds) == {"toml", "console", "python", "text"}
    assert 2 * len(BLOCKS) == DOCUMENT.read_text(encoding="utf-8").count("```")
    assert kinds["toml"] >= 8 and kinds["console"] >= 10 and kinds["python"] >= 6
    refused = [line for b in BLOCKS if b.kind == "console" for line in b.text.splitlines() if "error" in line]
    assert len(refused) >= 8 and len(set(refused)) == len(refused)
    assert all(block.note == "output" or block.text.startswith("fpnas ") for block in BLOCKS if block.kind == "text")


def test_the_document_is_what_a_reader_gets(names: dict[str, Any]) -> None:
    assert names["space"] == load_space("my.toml")


def test_the_candidates_of_a_step_are_as_many_as_it_says() -> None:
    assert f"up to {CANDIDATES * MOST_ROUNDS:,} candidates" in " ".join(DOCUMENT.read_text(encoding="utf-8").split())


def messages() -> list[tuple[int, int]]:
    """Where the messages stand: number of the block, and of the line in it."""
    return [
        (number, line)
        for number, block in enumerate(BLOCKS)
        if block.kind == "console"
        for line, text in enumerate(block.text.splitlines())
        if text.startswith("fpnas: error: ")
    ]


@pytest.mark.parametrize(("number", "line"), messages())
def test_a_message_that_differs_by_one_character_is_found(
    number: int, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [block for block in BLOCKS[:number] if block.kind == "toml"]  # what makes the file as it is by then
    block = BLOCKS[number]
    lines = block.text.splitlines()
    run_blocks([*before, block], str(DOCUMENT))
    for broken in (lines[line][:-1], lines[line] + ".", lines[line].replace("a", "b", 1)):
        text = "\n".join([*lines[:line], broken, *lines[line + 1 :]]) + "\n"
        with pytest.raises(AssertionError):
            run_blocks([*before, block._replace(text=text)], str(DOCUMENT))


@pytest.mark.parametrize(
    ("actual", "expected", "is_fit"),
    [
        ("a b c", "a b c", True),
        ("a b c", "a ... c", True),
        ("a c", "a ... c", True),
        ("a b c", "... c", True),
        ("a b c", "a ...", True),
        ("a b c", "a b", False),
        ("a b", "a b c", False),
        ("a b c", "... b", False),
        ("", "...", True),
    ],
)
def test_dots_stand_for_any_lines(actual: str, expected: str, is_fit: bool) -> None:
    assert fits(actual.split(), expected.split()) is is_fit


def test_the_commands_that_are_not_run_have_options_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        shlex.split(line)[1:]
        for block in BLOCKS
        if block.kind == "text" and block.note != "output"
        for line in block.text.splitlines()
    ]
    assert [arguments[0] for arguments in commands] == ["search", "train", "derive"]
    for name, *arguments in commands:
        parser = CommandParser(name)
        COMMANDS[name].add_arguments(parser)
        parser.parse(arguments)
    assert main([*commands[0], "--print_config"]) == 0
    assert "space: my.toml\n" in capsys.readouterr().out


def written_by_the_built_network(spec: NetworkSpec) -> int:
    """Bytes of the outputs of all convolutions that a batch norm follows, for one image."""
    written = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal written
        written += output.nbytes

    network = build_network(spec).eval()
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.conv.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size))
    return written


def test_the_example_cost_is_what_built_networks_write(names: dict[str, Any]) -> None:
    cost: Cost = names["WRITTEN"]
    for indices in uniform_indices(names["space"], 20):
        spec = resolve(names["space"], Architecture.of(indices))
        assert cost(spec) == written_by_the_built_network(spec)


@pytest.mark.parametrize("name", ["fbnetv2-f", "tiny"])
def test_the_example_cost_is_the_same_by_arrays_and_one_by_one(names: dict[str, Any], name: str) -> None:
    assert name in builtin_space_names()
    by_arrays, space = names["WRITTEN"], load_space(name)
    one_by_one = Cost("written", "bytes", by_arrays.stem, by_arrays.block, by_arrays.head)
    tables = [build_cost_table(space, cost=cost) for cost in (by_arrays, one_by_one)]
    assert all((a == b).all() for a, b in zip(tables[0].table, tables[1].table, strict=True))


def test_the_measured_blocks_of_the_example_occur_in_the_space(names: dict[str, Any]) -> None:
    looked_up: set[tuple[int, ...]] = set()

    class Recorded(dict[tuple[int, ...], int]):
        def get(self, key: Any, default: Any = None) -> Any:
            if key in self:
                looked_up.add(key)
            return super().get(key, default)

    measured = names["MEASURED_NS"]
    names["MEASURED_NS"] = Recorded(measured)
    build_cost_table(names["space"], cost=names["LATENCY"])
    assert looked_up == set(measured)


def test_the_example_strategy_is_built_and_steps_as_the_loop_asks(names: dict[str, Any]) -> None:
    space = names["space"]
    config = SearchConfig(data="digits", space="my.toml", target_macs="1M", output=Path("run"), strategy="uniform")
    strategy = build_strategy(space, config, 100)
    seen: list[Tensor] = []

    def train_weights(indices: Tensor, weight: Tensor) -> Tensor:
        seen.append(indices)
        return 2.0 * weight

    figures = strategy.step(
        StepTools(
            progress=0.0,
            warm_up=False,
            generator=torch.Generator().manual_seed(0),
            costs=build_cost_table(space),
            target=config.target(),
            judge=lambda indices: Judgement(torch.zeros(len(indices)), torch.zeros(len(indices))),
            train_weights=train_weights,
            mixture_cross_entropy=lambda gates: torch.zeros(()),
            train_mixture=lambda gates: torch.zeros(()),
        )
    )
    assert figures == {"samples": 1, "loss": 2.0}
    assert seen[0].shape == (1, len(space.groups), 5)
    costs = build_cost_table(space)
    found = strategy.derive(
        DeriveTools(torch.Generator().manual_seed(0), costs, config.target(), lambda indices: float(indices.sum()))
    )
    assert costs.cost(found[None]).item() <= config.target()
