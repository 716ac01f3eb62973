"""The processes of one run: the single one of a laptop, or those that `torchrun` starts on one machine or many.

Every process does the same steps with the same random numbers; what differs is which images or architectures it
computes. Sums over all processes are equal to the bit in each of them, so all take the same decisions.
"""

import atexit
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fpnas.errors import BAD_USAGE, ProcessLost, UserError, first_line
from fpnas.launcher import is_launched, is_one_machine, restarts
from fpnas.nn.synchronised_norm import SynchronisedBatchNorm
from fpnas.runtime.weights import digest_of

__all__ = ["WHOLE", "Processes", "Share", "join_processes"]

_BUCKET_BYTES = 64 * 1024**2

Value = TypeVar("Value")


@dataclass(frozen=True)
class Share:
    """One of `count` equal shares of a batch."""

    index: int = 0
    count: int = 1

    def of(self, total: int) -> slice:
        """The positions in a batch of so many that are this share's; `total` is a multiple of `count`."""
        assert total % self.count == 0, (total, self.count)
        size = total // self.count
        return slice(self.index * size, (self.index + 1) * size)


WHOLE = Share()


@dataclass(frozen=True)
class Processes:
    """This process among those of a run.

    Attributes:
        rank: of this process; the one of rank 0 writes.
        count: of all processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for the run."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """This process's share of a batch."""
        return Share(self.rank, self.count)

    def check_divides(self, batch_size: int, option: str) -> None:
        """Raises UserError when a batch has no equal shares for all processes."""
        if batch_size % self.count:
            raise UserError(f"{option} {batch_size}: there are {self.count} processes; a multiple of that is accepted")

    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.count > 1:
            _reduce(tensor)
        return tensor

    def gather(self, part: Tensor) -> Tensor:
        """A batch of which every process has its share, in order of the shares.

        Args:
            part: shape (B / count, ...); images (B / count, C, H, W) are given and returned channels last.
        """
        if self.count == 1:
            return part
        last = part.movedim(1, -1).contiguous() if part.dim() == 4 else part.contiguous()
        parts = [torch.empty_like(last) for _ in range(self.count)]
        with _together():
            dist.all_gather(parts, last)
        whole = torch.cat(parts)
        return whole.movedim(-1, 1) if part.dim() == 4 else whole

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is true in any process."""
        if self.count == 1:
            return flags
        counts = self.sum_(torch.tensor(flags, dtype=torch.int32))
        return tuple(bool(count) for count in counts.tolist())

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of one dtype by their means over all processes, in one exchange."""
        if self.count == 1:
            return
        tensors = list(tensors)
        flat = self.sum_(torch.cat([tensor.flatten() for tensor in tensors])) / self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over all processes, those of what no process used left out, in few large buckets."""
        if self.count == 1:
            return
        weights = [weight for weight in parameters if weight.requires_grad]
        used = self.sum_(torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32)).tolist()
        for bucket in _buckets([weight for weight, count in zip(weights, used, strict=True) if count]):
            gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in bucket]
            flat = self.sum_(torch.cat([gradient.flatten() for gradient in gradients]))
            for weight, gradient, total in zip(
                bucket, gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
            ):
                weight.grad = gradient.copy_(total.view_as(gradient))

    def synchronised_norms(self) -> AbstractContextManager[Any]:
        """Around forward passes on shares of one batch: batch norm goes by the whole batch."""
        return SynchronisedBatchNorm(self.sum_) if self.count > 1 else nullcontext()

    def shared(self, tensor: Tensor) -> Tensor:
        """A tensor that all processes hold alike and use on their own shares: its gradient is the sum of theirs."""
        return _Shared.apply(tensor) if self.count > 1 else tensor

    def total(self, part: Tensor) -> Tensor:
        """The sum over all processes of what each computed of its own share; the gradient of each part is the sum's."""
        return _Total.apply(part) if self.count > 1 else part

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What a function gives in the first process, for all of them; they wait for it.

        Raises:
            UserError: the function did, in the first process. The others leave with exit code 2 and say nothing.
        """
        if self.count == 1:
            return make()
        outcome: list[Any] = [None, None]
        error: UserError | None = None
        if self.is_first:
            try:
                outcome = [make(), None]
            except UserError as problem:
                error, outcome = problem, [None, str(problem)]
        with _together():
            dist.broadcast_object_list(outcome, src=0)
        if error:
            raise error
        if outcome[1] is not None:
            raise SystemExit(BAD_USAGE)
        value: Value = outcome[0]
        return value

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.any(False)

    def check_equal(self, tensors: Iterable[Tensor], what: str) -> None:
        """Raises RuntimeError when the processes do not all hold the same values, to the bit."""
        if self.count == 1:
            return
        digests = self._of_all(digest_of(tensors))
        if others := [rank for rank, other in enumerate(digests) if other != digests[0]]:
            raise RuntimeError(f"{what} of process {others[0]} are not those of the first; results would be worthless")

    def check_same_work(self, identity: Mapping[str, str]) -> None:
        """Raises UserError, in all processes, when they were not all given the same, by digest and option."""
        for other, theirs in enumerate(self._of_all(dict(identity))):
            for option, digest in identity.items():
                if theirs.get(option) != digest:
                    raise UserError(f"{option}: not the same in processes {self.rank} and {other}")

    def _of_all(self, value: Value) -> list[Value]:
        """What every process has, in order of rank."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            with _together():
                dist.all_gather_object(values, value)
        return values


def join_processes(device: torch.device) -> Processes:
    """Join the other processes of a run where `torchrun`, or a caller, started some.

    Args:
        device: the run's; one that is CUDA talks by NCCL.
    """
    if not dist.is_initialized():
        if not is_launched():
            return Processes()
        store, rank, count = next(dist.rendezvous("env://"))
        if is_one_machine():
            # The addresses that an attempt left in torchrun's store are those of processes that are dead. Machines
            # count their attempts apart; docs/scale.md has them take a store for each.
            store = dist.PrefixStore(f"fpnas/{restarts()}", store)
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
        atexit.register(_leave)
    return Processes(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _reduce(tensor: Tensor) -> None:
    with _together():
        dist.all_reduce(tensor)


@contextmanager
def _together() -> Iterator[None]:
    """Around what all processes have to do; the libraries behind it tell of one that is lost in many ways."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, OSError) as error:
        raise ProcessLost(f"the exchange with the other processes failed: {first_line(error)}") from error


def _buckets(weights: list[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    """Parameters in order, in lists whose gradients are of limited size together."""
    bucket: list[nn.Parameter] = []
    size = 0
    for weight in weights:
        if bucket and size + weight.nbytes > _BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(weight)
        size += weight.nbytes
    if bucket:
        yield bucket


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        _reduce(total)
        return total


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        _reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]
