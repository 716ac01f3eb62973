"""TuNAS: how far its rate can take a logit, however long the warm-up, and what its warm-up opens."""

from dataclasses import replace

import pytest
import torch
from landscape import SPACE, loop_of, run

from fpnas.space import VARIABLES, SearchSpace
from fpnas.strategies.tunas import LOGIT_TRAVEL, RATE_GROWTH, TuNas


@pytest.mark.parametrize("warm_up", [0, 100, 250, 400])
def test_the_rate_adds_up_and_grows_tenfold(warm_up: int) -> None:
    steps = 1000
    learner, surface, _ = run("tunas", steps=steps, warm_up=warm_up, begin=1)
    loop, rates = loop_of(learner, surface, steps, warm_up), []
    for step in range(steps):
        before = learner.distribution.logits.detach().clone()
        loop.step(step)
        if not before.equal(learner.distribution.logits):
            rates.append(learner.optimizer.param_groups[0]["lr"])
    assert sum(rates) == pytest.approx(LOGIT_TRAVEL, rel=0.02)
    assert rates[-1] / rates[0] == pytest.approx(RATE_GROWTH, rel=0.02)
    assert len(rates) >= steps - max(warm_up, steps // 4) - 2


def backwards(space: SearchSpace) -> SearchSpace:
    """The same space with the values of every choice in the opposite order."""
    groups = [
        replace(group, choices=tuple(replace(choice, values=choice.values[::-1]) for choice in group.choices))
        for group in space.groups
    ]
    return replace(space, groups=tuple(groups))


@pytest.mark.parametrize("space", [SPACE, backwards(SPACE)], ids=["as it is", "backwards"])
def test_what_is_opened_is_the_widest_and_never_bypassed_in_whatever_order_values_are(space: SearchSpace) -> None:
    learner = TuNas(space, learning_rate=1.0)
    generator = torch.Generator().manual_seed(0)
    met: dict[tuple[int, str], set[object]] = {}
    for _ in range(200):
        drawn = learner.distribution.sample(1, generator)
        opened = learner._open(drawn, 1.0, generator)
        for number, group in enumerate(space.groups):
            for place, variable in enumerate(VARIABLES):
                value = group.values(variable)[opened[0, number, place]]
                met.setdefault((number, variable), set()).add(value)
    for number, group in enumerate(space.groups):
        assert met[number, "expansion"] == {max(group.values("expansion"))}
        assert met[number, "channels"] == {max(group.values("channels"))}
        assert met[number, "kernel"] == (set(group.values("kernel")) - {0} or {0})
        assert met[number, "splits"] == set(group.values("splits"))
