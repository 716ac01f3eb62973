"""What a process sets up before a run: threads, seeds, the device."""

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fpnas.errors import UserError
from fpnas.launcher import local_rank
from fpnas.run_options import RUN_CHOICES

__all__ = ["configure_threads", "generator_for", "keep_kernels", "library_randomness", "pick_device"]


def configure_threads(threads: int | None) -> None:
    """Limit the processor threads of this process; None takes all that the process may use."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        limit = os.environ.get("OMP_NUM_THREADS", "")
        if limit.isdigit() and int(limit) > 0:
            threads = min(threads, int(limit))
    torch.set_num_threads(threads)


def keep_kernels() -> None:
    """Let oneDNN keep 4,096 compiled kernels, not 1,024.

    Every layer of every sampled network may have a shape of its own: with the usual limit a search on the processor
    compiles the same kernels over and over, and with none its memory grows. Works before a process's first
    convolution; a user's own value stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")


@contextmanager
def library_randomness(*purpose: str | int) -> Iterator[None]:
    """Seed the global generators for libraries that draw from them, and put them back; our own code takes a generator.

    Args:
        purpose: as `generator_for` takes it; the same arguments give the same draws anywhere.
    """
    seed = generator_for(0, *purpose).initial_seed()
    python, numpy = random.getstate(), np.random.get_state()
    # A device's generator is put back as the processor's is.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def generator_for(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on the processor for one purpose, independent of those for other purposes and seeds.

    Args:
        seed: of the run.
        purpose: what is drawn, e.g. `"samples", step`; the same arguments give the same stream anywhere.
    """
    # repr keeps ("a", "b") and ("ab",), and 1 and "1", apart.
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:8], "big") % 2**63)
    return generator


def pick_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; `auto` is CUDA where there is one.

    Raises:
        UserError: another name, or CUDA where there is none.
    """
    devices = RUN_CHOICES["device"]
    if name not in devices:
        raise UserError(f"--device {name}: one of {', '.join(devices)} is accepted")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: no CUDA device is available here; auto or cpu is accepted")
    if not available or name == "cpu":
        return torch.device("cpu")
    # torchrun numbers the processes of a machine, one for each of its devices.
    if local_rank() >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: {torch.cuda.device_count()} CUDA devices for {local_rank() + 1} or more processes; "
            "one process for each is accepted"
        )
    return torch.device("cuda", local_rank())
