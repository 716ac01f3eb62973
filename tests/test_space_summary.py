"""Figures of spaces against enumeration, and what is said of a target before a search."""

import numpy as np
import pytest

from fpnas.architecture import all_architectures
from fpnas.cost import network_cost
from fpnas.cost.table import build_cost_table
from fpnas.distribution import Factorized, Joint
from fpnas.errors import UserError
from fpnas.network_spec import resolve
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space
from fpnas.space_summary import describe_space, summarise_space, uniform_costs

DATA = {"input_size": 9, "in_channels": 3, "num_classes": 7}


@pytest.fixture(scope="module")
def every_cost() -> np.ndarray:
    """Multiply-adds of every architecture of tiny, each by a walk over its network."""
    space = load_space("tiny")
    return np.array([network_cost(resolve(space, a, **DATA)).macs for a in all_architectures(space)])


def test_extremes_median_and_shares_equal_enumeration(every_cost: np.ndarray) -> None:
    for target in np.quantile(every_cost, [0.02, 0.3, 0.97]).astype(int).tolist():
        figures = describe_space(load_space("tiny"), **DATA, target=target, budget_floor=0.9)
        assert (figures["macs"]["min"], figures["macs"]["max"]) == (every_cost.min(), every_cost.max())
        # Shares of 20,001 samples: five standard errors.
        for name, exact in (
            ("share_at_most", (every_cost <= target).mean()),
            ("share_near", ((every_cost <= target) & (every_cost >= 0.9 * target)).mean()),
        ):
            assert abs(figures["target"][name] - exact) < 5 * np.sqrt(exact * (1 - exact) / 20_001)
        below = (every_cost < figures["macs"]["median"]).mean()
        assert abs(below - 0.5) < 0.02


def test_samples_are_uniform_over_all_architectures(every_cost: np.ndarray) -> None:
    space = load_space("tiny")
    drawn = uniform_costs(space, build_cost_table(space, **DATA))
    error = every_cost.std() / np.sqrt(len(drawn))
    assert abs(drawn.mean() - every_cost.mean()) < 5 * error


@pytest.mark.parametrize("name", builtin_space_names())
def test_sizes_are_those_of_the_distributions(name: str) -> None:
    space, figures = load_space(name), summarise_space(load_space(name))
    assert int(figures["architectures"]) == space.number_of_architectures
    assert figures["entropy_nats"] == pytest.approx(Factorized(space.cardinalities).entropy().item(), abs=1e-9)
    assert figures["joint_parameters"] == Joint(space.cardinalities).number_of_parameters
    assert figures["factorized_parameters"] == Factorized(space.cardinalities).number_of_parameters
    assert figures == {key: describe_space(space)[key] for key in figures}


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (7_870_975, "unreachable: the smallest network has 7,870,976 MACs"),
        (107_976_960, "no limit: the largest network has 107,976,960 MACs"),
        (107_000_000, "rare: of 20,001 networks drawn none costs 95 to 100% of the target"),
        (34_000_000, "reachable: 1 network in "),
    ],
)
def test_a_target_is_judged_before_a_search(target: int, verdict: str) -> None:
    judged = describe_space(load_space("fbnetv2-f"), target=target, budget_floor=0.95)["target"]
    assert judged["macs"] == target and judged["verdict"].startswith(verdict)


def test_the_data_count() -> None:
    space = load_space("fbnetv2-f")
    few, many = (describe_space(space, num_classes=n)["macs"]["min"] for n in (10, 1000))
    assert many - few == 990 * space.head.channels
    with pytest.raises(UserError, match=r"fbnetv2-f.*32"):
        describe_space(space, input_size=31)
