"""FBNetV2's differentiable search: every choice computed, weighted by Gumbel-softmax gates.

Source: Wan et al., "FBNetV2" (CVPR 2020, arXiv 2004.05565): channels and expansions by masks over the widest block,
weights and architecture parameters in turn, the temperature annealed. The masks and what computation is shared are
those of `fpnas.nn.masked`. The cost is the exact expected one, drawn to the target from both sides, so that its network
uses the budget it is compared at; FBNetV2 multiplies by a power of the cost instead.
"""

import torch
from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.gates import Gates
from fpnas.space import VARIABLES, SearchSpace
from fpnas.strategies.base import StepTools, StrategySettings
from fpnas.strategies.distribution_search import DistributionSearch
from fpnas.strategies.fp_nas import LOGIT_TRAVEL

__all__ = ["FbNetV2", "build", "expected_cost"]

FIRST_TEMPERATURE, LAST_TEMPERATURE = 5.0, 0.2
COST_WEIGHT = 1.0


class FbNetV2(DistributionSearch):
    """Differentiable search with masks.

    Args:
        space: what is searched.
        learning_rate: Adam's rate for the logits.
    """

    def step(self, tools: StepTools) -> dict[str, float]:
        """A weight step, and after the warm-up a step of the logits."""
        temperature = FIRST_TEMPERATURE * (LAST_TEMPERATURE / FIRST_TEMPERATURE) ** tools.progress
        with torch.no_grad():
            gates = self._gates(temperature, tools.generator)
        figures = {"samples": 1.0, "loss": float(tools.train_mixture(gates))}
        if tools.warm_up:
            return figures
        figures["entropy_nats"] = self.distribution.entropy().item()
        cross_entropy = tools.mixture_cross_entropy(self._gates(temperature, tools.generator))
        cost = expected_cost(tools.costs, self._log_probs())
        loss = cross_entropy.double().cpu() + COST_WEIGHT * (cost / tools.target - 1).abs()
        # Not backward(): gradients of the shared weights are none of this step's business.
        (self.distribution.logits.grad,) = torch.autograd.grad(loss, self.distribution.parameters())
        self.optimizer.step()
        return figures | {"architecture_loss": float(cross_entropy.detach()), "expected_cost": float(cost.detach())}

    def _log_probs(self) -> list[list[Tensor]]:
        """Log-probabilities of every choice's values, differentiable: `[g][v]` has shape (C,)."""
        logits = self.distribution.logits
        return [
            [logits[g, v, :size].log_softmax(-1) for v, size in enumerate(row)]
            for g, row in enumerate(self.distribution.cardinalities)
        ]

    def _gates(self, temperature: float, generator: torch.Generator) -> Gates:
        gates = []
        for row in self._log_probs():
            noises = [-torch.rand(p.shape, generator=generator, dtype=p.dtype).clamp(min=1e-20).log() for p in row]
            soft = [((p - noise.log()) / temperature).softmax(-1) for p, noise in zip(row, noises, strict=True)]
            gates.append(dict(zip(VARIABLES, soft, strict=True)))
        return gates


def expected_cost(costs: CostTable, log_probs: list[list[Tensor]]) -> Tensor:
    """Exact mean cost of a factorized distribution, differentiable.

    Args:
        costs: the table.
        log_probs: of every choice's values, `[g][v]` of shape (C,), float64.

    Returns:
        Shape (), in the unit of the table.
    """
    total = torch.tensor(float(costs.prefix_cost), dtype=torch.float64)
    before_P = torch.ones(1, dtype=torch.float64)
    for table, row in zip(costs.table, log_probs, strict=True):
        joint = torch.zeros(1, dtype=torch.float64)
        for log_prob in row:
            joint = (joint[:, None] + log_prob).flatten()
        total = total + before_P @ torch.from_numpy(table).double() @ joint.exp()
        before_P = row[-1].exp()
    return total + before_P @ torch.from_numpy(costs.head).double()


def build(space: SearchSpace, settings: StrategySettings) -> FbNetV2:
    """FBNetV2's search for a number of steps."""
    return FbNetV2(space, learning_rate=settings.learning_rate or LOGIT_TRAVEL / settings.learning_steps)
