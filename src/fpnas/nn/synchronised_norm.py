"""Batch norm over a batch whose images several processes hold: the statistics are those of the whole batch.

`torch.nn.SyncBatchNorm` does this for its own modules on GPUs. Here the call itself is replaced, so that it holds for
the supernet's slices and for any module, on any device.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["SynchronisedBatchNorm"]

SumInPlace = Callable[[Tensor], Tensor]


class SynchronisedBatchNorm(TorchFunctionMode):
    """Within this context, batch norm in training goes by the statistics of all processes' images.

    Every process must make the same calls in the same order.

    Args:
        sum_in_place: replaces a tensor by its sum over all processes.
    """

    def __init__(self, sum_in_place: SumInPlace) -> None:
        super().__init__()
        self._sum_in_place = sum_in_place

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if func is F.batch_norm:
            return self._batch_norm(*args, **options)
        return func(*args, **options)

    def _batch_norm(
        self,
        images: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """As `torch.nn.functional.batch_norm`."""
        if not training:
            return F.batch_norm(images, running_mean, running_var, weight, bias, False, momentum, eps)
        channels = images.shape[1]
        weight = images.new_ones(channels, dtype=torch.float32) if weight is None else weight
        bias = images.new_zeros(channels, dtype=torch.float32) if bias is None else bias
        normalised, mean, variance, count = _BatchNorm.apply(images, weight, bias, eps, self._sum_in_place)
        if running_mean is not None and running_var is not None:
            unbiased = variance * (count / (count - 1).clamp(min=1))
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_(unbiased.to(running_var), momentum)
        output: Tensor = normalised
        return output


class _BatchNorm(torch.autograd.Function):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias with the mean and variance of all processes' images.

    With z the normalised images, g the output's gradient and E the mean over all images and places, the gradient of x
    is weight / sqrt(variance + eps) * (g - E[g] - z E[g z]) (Ioffe and Szegedy, 2015, section 3).
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float, sum_in_place: SumInPlace
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # In float64, where the difference of two large sums keeps its digits; they are a few numbers per channel.
        places = images.numel() // images.shape[1]
        wide = _at_least_float32(images)
        mean, variance = (values.double() for values in torch.batch_norm_update_stats(wide, None, None, 0.0))
        count = torch.full_like(mean[:1], places)
        sums = sum_in_place(torch.cat([count, places * mean, places * (variance + mean**2)]))
        count = sums[0]
        mean, squares = (sums[1:] / count).chunk(2)
        variance = (squares - mean**2).clamp(min=0)
        own_mean, own_variance = mean.to(weight), variance.to(weight)
        ctx.save_for_backward(images, weight, own_mean, own_variance)
        ctx.count, ctx.eps, ctx.sum_in_place = count, eps, sum_in_place
        output = F.batch_norm(images, own_mean, own_variance, weight, bias, False, 0.0, eps)
        ctx.mark_non_differentiable(mean, variance, count)
        return output, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        images, weight, mean, variance = ctx.saved_tensors
        # With given statistics PyTorch's own kernel has the first term and both sums in one pass: on a processor by the
        # mean and the variance, on CUDA by the mean and the inverse of the deviation.
        wide, gradient = _at_least_float32(images), _at_least_float32(gradients[0])
        inverse = (variance + ctx.eps).rsqrt()
        of_images, sum_gz, sum_g = torch.ops.aten.native_batch_norm_backward(
            gradient, wide, weight, mean, variance, mean, inverse, False, ctx.eps, [True, True, True]
        )
        means = ctx.sum_in_place(torch.cat([sum_g, sum_gz]).double()) / ctx.count
        mean_g, mean_gz = means.chunk(2)
        # The other two are linear in x.
        inverse = (variance.double() + ctx.eps).rsqrt()
        slope = -weight.double() * inverse**2 * mean_gz
        constant = -weight.double() * inverse * mean_g - slope * mean.double()
        of_images = of_images.addcmul_(wide, _per_channel(slope, wide)).add_(_per_channel(constant, wide))
        return of_images.to(images.dtype), sum_gz, sum_g, None, None


def _at_least_float32(values: Tensor) -> Tensor:
    """Under autocast values come in 16 bits, in which sums and differences of nearly equal terms lose their digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _per_channel(values_C: Tensor, images: Tensor) -> Tensor:
    return values_C.to(images.dtype).view(1, -1, *[1] * (images.dim() - 2))
