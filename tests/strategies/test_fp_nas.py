"""The default strategy and its relatives: budget, samples, pace, switch, and the exact gradient."""

import math

import pytest
import torch
from landscape import COSTS, SPACE, TARGET, Landscape, landscape, loop_of, run

from fpnas.distribution import Factorized, Joint
from fpnas.strategies import STRATEGIES, Judgement, StrategySettings
from fpnas.strategies.fp_nas import FEWEST_SAMPLES, pace


def test_whatever_is_judged_or_trained_is_within_the_budget():
    _, recorder, _ = run(steps=100)
    drawn = torch.cat(recorder.judged + [indices for indices, _ in recorder.trained])
    costs = COSTS.cost(drawn)
    assert (costs <= TARGET).all()
    assert (costs >= 0.9 * TARGET).all()


def test_without_a_floor_anything_is_drawn():
    _, recorder, _ = run(steps=60, budget_floor=None)
    costs = COSTS.cost(torch.cat(recorder.judged))
    assert (costs > TARGET).any() and (costs < 0.9 * TARGET).any()


def test_the_warm_up_trains_and_leaves_the_distribution_alone():
    learner, recorder, record = run(steps=10, warm_up=10, joint_from=1.0)
    assert not recorder.judged and len(recorder.trained) == 10
    assert torch.equal(learner.distribution.logits, Factorized(SPACE.cardinalities).logits)
    assert all(figures["samples"] == 1 for figures in record)


def test_the_number_of_samples_follows_the_entropy():
    _, recorder, record = run()
    for indices, figures in zip(recorder.judged, record[40:], strict=True):
        assert len(indices) == figures["samples"] == max(FEWEST_SAMPLES, math.floor(0.5 * figures["entropy_nats"]))


def test_the_entropy_keeps_to_its_line():
    _, _, record = run()
    start = math.log(SPACE.number_of_architectures)
    for step in range(80, 190):
        planned = start + (2.0 - start) * min(1, (step - 39) / (200 - 39) / 0.9)
        assert abs(record[step]["entropy_nats"] - planned) < 0.15 * start


def test_the_distribution_becomes_joint_and_stays_the_same():
    before, _, _ = run(steps=100, warm_up=10, joint_from=1.0)
    assert isinstance(before.distribution, Factorized)
    entropy = before.distribution.entropy()
    joint = before.distribution.to_joint()
    assert torch.allclose(joint.entropy(), entropy, atol=1e-9)
    after, _, _ = run(steps=100, warm_up=10, joint_from=0.5)
    assert isinstance(after.distribution, Joint)


@pytest.mark.parametrize("strategy", ["fp-nas", "fp-nas-paper", "parsec"])
def test_an_architecture_without_a_finite_loss_has_no_say(strategy):
    learner = STRATEGIES[strategy](SPACE, StrategySettings(learning_steps=20))

    class Broken(Landscape):
        def judge(self, indices_KGV):
            judged = super().judge(indices_KGV)
            bad = torch.arange(len(indices_KGV)) == 1
            return Judgement(torch.where(bad, math.inf, judged.cross_entropy_K), judged.score_K)

    recorder = Broken()
    before = learner.distribution.logits.detach().clone()
    figures = loop_of(learner, recorder, 20, 0).step(0)
    assert math.isfinite(figures["architecture_loss"]) and learner.distribution.logits.isfinite().all()
    assert not torch.equal(learner.distribution.logits[: len(before)], before)
    trained = dict(zip(map(str, recorder.trained[0][0].tolist()), recorder.trained[0][1].tolist(), strict=False))
    assert trained.get(str(recorder.judged[0][1].tolist()), 0.0) == 0.0


def test_one_architecture_is_trained_or_all_by_their_weights():
    _, resampled, _ = run(steps=60)
    assert all(len(indices) == 1 and weight.item() == 1 for indices, weight in resampled.trained)
    _, every, _ = run(steps=60, resample=False)
    for (indices, weight), judged in zip(every.trained[40:], every.judged, strict=True):
        assert torch.equal(indices, judged)
        expected = torch.softmax(-32.0 * landscape(judged), 0)
        assert torch.allclose(weight, expected)


@pytest.mark.parametrize("floor", [0.9, None])
def test_the_architecture_step_moves_along_the_exact_gradient(floor):
    """One step of Adam from the start moves every logit by the rate, against the sign of the exact gradient."""
    learner, recorder, _ = run(steps=1, warm_up=0, joint_from=1.0, budget_floor=floor)
    (judged,) = recorder.judged
    weights = torch.softmax(-32.0 * landscape(judged), 0)
    if floor is None:  # Eq. 7, written out
        excess = (COSTS.cost(judged) / TARGET - 1).clamp(min=0).double()
        assert excess.sum() > 0
        weights = weights - 0.3 * excess / excess.sum()
    fresh = Factorized(SPACE.cardinalities)
    probability = torch.softmax(fresh.logits.detach().masked_fill(~fresh.mask, -math.inf), -1)
    one_hot = torch.zeros(len(judged), *fresh.logits.shape, dtype=torch.float64)
    one_hot.scatter_(-1, judged.reshape(len(judged), *fresh.logits.shape[:-1], 1), 1.0)
    gradient = (weights.view(-1, *[1] * fresh.logits.dim()) * (probability - one_hot)).sum(0)
    moved = learner.distribution.logits.detach()
    clear = fresh.mask & (gradient.abs() > 1e-6)
    assert clear.any()
    assert torch.equal(moved[clear].sign(), -gradient[clear].sign())


def test_pace_is_one_on_the_line_and_bounded():
    assert pace(10.0, 10.0, 0.0) == pytest.approx(1.0)
    assert pace(6.0, 10.0, 0.45) == pytest.approx(1.0)
    assert pace(8.0, 10.0, 0.45) > 1 > pace(4.0, 10.0, 0.45)
    assert pace(10.0, 10.0, 0.99) <= math.exp(3) and pace(0.0, 10.0, 0.0) >= math.exp(-3)


def test_the_line_falls_in_a_space_of_two_architectures():
    start = math.log(2)
    assert pace(start, start, 0.9) > 1 and pace(start / 2, start, 0.9) == pytest.approx(1.0)


def test_the_paper_s_form_and_parsec_differ_as_they_should() -> None:
    settings = StrategySettings(learning_steps=8370)
    paper, parsec = STRATEGIES["fp-nas-paper"](SPACE, settings), STRATEGIES["parsec"](SPACE, settings)
    assert paper.learning_rate == pytest.approx(0.016) and not paper.paced
    assert (paper.likelihood_scale, paper.budget_floor, paper.resample) == (1.0, None, False)
    assert [paper.number_of_samples(nats) for nats in (56.25, 8.1, 0.1)] == [14, 2, 1]
    assert {parsec.number_of_samples(nats) for nats in (56.25, 8.1, 0.1)} == {14}
    assert parsec.joint_from == 0 < paper.joint_from
    _, surface, _ = run("parsec", steps=5, warm_up=2)
    assert [len(indices) for indices, _ in surface.trained] == [14] * 5
    assert all(weight.tolist() == [pytest.approx(1 / 14)] * 14 for _, weight in surface.trained[:2])
