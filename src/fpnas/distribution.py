"""Probability distributions over architectures: factorized and joint, batched over groups.

Source: FP-NAS (CVPR 2021), section 3.1 (joint, as in PARSEC) and section 3.3 (factorized, coarse to fine); the tied
form, which goes from coarse to fine in the space, is this project's.

All are batches of independent categoricals, padded to the widest and masked, so that nothing that a search
step calls loops over groups. Everything is float64 on the CPU: the distribution is small, and every process
must arrive at the same numbers.

Shapes: G groups, V variables per group, C values of the widest variable, J elements of the largest group's
product (row-major: the last variable is the fastest), K samples.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["Distribution", "Factorized", "Joint", "Tied", "from_state_dict"]


class Distribution:
    """What both forms share: one categorical per row of `logits`, normalised over the last dimension.

    Attributes:
        cardinalities: number of values of each variable, shape (G, V).
        logits: float64 leaf that requires a gradient; padding is 0, and never receives a gradient.
        mask: true where `logits` holds a parameter and not padding, same shape.
        first_of: per group the group whose choices it takes, shape (G,): itself, but in a tied distribution.
    """

    kind: str
    logits: Tensor
    mask: Tensor

    def __init__(self, cardinalities_GV: Sequence[Sequence[int]], mask: Tensor, logits: Tensor | None) -> None:
        self.cardinalities = tuple(tuple(int(c) for c in row) for row in cardinalities_GV)
        self.first_of = tuple(range(len(self.cardinalities)))
        self.mask = mask
        if logits is None:
            logits = torch.zeros(mask.shape, dtype=torch.float64)
        if logits.shape != mask.shape:
            raise ValueError(f"logits of shape {tuple(logits.shape)}: expected {tuple(mask.shape)}")
        values = logits.detach().to("cpu", torch.float64).masked_fill(~mask, 0.0)
        if not values.masked_fill(~mask, -math.inf).amax(-1).isfinite().all():
            raise ValueError("logits: NaN, infinity or a variable without any possible value")
        self.logits = values.requires_grad_()
        self._cardinality_GV = torch.tensor(self.cardinalities)
        # Row-major strides of a group's product: how far apart two neighbours of one variable lie.
        self._stride_GV = torch.tensor(
            [[math.prod(row[v + 1 :]) for v in range(len(row))] for row in self.cardinalities]
        )

    def parameters(self) -> list[Tensor]:
        """The leaves to optimise."""
        return [self.logits]

    @property
    def number_of_parameters(self) -> int:
        """Logits without the padding."""
        return int(self.mask.sum())

    def entropy(self) -> Tensor:
        """Exact entropy of the distribution over architectures, nats, shape ()."""
        return self.entropy_per_group().sum()

    def entropy_per_group(self) -> Tensor:
        """Exact entropy of each group's choices, nats, shape (G,); the groups are independent."""
        log_prob = self._log_probs()
        prob = log_prob.exp()
        # 0 * log 0 = 0, in the value and in the gradient, for padding and for impossible choices.
        return -(prob * log_prob.masked_fill(prob == 0, 0.0)).flatten(1).sum(1)

    def state_dict(self) -> dict[str, Any]:
        """What `from_state_dict` needs to build an equal distribution."""
        return {
            "kind": self.kind,
            "cardinalities": [list(row) for row in self.cardinalities],
            "logits": self.logits.detach().clone(),
        }

    def copy(self) -> Self:
        """An equal distribution whose logits and mask are its own; the gradient stays behind."""
        copied = copy.copy(self)
        copied.logits = self.logits.detach().clone().requires_grad_()
        copied.mask = self.mask.clone()
        return copied

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        """Independent architectures.

        Args:
            number: how many, K.
            generator: a CPU generator; the same state gives the same samples.

        Returns:
            Indices of choices, int64, shape (K, G, V).

        Raises:
            ValueError: fewer than one sample is asked for.
        """
        raise NotImplementedError

    def log_prob(self, indices_KGV: Tensor) -> Tensor:
        """Log-probability of architectures, differentiable in the logits.

        Args:
            indices_KGV: indices of choices, int64, shape (K, G, V).

        Returns:
            Nats, shape (K,).

        Raises:
            ValueError: another shape, or an index that its variable doesn't have.
        """
        raise NotImplementedError

    def marginals(self) -> list[list[Tensor]]:
        """Probability of every value of every variable: `[g][v]` has shape (C,). For reports."""
        raise NotImplementedError

    def group_log_probs(self) -> list[Tensor]:
        """Log-probability of every element of every group's product, row-major: G tensors of shape (J_g,)."""
        raise NotImplementedError

    def mode(self) -> Tensor:
        """The most probable architecture, ties to the lowest index: indices of shape (G, V)."""
        raise NotImplementedError

    def to_joint(self) -> "Joint":
        """The same distribution as a joint one."""
        raise NotImplementedError

    def _masked_logits(self) -> Tensor:
        return self.logits.masked_fill(~self.mask, -math.inf)

    def _log_probs(self) -> Tensor:
        return self._masked_logits().log_softmax(-1)

    def _draw(self, number: int, generator: torch.Generator) -> Tensor:
        """Inverse-CDF samples of every categorical, shape (K, *rows)."""
        if number < 1:
            raise ValueError(f"number of samples {number}: at least 1 is expected")
        cumulative = self._log_probs().detach().exp().cumsum(-1)
        # It ends at exactly 1 and uniform numbers stay below: no impossible choice, no padding is drawn.
        cumulative = cumulative / cumulative[..., -1:]
        uniform = torch.rand((number, *cumulative.shape[:-1]), generator=generator, dtype=torch.float64)
        return torch.searchsorted(cumulative, uniform.movedim(0, -1).contiguous(), right=True).movedim(-1, 0)

    def _check_indices(self, indices_KGV: Tensor) -> None:
        expected = tuple(self._cardinality_GV.shape)
        if indices_KGV.dim() != 3 or tuple(indices_KGV.shape[1:]) != expected:
            raise ValueError(f"indices of shape {tuple(indices_KGV.shape)}: expected (K, {expected[0]}, {expected[1]})")
        if ((indices_KGV < 0) | (indices_KGV >= self._cardinality_GV)).any():
            raise ValueError("indices: a choice is negative or beyond its variable's number of values")


