"""What `torchrun` tells the processes it starts, by environment variables; free of PyTorch."""

import os

__all__ = ["goes_on", "is_launched", "local_rank", "rank", "restarts"]

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_launched() -> bool:
    """Whether this is one of several processes of a run."""
    return all(os.environ.get(name) for name in _TOLD) and os.environ["WORLD_SIZE"] != "1"


def rank() -> int:
    """Number of this process among all; the one of rank 0 writes and speaks for the run."""
    return int(os.environ["RANK"]) if is_launched() else 0


def local_rank() -> int:
    """Number of this process among those of its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_launched() else 0


def restarts() -> int:
    """How often `torchrun` has started the processes again, after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def goes_on(resume: bool) -> bool:
    """Whether a run that is there goes on: as asked, and where the processes were started again."""
    return resume or restarts() > 0
