"""What a strategy does to a supernet: judge architectures on one half of the images, train weights on the other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.masked import masked_forward
from fpnas.nn.supernet import SuperNet
from fpnas.training.optim import load_optimizer_state, optimizer_state

__all__ = ["SuperNetTrainer"]


class SuperNetTrainer:
    """A supernet, its optimizer, and counts of what was computed.

    Args:
        supernet: the shared weights, on their device.
        optimizer: of the supernet's parameters.
        input_size: of the images, pixels.
        in_channels, num_classes: of the data.
        gradient_norm: gradients are scaled down to this norm; a rarely drawn slice can have a wild one.

    Attributes:
        forward_passes, backward_passes: architectures evaluated without, and trained with, a gradient.
    """

    def __init__(
        self,
        supernet: SuperNet,
        optimizer: torch.optim.Optimizer,
        *,
        input_size: int,
        in_channels: int,
        num_classes: int,
        gradient_norm: float = 5.0,
    ) -> None:
        self.supernet = supernet
        self.optimizer = optimizer
        self.gradient_norm = gradient_norm
        self.forward_passes = 0
        self.backward_passes = 0
        self._input = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}

    def state_dict(self) -> dict[str, Any]:
        """Weights, the optimizer's memory by parameter name, and counts."""
        return {
            "supernet": self.supernet.state_dict(),
            "optimizer": optimizer_state(self.optimizer, self.supernet),
            "forward_passes": self.forward_passes,
            "backward_passes": self.backward_passes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.supernet.load_state_dict(state["supernet"])
        load_optimizer_state(self.optimizer, self.supernet, state["optimizer"])
        self.forward_passes, self.backward_passes = state["forward_passes"], state["backward_passes"]

    def spec(self, indices_GV: Tensor) -> NetworkSpec:
        """The network of choice indices (G, V), for this data."""
        return resolve(self.supernet.space, Architecture.of(indices_GV), **self._input)

    @torch.no_grad()
    def judge(self, images: Tensor, labels: Tensor, indices_KGV: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropies, nats, and accuracies, in [0, 1], of architectures: shapes (K,).

        Batch norm goes by the batch's own statistics. An architecture that is listed more than once is evaluated once.
        A cross-entropy that is not finite is given as infinity: such an architecture has no weight among the others.

        Raises:
            FloatingPointError: no cross-entropy is finite.
        """
        unique, inverse = torch.unique(indices_KGV, dim=0, return_inverse=True)
        self.supernet.train()
        losses, accuracies = [], []
        for row in unique:
            logits = self.supernet(images, self.spec(row))
            losses.append(F.cross_entropy(logits, labels))
            accuracies.append((logits.argmax(1) == labels).float().mean())
        self.forward_passes += len(losses)
        inverse = inverse.to(labels.device)
        cross_entropies = torch.stack(losses)
        finite = cross_entropies.isfinite()
        if not finite.any():
            raise FloatingPointError(f"no sampled architecture has a finite loss, {_named(unique[0])} among them")
        cross_entropies = torch.where(finite, cross_entropies, math.inf)
        return cross_entropies[inverse], torch.stack(accuracies)[inverse]

    def train_weights(self, images: Tensor, labels: Tensor, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        """One gradient step for the weighted sum of cross-entropies; gives them, shape (n,), detached.

        The graphs are freed one by one, so memory is that of one network. What has no weight is not computed, and its
        cross-entropy is given as 0.

        Raises:
            FloatingPointError: a loss is not finite; the weights are as they were.
        """
        unique, inverse = torch.unique(indices_nGV, dim=0, return_inverse=True)
        weights = torch.zeros(len(unique), dtype=weight_n.dtype).index_add_(0, inverse, weight_n)
        self.supernet.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for row, weight in zip(unique, weights.tolist(), strict=True):
            if weight == 0:
                losses.append(torch.zeros(()))
                continue
            loss = F.cross_entropy(self.supernet(images, self.spec(row)), labels)
            losses.append(loss.detach().cpu())
            _check_finite(losses[-1], _named(row))
            (weight * loss).backward()
        self._step(int((weights != 0).sum()))
        return torch.stack(losses)[inverse]

    def mixture_cross_entropy(self, images: Tensor, labels: Tensor, gates: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Mean cross-entropy with every choice computed and weighted, differentiable in the gates: nats, shape ()."""
        self.supernet.train()
        self.forward_passes += 1
        loss = F.cross_entropy(masked_forward(self.supernet, images, gates), labels)
        _check_finite(loss.detach(), "all choices")
        return loss

    def train_mixture(self, images: Tensor, labels: Tensor, gates: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """One gradient step with every choice computed and weighted by fixed gates; gives the cross-entropy."""
        self.supernet.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(masked_forward(self.supernet, images, gates), labels)
        _check_finite(loss.detach(), "all choices")
        loss.backward()
        self._step(1)
        return loss.detach().cpu()

    def _step(self, passes: int) -> None:
        self.backward_passes += passes
        torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.gradient_norm)
        self.optimizer.step()


def _check_finite(loss: Tensor, trained: str) -> None:
    if not loss.isfinite():
        raise FloatingPointError(f"the loss of {trained} is {float(loss)}")


def _named(indices_GV: Tensor) -> str:
    """An architecture by the indices of its choices, for messages."""
    return f"architecture {indices_GV.tolist()}"