class Factorized(Distribution):
    """One categorical per variable: few parameters, quick to learn; variables are independent.

    Source: FP-NAS, section 3.3.

    Args:
        cardinalities_GV: number of values of each variable, shape (G, V).
        logits: shape (G, V, C), padding ignored; uniform when left out.

    Raises:
        ValueError: cardinalities that aren't a G x V table of positive numbers, or unusable logits.
    """

    kind = "factorized"

    def __init__(self, cardinalities_GV: Sequence[Sequence[int]], logits: Tensor | None = None) -> None:
        cardinality_GV = _check_cardinalities(cardinalities_GV)
        mask = torch.arange(int(cardinality_GV.max())) < cardinality_GV[..., None]
        super().__init__(cardinalities_GV, mask, logits)

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        return self._draw(number, generator).contiguous()

    def log_prob(self, indices_KGV: Tensor) -> Tensor:
        return self._log_prob_per_group(indices_KGV).sum(1)

    def _log_prob_per_group(self, indices_KGV: Tensor) -> Tensor:
        self._check_indices(indices_KGV)
        groups, variables = indices_KGV.shape[1:]
        row_G, row_V = torch.arange(groups)[:, None], torch.arange(variables)
        return self._log_probs()[row_G, row_V, indices_KGV].sum(2)

    def marginals(self) -> list[list[Tensor]]:
        prob_GVC = self._log_probs().detach().exp()
        return [[prob_GVC[g, v, :c] for v, c in enumerate(row)] for g, row in enumerate(self.cardinalities)]

    def group_log_probs(self) -> list[Tensor]:
        mask_GJ = _joint_mask(self._cardinality_GV)
        log_prob_GJ = self._joint_logits(mask_GJ).masked_fill(~mask_GJ, -math.inf).log_softmax(-1)
        return [row[: math.prod(c)] for row, c in zip(log_prob_GJ, self.cardinalities, strict=True)]

    def mode(self) -> Tensor:
        return self._masked_logits().detach().argmax(-1)

    def to_joint(self) -> "Joint":
        """The same distribution as a joint one: entropy, mode and every probability are unchanged.

        Source: FP-NAS, section 3.3, the switch at epoch theta.
        """
        return Joint(self.cardinalities, self._joint_logits(_joint_mask(self._cardinality_GV)))

    def _joint_logits(self, mask_GJ: Tensor) -> Tensor:
        """Sums of the factors' log-probabilities, up to one constant per group, shape (G, J)."""
        logits_GVC = self._masked_logits()
        # Relative to the mode: its sum is then exactly 0, and rounding can't make a neighbour equal to it.
        logits_GVC = logits_GVC - logits_GVC.detach().amax(-1, keepdim=True)
        groups, elements = mask_GJ.shape
        flat_GJ = torch.arange(elements).expand(groups, elements)
        choice_GJV = flat_GJ[..., None] // self._stride_GV[:, None] % self._cardinality_GV[:, None]
        return logits_GVC.gather(2, choice_GJV.movedim(2, 1)).sum(1)


