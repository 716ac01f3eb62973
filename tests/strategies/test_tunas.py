"""TuNAS: how far its rate can take a logit, however long the warm-up."""

import pytest
from landscape import loop_of, run

from fpnas.strategies.tunas import LOGIT_TRAVEL, RATE_GROWTH


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
