"""Every figure that the paper prints about its spaces, and what its tables give, from the files of the package."""

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from sampled import uniform_indices

from fpnas.architecture import Architecture
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.sampling import AdaptiveSamples
from fpnas.space import SearchSpace
from fpnas.space_file import load_space
from fpnas.space_summary import describe_space

DOCS = Path(__file__).parents[1] / "docs"


class Figures(NamedTuple):
    """What the tables give; `median_macs` of uniform samples, within a hundredth."""

    blocks: int
    architectures: str
    entropy_nats: float
    initial_samples: int
    median_macs: float
    input_size: int


# FP-NAS (CVPR 2021), Tables 1 and 2; the rows of the L spaces are a reconstruction of this project.
GIVEN = {
    "fbnetv2-f": Figures(17, "2.70e+24", 56.25, 14, 33.9e6, 128),
    "fbnetv2-f-fine": Figures(17, "5.84e+42", 98.47, 24, 34.9e6, 128),
    "fbnetv2-fpp": Figures(17, "2.76e+27", 63.19, 15, 38e6, 128),
    "fp-nas-l0": Figures(27, "2.21e+32", 74.5, 18, 0.390e9, 224),
    "fp-nas-l1": Figures(32, "1.05e+36", 82.9, 20, 0.890e9, 240),
    "fp-nas-l2": Figures(32, "1.05e+36", 82.9, 20, 1.090e9, 256),
}

# What the paper prints, to its own number of digits: blocks, architectures, median multiply-adds in billions.
PRINTED_L = {
    "fp-nas-l0": (27, "2e+32", "0.39"),
    "fp-nas-l1": (32, "1e+36", "0.9"),
    "fp-nas-l2": (32, "1e+36", "1.1"),
}


def median_macs(space: SearchSpace) -> float:
    return float(build_cost_table(space).cost(uniform_indices(space, 100_000)).double().median())


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_the_tables_give(name: str) -> None:
    space, given = load_space(name), GIVEN[name]
    assert (space.number_of_blocks, space.input_size) == (given.blocks, given.input_size)
    assert f"{space.number_of_architectures:.2e}" == given.architectures
    digits = len(str(given.entropy_nats).partition(".")[2])
    assert round(Factorized(space.cardinalities).entropy().item(), digits) == given.entropy_nats
    assert math.floor(space.entropy_nats / 4) == AdaptiveSamples()(space.entropy_nats) == given.initial_samples
    assert median_macs(space) == pytest.approx(given.median_macs, rel=0.01)


@pytest.mark.parametrize("name", sorted(PRINTED_L))
def test_what_the_paper_prints_of_the_large_spaces(name: str) -> None:
    blocks, architectures, median = PRINTED_L[name]
    space = load_space(name)
    assert space.number_of_blocks == blocks
    assert f"{space.number_of_architectures:.0e}" == architectures
    decimals = len(median.partition(".")[2])
    assert f"{median_macs(space) / 1e9:.{decimals}f}" == median


def test_what_the_paper_prints_of_f_and_fpp() -> None:
    f, fpp, fine = (load_space(name) for name in ("fbnetv2-f", "fbnetv2-fpp", "fbnetv2-f-fine"))
    assert AdaptiveSamples()(f.entropy_nats) == 14
    assert round(math.log10(fpp.number_of_architectures / f.number_of_architectures)) == 3
    assert round(median_macs(fpp) / 1e6) == 38
    assert len(fine.groups) == 17 and max(math.prod(group.cardinalities) for group in fine.groups) == 720


def test_the_two_sizes_that_no_reading_explains_are_in_the_docs() -> None:
    """The paper prints 6e25 and 1e45."""
    text = (DOCS / "paper-map.md").read_text()
    for name, printed in (("fbnetv2-f", 6e25), ("fbnetv2-f-fine", 1e45)):
        size = load_space(name).number_of_architectures
        for figure in (f"{size:.2e}".replace("+", ""), f"{printed:.0e}".replace("+", ""), f"{printed / size:.0f}"):
            assert figure in text


@pytest.mark.parametrize(("name", "least", "most"), [("fbnetv2-f", 0.001, 0.01), ("fbnetv2-fpp", 0.015, 0.06)])
@pytest.mark.parametrize(("target", "input_size"), [(60, 128), (90, 160), (130, 192), (250, 256)])
def test_the_paper_s_targets_lie_at_the_top_of_their_spaces(
    name: str, least: float, most: float, target: int, input_size: int
) -> None:
    document = describe_space(load_space(name), input_size=input_size, target=target * 10**6)
    assert least <= 1 - document["target"]["share_at_most"] <= most


def _with_splits(spec: NetworkSpec, splits: int) -> NetworkSpec:
    return replace(spec, blocks=tuple(replace(block, splits=splits if block.splits else 0) for block in spec.blocks))


def _growth(spec: NetworkSpec, splits: int) -> int:
    """Multiply-adds that replacing squeeze-excite everywhere by split attention adds."""
    return network_cost(_with_splits(spec, splits)).macs - network_cost(spec).macs


# Table 7: multiply-adds in millions, input size, and what 2 and 4 splits add to them.
TABLE_7 = [(58, 128, 7, 21), (88, 160, 11, 32), (240, 256, 22, 67)]


@pytest.mark.parametrize(("macs", "input_size", "two_splits", "four_splits"), TABLE_7)
def test_table_7_growth_with_the_number_of_splits(
    macs: int, input_size: int, two_splits: int, four_splits: int
) -> None:
    space = load_space("fbnetv2-f")
    indices_KGV = uniform_indices(space, 400_000)
    indices_KGV[:, :, 2] = 1  # squeeze-excite everywhere
    costs = build_cost_table(space, input_size=input_size).cost(indices_KGV)
    alike = indices_KGV[(costs - macs * 10**6).abs() < 0.01 * macs * 10**6][:200]
    assert len(alike) == 200
    growth = []
    for row in alike:
        spec = resolve(space, Architecture.of(row), input_size=input_size)
        two, three, four = (_growth(spec, splits) for splits in (2, 3, 4))
        assert (three, four) == (2 * two, 3 * two)
        growth.append(two / 1e6)
    # The paper prints one network of each cost. Ours of that cost surround it.
    growth.sort()
    assert growth[len(growth) // 20] < two_splits < growth[-len(growth) // 20]
    assert growth[len(growth) // 20] < four_splits / 3 < growth[-len(growth) // 20]
    if input_size < 200:
        mean = sum(growth) / len(growth)
        assert mean == pytest.approx(two_splits, rel=0.15) and 3 * mean == pytest.approx(four_splits, rel=0.15)
