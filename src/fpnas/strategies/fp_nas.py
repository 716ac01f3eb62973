"""FP-NAS: a learned distribution, sampled in proportion to its entropy, factorized first and joint later.

Source: FP-NAS (CVPR 2021), sections 3.1 to 3.4, with four changes, of which `docs/tried.md` has what was measured:

- The budget conditions the samples. Eq. 7 subtracts a share of the hinge cost, which draws nobody towards the
  budget from below: shallow networks, which a supernet learns sooner, then win and leave it unused. Here every
  architecture that is evaluated or trained, in the warm-up too, is drawn from the distribution *given* that its cost
  lies between `budget_floor` and 1 times the target. The gradient is that of the evidence where all others have
  the likelihood 0, so it raises the probability of the budget, too: there is no weight of a cost term to set, and
  networks compete with their equals.
- One architecture, drawn by its weight, trains the shared weights: an unbiased estimate of the paper's gradient
  over all samples, at the price of one backward pass.
- The likelihood is sharper than the mean over a batch (`likelihood_scale`).
- Where every block chooses for itself, the blocks of a row choose alike until the distribution becomes joint
  (`rows_first`): shared weights learn fewer combinations sooner, and what is learned of a row holds for its blocks.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fpnas.budget_sampling import sample_within_budget
from fpnas.distribution import Factorized, Tied
from fpnas.objective import architecture_loss, hinge_costs, importance_weights, sample_weights
from fpnas.sampling import AdaptiveSamples
from fpnas.space import SearchSpace
from fpnas.strategies.base import StepTools, StrategySettings
from fpnas.strategies.distribution_search import DistributionSearch

__all__ = ["LOGIT_TRAVEL", "FpNas", "build"]

LOGIT_TRAVEL = 20.0
"""Adam moves a logit by about its rate per step: the rate is this over the number of architecture steps, so that a
search of any length can take a distribution from uniform to settled."""

HINGE_WEIGHT = 0.3
"""Beta of Eq. 7, as the paper has it."""

FINAL_ENTROPY_NATS = 2.0
"""Planned for the end; half of the start in spaces of so few architectures that this would be more."""
SETTLED_BY = 0.9
"""Share of the learning after which that entropy is planned; the distribution follows its line with a lag."""

PACING_GAIN = 20.0
MOST_PACING = 3.0

FEWEST_SAMPLES = 2
"""A single architecture has all the weight whatever its likelihood: judging it teaches nothing."""

MOST_RATE = 0.25
"""The rate that the entropy paces is never higher, given or not: a search of a few steps ends unsettled rather than
decided by a batch."""


class Start(NamedTuple):
    """Of the line that the entropy is to follow: the share of the learning that was done, and the nats then."""

    phase: float
    nats: float


def pace(entropy_nats: float, initial_nats: float, phase: float, start: Start | None = None) -> float:
    """Factor on the rate that keeps the entropy on a line from its start to (almost) nothing near the end.

    How far a rate takes a distribution depends on the space, the data and the number of steps; with a fixed one, a
    search ends either too early, on the verdicts of an untrained supernet, or not at all.

    Args:
        entropy_nats: of the distribution now.
        initial_nats: of the distribution when it began to learn.
        phase: share of the learning that is done, in [0, 1).
        start: of the line, where that is not the learning's.
    """
    start = start or Start(0.0, initial_nats)
    final_nats = min(FINAL_ENTROPY_NATS, initial_nats / 2)
    done = min(1.0, (phase - start.phase) / (SETTLED_BY - start.phase)) if start.phase < SETTLED_BY else 1.0
    planned = start.nats + (final_nats - start.nats) * done
    lag = (entropy_nats - planned) / initial_nats
    return math.exp(max(-MOST_PACING, min(MOST_PACING, PACING_GAIN * lag)))


class FpNas(DistributionSearch):
    """Sampled architectures, weighed by their likelihood: the default strategy, the paper's form and PARSEC.

    Args:
        space: what is searched.
        number_of_samples: of a step, from the distribution's entropy in nats.
        learning_rate: Adam's rate for the distribution's logits; while the entropy is on its planned line if `paced`.
        paced: whether the rate follows the entropy (`pace`) or is constant.
        likelihood_scale: factor on the mean cross-entropy.
        budget_floor: least cost of an architecture that is drawn, as a share of the target; with None any is drawn, and
            the budget acts by the paper's hinge cost (Eq. 7).
        resample: whether one architecture drawn by weight is trained, or every sampled one.
        joint_from: share of the search at which the distribution becomes the joint one.
        rows_first: whether, until then, blocks of one row choose alike where the space lets each choose for itself.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        number_of_samples: Callable[[float], int],
        learning_rate: float,
        paced: bool,
        likelihood_scale: float,
        budget_floor: float | None,
        resample: bool,
        joint_from: float,
        rows_first: bool = False,
    ) -> None:
        super().__init__(space, learning_rate=learning_rate)
        self.number_of_samples = number_of_samples
        self.paced = paced
        self.likelihood_scale = likelihood_scale
        self.budget_floor = budget_floor
        self.resample = resample
        self.joint_from = joint_from
        if rows_first and space.share == "block":
            self._use(Tied(space.cardinalities, space.first_of_row))
        self._learning_from = 0.0
        self._plan_from(Start(0.0, self.distribution.entropy().item()))

    def state_dict(self) -> dict[str, Any]:
        """Distribution, its optimizer, where the learning began, and the line that the entropy is to follow."""
        return super().state_dict() | {"learning_from": self._learning_from, "start": tuple(self._start)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        super().load_state_dict(state)
        self._learning_from = state["learning_from"]
        self._plan_from(Start(*state["start"]))

    def step(self, tools: StepTools) -> dict[str, float]:
        """One architecture step and one weight step; in the warm-up the weight step alone."""
        phase = (tools.progress - self._learning_from) / (1 - self._learning_from)
        if tools.progress >= self.joint_from and isinstance(self.distribution, Factorized):
            tied = isinstance(self.distribution, Tied)
            self._use(self.distribution.to_joint())
            if tied:  # the blocks' own choices are nats to settle that no plan had
                self._plan_from(Start(0.0 if tools.warm_up else phase, self.distribution.entropy().item()))
        if tools.warm_up:
            self._learning_from = tools.progress
            return self._warm_up_step(tools)
        entropy = self.distribution.entropy().item()
        if self.paced:
            rate = self.learning_rate * pace(entropy, self._initial_entropy, phase, self._start)
            self.optimizer.param_groups[0]["lr"] = min(MOST_RATE, rate)
        samples = self.number_of_samples(entropy)
        indices_KGV, acceptance = self._draw(tools, samples)
        cross_entropy_K = tools.judge(indices_KGV).cross_entropy_K.double().cpu()
        log_likelihood_K = -self.likelihood_scale * cross_entropy_K
        finite_K = cross_entropy_K.isfinite()
        figures = {
            "samples": samples,
            "entropy_nats": entropy,
            "sampled_cost": float(tools.costs.cost(indices_KGV).double().mean()),
            "acceptance": acceptance,
        }
        if not finite_K.any():  # of an objective that gives none of them a number: there is nothing to learn from
            return figures | {"loss": self._weight_step(tools, indices_KGV, torch.full((samples,), 1 / samples))}
        weight_K = importance_weights(log_likelihood_K)
        gradient_weight_K = weight_K
        if self.budget_floor is None:
            hinge_K = hinge_costs(tools.costs.cost(indices_KGV), tools.target)
            gradient_weight_K = sample_weights(log_likelihood_K, hinge_K, HINGE_WEIGHT)
        self.optimizer.zero_grad()
        architecture_loss(gradient_weight_K, self.distribution.log_prob(indices_KGV)).backward()
        self.optimizer.step()
        return figures | {
            "loss": self._weight_step(tools, indices_KGV, weight_K),
            "architecture_loss": float(cross_entropy_K[finite_K].mean()),
        }

    def _plan_from(self, start: Start) -> None:
        """Have the entropy follow a line from there."""
        self._start = start
        if start.phase == 0:
            self._initial_entropy = start.nats

    def _draw(self, tools: StepTools, samples: int) -> tuple[Tensor, float]:
        """Architectures (K, G, V), and the share of the distribution's candidates that the budget let through."""
        if self.budget_floor is None:
            return self.distribution.sample(samples, tools.generator), 1.0
        return sample_within_budget(
            self.distribution,
            tools.costs,
            samples,
            low=self.budget_floor * tools.target,
            high=tools.target,
            generator=tools.generator,
        )

    def _warm_up_step(self, tools: StepTools) -> dict[str, float]:
        samples = 1 if self.resample else self.number_of_samples(self._initial_entropy)
        indices_KGV, acceptance = self._draw(tools, samples)
        weight_K = torch.full((samples,), 1 / samples)
        return {
            "samples": samples,
            "loss": float((tools.train_weights(indices_KGV, weight_K) * weight_K).sum()),
            "sampled_cost": float(tools.costs.cost(indices_KGV).double().mean()),
            "acceptance": acceptance,
        }

    def _weight_step(self, tools: StepTools, indices_KGV: Tensor, weight_K: Tensor) -> float:
        if self.resample:
            chosen = torch.multinomial(weight_K, 1, generator=tools.generator)
            return float(tools.train_weights(indices_KGV[chosen], torch.ones(1)))
        return float((tools.train_weights(indices_KGV, weight_K) * weight_K).sum())


def build(space: SearchSpace, settings: StrategySettings) -> FpNas:
    """The default strategy, as it is set."""
    return FpNas(
        space,
        number_of_samples=AdaptiveSamples(settings.samples_per_nat, FEWEST_SAMPLES),
        learning_rate=settings.learning_rate or LOGIT_TRAVEL / settings.learning_steps,
        paced=True,
        likelihood_scale=settings.likelihood_scale,
        budget_floor=settings.budget_floor,
        resample=settings.resample,
        joint_from=settings.joint_from,
        rows_first=True,
    )
