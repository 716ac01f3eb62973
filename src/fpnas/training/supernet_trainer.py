"""What a strategy does to a supernet: judge architectures on one half of the images, train weights on the other."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.gates import Gates
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.masked import masked_forward
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.processes import Processes
from fpnas.training.optim import load_optimizer_state, optimizer_state
from fpnas.training.precision import Precision

__all__ = ["SuperNetTrainer"]


class SuperNetTrainer:
    """A supernet, its optimizer, and counts of what was computed.

    Args:
        supernet: the shared weights, on their device.
        optimizer: of the supernet's parameters.
        input_size: of the images, pixels.
        in_channels, num_classes: of the data.
        gradient_norm: gradients are scaled down to this norm; a rarely drawn slice can have a wild one.
        precision: of the forward passes; float32 when left out.
        processes: of the run. Batches are this process's share, unless they split by samples.
        by_samples: whether processes split the sampled architectures and are given whole batches; where but one
            is trained they split its images all the same.

    Attributes:
        forward_passes, backward_passes: architectures evaluated without, and trained with, a gradient, by all
            processes together.
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
        precision: Precision | None = None,
        processes: Processes | None = None,
        by_samples: bool = False,
    ) -> None:
        self.supernet = supernet
        self.optimizer = optimizer
        self.gradient_norm = gradient_norm
        self._precision = precision or Precision()
        self._processes = processes or Processes()
        self._by_samples = by_samples
        self.forward_passes = 0
        self.backward_passes = 0
        # To walk through the modules of a supernet takes longer than a small network's forward pass.
        self._parameters = list(supernet.parameters())
        self._input = {"input_size": input_size, "in_channels": in_channels, "num_classes": num_classes}

    def state_dict(self) -> dict[str, Any]:
        """Weights, the optimizer's memory by parameter name, and counts."""
        return {
            "supernet": self.supernet.state_dict(),
            "optimizer": optimizer_state(self.optimizer, self.supernet),
            "precision": self._precision.state_dict(),
            "forward_passes": self.forward_passes,
            "backward_passes": self.backward_passes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.supernet.load_state_dict(state["supernet"])
        load_optimizer_state(self.optimizer, self.supernet, state["optimizer"])
        self._precision.load_state_dict(state["precision"])
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
        unique, inverse = self._different(indices_KGV)
        self._set_training()
        # Whole batches need nothing exchanged on the way; a share of each would take a reduction per layer of each.
        dealt_out = self._by_samples or len(unique) >= self._processes.count
        if dealt_out and not self._by_samples:
            images, labels = self._processes.gather(images), self._processes.gather(labels)
        figures = torch.zeros(len(unique), 2, device=labels.device)
        with torch.inference_mode(), self._norms(synchronised=not dealt_out):
            for row in self._own(range(len(unique))) if dealt_out else range(len(unique)):
                logits = self._logits(images, unique[row])
                figures[row, 0] = F.cross_entropy(logits, labels)
                figures[row, 1] = (logits.argmax(1) == labels).float().mean()
        if not dealt_out:
            figures /= self._processes.count
        self.forward_passes += len(unique)
        cross_entropies, accuracies = self._processes.sum_(figures)[inverse.to(labels.device)].unbind(1)
        finite = cross_entropies.isfinite()
        if not finite.any():
            raise FloatingPointError(f"no sampled architecture has a finite loss, {_named(unique[0])} among them")
        return torch.where(finite, cross_entropies, math.inf), accuracies

    def train_weights(self, images: Tensor, labels: Tensor, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        """One gradient step for the weighted sum of cross-entropies; gives them, shape (n,), detached.

        The graphs are freed one by one, so memory is that of one network. What has no weight is not computed, and its
        cross-entropy is given as 0.

        Raises:
            FloatingPointError: a loss is not finite; the weights are as they were.
        """
        unique, inverse = self._different(indices_nGV)
        weights = torch.zeros(len(unique), dtype=weight_n.dtype).index_add_(0, inverse, weight_n)
        trained = weights.nonzero().flatten().tolist()
        # A single architecture, the usual case, leaves nothing to split but its images.
        by_samples = self._by_samples and len(trained) > 1
        if not by_samples:
            images, labels = self._own_images(images, labels)
        share = 1.0 if by_samples else 1 / self._processes.count
        self._set_training()
        self.optimizer.zero_grad(set_to_none=True)
        losses = torch.zeros(len(unique), device=labels.device)
        with self._norms(synchronised=not by_samples):
            for row in self._own(trained) if by_samples else trained:
                loss = share * F.cross_entropy(self._logits(images, unique[row]), labels)
                losses[row] = loss.detach()
                self._precision.backward(float(weights[row]) * loss)
        losses = self._processes.sum_(losses).cpu()
        for row in trained:
            _check_finite(losses[row], _named(unique[row]))
        self._step(len(trained))
        return losses[inverse]

    def mixture_cross_entropy(self, images: Tensor, labels: Tensor, gates: Gates) -> Tensor:
        """Mean cross-entropy with every choice computed and weighted, differentiable in the gates: nats, shape ()."""
        self._set_training()
        self.forward_passes += 1
        loss = self._processes.total(self._mixture_loss(images, labels, self._shared(gates), scaled=False))
        _check_finite(loss.detach(), "all choices")
        return loss

    def train_mixture(self, images: Tensor, labels: Tensor, gates: Gates) -> Tensor:
        """One gradient step with every choice computed and weighted by fixed gates; gives the cross-entropy."""
        self._set_training()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._mixture_loss(images, labels, gates, scaled=True)
        self._precision.backward(loss)
        total = self._processes.sum_(loss.detach().clone()).cpu()
        _check_finite(total, "all choices")
        self._step(1)
        return total

    @staticmethod
    def _different(indices_nGV: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be computed of the architectures that are listed, and of each which of those it is, (n,)."""
        unique, inverse = torch.unique(indices_nGV, dim=0, return_inverse=True)
        return unique, inverse

    def _logits(self, images: Tensor, indices_GV: Tensor) -> Tensor:
        with self._precision.forward():
            logits: Tensor = self.supernet(images, self.spec(indices_GV))
        return logits.float()

    def _mixture_loss(self, images: Tensor, labels: Tensor, gates: Gates, *, scaled: bool) -> Tensor:
        """This process's part of the mean cross-entropy over all processes' images."""
        images, labels = self._own_images(images, labels)
        with self._norms(synchronised=True), self._precision.forward(scaled=scaled):
            logits = masked_forward(self.supernet, images, gates)
        return F.cross_entropy(logits.float(), labels) / self._processes.count

    def _set_training(self) -> None:
        if not self.supernet.training:
            self.supernet.train()

    def _step(self, passes: int) -> None:
        self.backward_passes += passes
        self._processes.sum_gradients(self._parameters)
        self._precision.step(self.optimizer, self._parameters, self.gradient_norm)

    def _own(self, rows: Sequence[int]) -> Sequence[int]:
        """Of several architectures those that this process computes."""
        return rows[self._processes.rank :: self._processes.count]

    def _own_images(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The images of a batch that this process computes where all compute the same network."""
        if not self._by_samples:
            return images, labels
        part = self._processes.share.of(len(images))
        return images[part], labels[part]

    def _norms(self, *, synchronised: bool) -> AbstractContextManager[Any]:
        """Around forward passes: whether batch norm goes by the images of all processes."""
        return self._processes.synchronised_norms() if synchronised else nullcontext()

    def _shared(self, gates: Gates) -> Gates:
        """Gates whose gradients are the sums over all processes."""
        values = [gate for row in gates for gate in row.values()]
        parts = iter(self._processes.shared(torch.cat(values)).split([len(gate) for gate in values]))
        return [{name: next(parts) for name in row} for row in gates]


def _check_finite(loss: Tensor, trained: str) -> None:
    if not loss.isfinite():
        raise FloatingPointError(f"the loss of {trained} is {float(loss)}")


def _named(indices_GV: Tensor) -> str:
    """An architecture by the indices of its choices, for messages."""
    return f"architecture {indices_GV.tolist()}"