class Tied(Factorized):
    """A factorized distribution in which neighbouring groups choose alike: those of one row, where blocks may differ.

    What it prefers is where a distribution begins that lets them differ: `to_joint` keeps every marginal.

    Args:
        cardinalities_GV: number of values of each variable, shape (G, V).
        first_of: per group the first of those that choose alike, itself where that is no other, shape (G,).
        logits: shape (G, V, C); those of a first group are read, of the others none.

    Raises:
        ValueError: as `Factorized`, or groups that are no neighbours or have other cardinalities.
    """

    kind = "tied"

    def __init__(
        self, cardinalities_GV: Sequence[Sequence[int]], first_of: Sequence[int], logits: Tensor | None = None
    ) -> None:
        super().__init__(cardinalities_GV, logits)
        for group, first in enumerate(first_of):
            if first != group and (
                not group or first != first_of[group - 1] or self.cardinalities[first] != self.cardinalities[group]
            ):
                raise ValueError(f"group {group} as group {first}: neighbours with the same choices are expected")
        self.first_of = tuple(first_of)
        self._firsts = sorted(set(self.first_of))

    @property
    def number_of_parameters(self) -> int:
        """Logits that are read, without the padding."""
        return int(self.mask[self._firsts].sum())

    def entropy_per_group(self) -> Tensor:
        """Nats, shape (G,): none of a group that chooses as another."""
        entropy_G = super().entropy_per_group()
        counted_G = torch.zeros_like(entropy_G)
        counted_G[self._firsts] = 1.0
        return entropy_G * counted_G

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        return super().sample(number, generator)[:, self.first_of]

    def log_prob(self, indices_KGV: Tensor) -> Tensor:
        log_prob_KG = self._log_prob_per_group(indices_KGV)
        alike_K = (indices_KGV == indices_KGV[:, self.first_of]).flatten(1).all(1)
        return log_prob_KG[:, self._firsts].sum(1).masked_fill(~alike_K, -math.inf)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"first_of": list(self.first_of)}

    def _masked_logits(self) -> Tensor:
        return super()._masked_logits()[list(self.first_of)]


class Joint(Distribution):
    """One categorical over each group's product of variables: it can hold their dependencies.

    Source: FP-NAS, section 3.1.

    Args:
        cardinalities_GV: number of values of each variable, shape (G, V).
        logits: shape (G, J), row-major, padding ignored; uniform when left out.

    Raises:
        ValueError: cardinalities that aren't a G x V table of positive numbers, or unusable logits.
    """

    kind = "joint"

    def __init__(self, cardinalities_GV: Sequence[Sequence[int]], logits: Tensor | None = None) -> None:
        super().__init__(cardinalities_GV, _joint_mask(_check_cardinalities(cardinalities_GV)), logits)

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        return self._unravel(self._draw(number, generator))

    def log_prob(self, indices_KGV: Tensor) -> Tensor:
        self._check_indices(indices_KGV)
        flat_KG = (indices_KGV * self._stride_GV).sum(-1)
        return self._log_probs()[torch.arange(flat_KG.shape[1]), flat_KG].sum(1)

    def marginals(self) -> list[list[Tensor]]:
        result = []
        for log_prob, row in zip(self.group_log_probs(), self.cardinalities, strict=True):
            prob = log_prob.detach().exp().reshape(row)
            result.append([prob.movedim(v, 0).reshape(c, -1).sum(1) for v, c in enumerate(row)])
        return result

    def group_log_probs(self) -> list[Tensor]:
        return [row[: math.prod(c)] for row, c in zip(self._log_probs(), self.cardinalities, strict=True)]

    def mode(self) -> Tensor:
        return self._unravel(self._masked_logits().detach().argmax(-1)[None])[0]

    def to_joint(self) -> "Joint":
        return self

    def _unravel(self, flat_KG: Tensor) -> Tensor:
        return flat_KG[..., None] // self._stride_GV % self._cardinality_GV


def from_state_dict(state: dict[str, Any]) -> Distribution:
    """The distribution that `state_dict` described.

    Raises:
        ValueError: an unknown kind.
    """
    if state.get("kind") == Tied.kind:
        return Tied(state["cardinalities"], state["first_of"], state["logits"])
    kinds: dict[str, type[Factorized] | type[Joint]] = {"factorized": Factorized, "joint": Joint}
    if state.get("kind") not in kinds:
        raise ValueError(f"distribution kind {state.get('kind')}: expected one of {', '.join([*kinds, Tied.kind])}")
    return kinds[state["kind"]](state["cardinalities"], state["logits"])


def _check_cardinalities(cardinalities_GV: Sequence[Sequence[int]]) -> Tensor:
    widths = {len(row) for row in cardinalities_GV}
    if len(widths) != 1 or 0 in widths or any(c < 1 for row in cardinalities_GV for c in row):
        raise ValueError(f"cardinalities {list(cardinalities_GV)}: expected a G x V table of positive numbers")
    return torch.tensor([list(row) for row in cardinalities_GV])


def _joint_mask(cardinality_GV: Tensor) -> Tensor:
    elements_G = cardinality_GV.prod(1)
    return torch.arange(int(elements_G.max())) < elements_G[:, None]
