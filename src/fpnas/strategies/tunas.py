"""TuNAS: one sample a step, rewarded for accuracy and for landing on the budget.

Source: Bender et al., "Can weight sharing outperform random architecture search?" (CVPR 2020, arXiv 2008.06120; code in
google-research, Apache-2.0). Reward: accuracy less 0.10 times |cost / target - 1|; baseline: its moving average, decay
0.95; Adam with beta1 = 0, its rate growing tenfold over the search. In the first quarter of the steps the distribution
does not learn, and every choice is opened with a probability that falls linearly from 1 to 0.

Where ours differs: TuNAS computes all operations of an opened layer at once, here one of them is drawn, and widths are
taken at their greatest; an opened layer is never bypassed. The rate is fitted to the number of steps. Validation
batches four times the training batch are a setting of the search (`--architecture-batch-size`).
"""

import math
from typing import Any

import torch
from torch import Tensor

from fpnas.objective import absolute_costs
from fpnas.space import VARIABLES, SearchSpace
from fpnas.strategies.base import StepTools, StrategySettings
from fpnas.strategies.distribution_search import DistributionSearch

__all__ = ["TuNas", "build"]

COST_WEIGHT = 0.10
BASELINE_DECAY = 0.95
RATE_GROWTH = 10.0
LOGIT_TRAVEL = 160.0
"""Of a logit that always goes one way. The reward of one sample points the wrong way almost as often as the right one:
on a landscape as noisy as a supernet's accuracies, 40 leaves 30 of 56 nats and 160 settles."""
OPENED_UNTIL = 0.25
_KERNEL = VARIABLES.index("kernel")
WIDTHS = ("expansion", "channels")


class TuNas(DistributionSearch):
    """Policy gradient with one architecture a step.

    Args:
        space: what is searched.
        learning_rate: Adam's rate for the logits at the start of the learning; it grows tenfold. Where the warm-up is
            shorter than `OPENED_UNTIL`, up to a third more, as fewer steps learn than it is meant for.
    """

    def __init__(self, space: SearchSpace, *, learning_rate: float) -> None:
        super().__init__(space, learning_rate=learning_rate, betas=(0.0, 0.999))
        self.baseline: float | None = None
        self._warm_up = 0.0
        # By their values: a space may list them in any order.
        self._greatest_widths = torch.tensor(
            [[int(torch.tensor(group.values(variable)).argmax()) for variable in WIDTHS] for group in space.groups]
        )
        self._kernels = [torch.tensor(group.values("kernel")) for group in space.groups]

    def step(self, tools: StepTools) -> dict[str, float]:
        """A weight step, and after warm-up and the first quarter of the search a policy-gradient step."""
        indices_1GV = self.distribution.sample(1, tools.generator)
        if tools.warm_up or tools.progress < OPENED_UNTIL:
            if tools.warm_up:
                self._warm_up = tools.progress
            trained_1GV = self._open(indices_1GV, 1 - tools.progress / OPENED_UNTIL, tools.generator)
            loss = float(tools.train_weights(trained_1GV, torch.ones(1)))
            return {"samples": 1, "loss": loss, "sampled_cost": float(tools.costs.cost(trained_1GV)[0])}
        entropy = self.distribution.entropy().item()
        cost_1 = tools.costs.cost(indices_1GV)
        score = float(tools.judge(indices_1GV).score_K[0])
        if not math.isfinite(score):  # of an objective that gives it no number: there is nothing to learn from
            loss = float(tools.train_weights(indices_1GV, torch.ones(1)))
            return {"samples": 1, "loss": loss, "entropy_nats": entropy, "sampled_cost": float(cost_1[0])}
        reward = score - COST_WEIGHT * float(absolute_costs(cost_1, tools.target)[0])
        baseline = reward if self.baseline is None else self.baseline
        self.baseline = BASELINE_DECAY * baseline + (1 - BASELINE_DECAY) * reward
        learning_from = max(self._warm_up, OPENED_UNTIL)
        phase = (tools.progress - learning_from) / (1 - learning_from)
        # The rate is fitted to all steps after the warm-up; where it is short, the first of them do not learn.
        fitted = (1 - self._warm_up) / (1 - learning_from)
        self.optimizer.param_groups[0]["lr"] = self.learning_rate * fitted * RATE_GROWTH**phase
        self.optimizer.zero_grad()
        (-(reward - baseline) * self.distribution.log_prob(indices_1GV).sum()).backward()
        self.optimizer.step()
        return {
            "samples": 1,
            "loss": float(tools.train_weights(indices_1GV, torch.ones(1))),
            "entropy_nats": entropy,
            "reward": reward,
            "sampled_cost": float(cost_1[0]),
        }

    def _open(self, indices_1GV: Tensor, probability: float, generator: torch.Generator) -> Tensor:
        """The architecture with each choice opened by chance: the greatest widths, no bypass."""
        opened = torch.rand(indices_1GV.shape, generator=generator) < probability
        result = indices_1GV.clone()
        widths = [VARIABLES.index(variable) for variable in WIDTHS]
        result[..., widths] = torch.where(opened[..., widths], self._greatest_widths, indices_1GV[..., widths])
        drawn_G = torch.rand(len(self._kernels), generator=generator)
        for group, (kernels, drawn) in enumerate(zip(self._kernels, drawn_G, strict=True)):
            layers = kernels.nonzero().flatten()
            if opened[0, group, _KERNEL] and len(layers) and kernels[result[0, group, _KERNEL]] == 0:
                result[0, group, _KERNEL] = layers[int(drawn * len(layers))]
        return result

    def state_dict(self) -> dict[str, Any]:
        """Distribution, its optimizer, the baseline, and how far the warm-up went."""
        return super().state_dict() | {"baseline": self.baseline, "warm_up": self._warm_up}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        super().load_state_dict(state)
        self.baseline = state["baseline"]
        self._warm_up = state["warm_up"]


def build(space: SearchSpace, settings: StrategySettings) -> TuNas:
    """TuNAS for a number of steps: its growing rate adds up to `LOGIT_TRAVEL` over those in which it learns."""
    mean_growth = (RATE_GROWTH - 1) / math.log(RATE_GROWTH)
    rate = settings.learning_rate or LOGIT_TRAVEL / settings.learning_steps / mean_growth
    return TuNas(space, learning_rate=rate)
