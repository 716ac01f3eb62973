"""What `torchrun` tells the processes it starts, by environment variables; free of PyTorch."""

import os

__all__ = ["is_launched", "is_one_machine", "launch_id", "local_rank", "rank", "restarts"]

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


def is_one_machine() -> bool:
    """Whether all processes of the run are on this machine."""
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")


def launch_id() -> str:
    """What a launch is known by, the same when its processes are started again; empty where it has no name."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return "" if name == "none" else name


def restarts() -> int:
    """How often `torchrun` has started the processes again, after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
