"""Mixed precision: in which numbers a network is computed, and what a gradient step then needs."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from fpnas.errors import UserError

__all__ = ["Precision"]


class Precision:
    """Forward passes under autocast, with the loss scaled where float16 would lose small gradients.

    Weights, batch norm, losses and optimizers stay in float32 (Micikevicius et al., "Mixed precision training", 2018).

    Args:
        name: `fp32`, `bf16` or `fp16`.
        device: of the network.

    Raises:
        UserError: fp16 on a processor, where a step takes ten times as long.
    """

    def __init__(self, name: str = "fp32", device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._device_type = self._device.type
        if name == "fp16" and self._device_type == "cpu":
            raise UserError("--precision fp16: is for a CUDA device; on a processor fp32 or bf16 is accepted")
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
        self._scaler = torch.amp.GradScaler(self._device_type, enabled=name == "fp16")

    def forward(self, *, scaled: bool = True) -> AbstractContextManager[Any]:
        """Around a forward pass.

        Args:
            scaled: false where gradients are taken otherwise than by `backward`, whose scaling float16 needs.
        """
        enabled = self._dtype == torch.bfloat16 or (self._dtype == torch.float16 and scaled)
        return torch.autocast(self._device_type, self._dtype if enabled else torch.bfloat16, enabled=enabled)

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients."""
        self._scaler.scale(loss).backward()

    def step(
        self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], gradient_norm: float | None = None
    ) -> None:
        """A step of the optimizer, left out where float16 gradients overflowed.

        Args:
            optimizer: of the parameters.
            parameters: whose gradients there are.
            gradient_norm: the gradients are scaled down to this norm.
        """
        if self._scaler.is_enabled():
            # A process that had no backward pass, and is given the sum of the others' gradients, has no scale yet.
            self._scaler.scale(torch.zeros((), device=self._device))
        self._scaler.unscale_(optimizer)
        if gradient_norm is not None:
            nn.utils.clip_grad_norm_(parameters, gradient_norm)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The scale, where there is one."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(dict(state))
