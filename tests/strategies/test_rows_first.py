"""Spaces in which every block chooses for itself: blocks of a row choose alike first, and each for itself later."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from landscape import FLOOR, TARGET
from landscape import SPACE as COARSE
from torch import Tensor

from fpnas.cost.table import build_cost_table
from fpnas.distribution import Joint, Tied
from fpnas.objective_evaluator import ObjectiveEvaluator
from fpnas.search_loop import SearchLoop, SearchPlan
from fpnas.space import one_group_per_block
from fpnas.strategies import STRATEGIES, StrategySettings

SPACE = replace(COARSE, share="block", groups=one_group_per_block(COARSE.groups))
COSTS = build_cost_table(SPACE)
FIRST, SECOND = 2, 3  # the groups of the blocks of "deep"
STEPS, WARM_UP, JOINT_FROM = 200, 40, 0.6


class Landscape(ObjectiveEvaluator):
    """The last values are the best, but for one block of two of a row, whose first are; keeps what was drawn."""

    def __init__(self) -> None:
        super().__init__(self.value, train=self._keep)
        self.judged: list[Tensor] = []
        self.trained: list[Tensor] = []

    @staticmethod
    def value(indices_KGV: Tensor) -> Tensor:
        """Cross-entropies, shape (K,)."""
        places = (indices_KGV / (torch.tensor(SPACE.cardinalities) - 1).clamp(min=1)).double()
        places[:, SECOND] = 1 - places[:, SECOND]
        return 2 - places.mean((1, 2))

    def judge(self, indices_KGV: Tensor) -> Any:
        self.judged.append(indices_KGV)
        return super().judge(indices_KGV)

    def _keep(self, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        self.trained.append(indices_nGV)
        return self.value(indices_nGV)


def search(strategy: str = "fp-nas", joint_from: float = JOINT_FROM, **settings: Any) -> tuple[Any, Landscape, Any]:
    """A strategy, its landscape and its loop, before the first step."""
    options = {"samples_per_nat": 0.5, "budget_floor": FLOOR, "joint_from": joint_from} | settings
    learner = STRATEGIES[strategy](SPACE, StrategySettings(learning_steps=STEPS - WARM_UP, **options))
    surface = Landscape()
    return learner, surface, SearchLoop(SearchPlan(SPACE, COSTS, TARGET, STEPS, WARM_UP, 0), learner, surface)


def alike(indices_KGV: Tensor) -> Tensor:
    """Whether both blocks of the row have the same choices, shape (K,)."""
    return (indices_KGV[:, FIRST] == indices_KGV[:, SECOND]).all(-1)


@pytest.mark.parametrize("floor", [FLOOR, None])
def test_blocks_of_a_row_choose_alike_until_the_distribution_is_joint(floor: float | None) -> None:
    learner, surface, loop = search(budget_floor=floor)
    switch = int(JOINT_FROM * STEPS)
    for step in range(switch):
        loop.step(step)
    assert alike(torch.cat(surface.judged + surface.trained)).all()
    assert isinstance(learner.distribution, Tied)
    before = [choice for group in learner.distribution.marginals() for choice in group]
    loop.step(switch)
    assert isinstance(learner.distribution, Joint)
    after = [choice for group in learner.distribution.marginals() for choice in group]
    # What was learned of the row is where both blocks go on from: one step of Adam away.
    assert all(torch.allclose(*pair, atol=0.2) for pair in zip(before, after, strict=True))
    assert not alike(torch.cat(surface.judged[-1:])).all()


def test_what_each_block_wants_for_itself_is_found() -> None:
    learner, _, loop = search()
    for step in range(STEPS):
        loop.step(step)
    found = loop.derive()
    uniform = learner.distribution.__class__(SPACE.cardinalities).sample(20_000, torch.Generator().manual_seed(1))
    within = uniform[COSTS.cost(uniform) <= TARGET]
    assert not alike(found[None]).any()
    assert (Landscape.value(within) < Landscape.value(found[None])).double().mean() < 0.05


def test_samples_follow_the_nats_of_what_is_drawn() -> None:
    _, surface, loop = search()
    loop_steps = [loop.step(step) for step in range(int(JOINT_FROM * STEPS))]
    assert loop_steps[0]["samples"] == 1  # of the warm-up
    first = loop_steps[WARM_UP]
    assert first["entropy_nats"] == pytest.approx(COARSE.entropy_nats)
    assert first["samples"] == len(surface.judged[0]) == int(0.5 * COARSE.entropy_nats)


def test_the_entropy_keeps_to_its_line_after_the_switch() -> None:
    learner, _, loop = search()
    record = [loop.step(step) for step in range(STEPS)]
    switch = int(JOINT_FROM * STEPS)
    done = (switch - (WARM_UP - 1)) / (STEPS - (WARM_UP - 1))
    start = record[switch]["entropy_nats"]
    assert start > record[switch - 1]["entropy_nats"] + 1  # what the blocks have for themselves
    for step in range(switch, STEPS - 20):
        phase = (step - (WARM_UP - 1)) / (STEPS - (WARM_UP - 1))
        planned = start + (2 - start) * min(1, (phase - done) / (0.9 - done))
        assert abs(record[step]["entropy_nats"] - planned) < 0.15 * COARSE.entropy_nats
    assert learner.distribution.entropy().item() < 4


@pytest.mark.parametrize("strategy", ["fp-nas-paper", "parsec"])
def test_in_the_papers_form_every_block_chooses_for_itself_from_the_start(strategy: str) -> None:
    _, surface, loop = search(strategy)
    loop.step(0)
    assert not alike(surface.trained[0]).all()


def test_where_nothing_is_joint_rows_choose_alike_to_the_end() -> None:
    learner, surface, loop = search(joint_from=1.0)
    for step in range(STEPS):
        loop.step(step)
    assert alike(torch.cat(surface.judged)).all()
    assert isinstance(learner.distribution, Tied)
    found = loop.derive()[None]
    assert COSTS.cost(found).item() <= TARGET and alike(found).all()


@pytest.mark.parametrize(("joint_from", "interrupted_after"), [(0.6, 20), (0.6, 100), (0.6, 125), (0.1, 30), (0, 60)])
def test_it_goes_on_after_an_interruption_as_if_there_had_been_none(joint_from: float, interrupted_after: int) -> None:
    whole, _, loop = search(joint_from=joint_from)
    record = [loop.step(step) for step in range(STEPS)]
    first, _, loop = search(joint_from=joint_from)
    for step in range(interrupted_after):
        loop.step(step)
    second, _, loop = search(joint_from=joint_from)
    second.load_state_dict(first.state_dict())
    assert [loop.step(step) for step in range(interrupted_after, STEPS)] == record[interrupted_after:]
    assert torch.equal(second.distribution.logits, whole.distribution.logits)
