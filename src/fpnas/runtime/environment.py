"""What a run is made with: versions, machine, time and command. Reports show it; nothing else depends on it."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["environment"]

_PACKAGES = ("torchvision", "timm", "numpy")


def environment() -> dict[str, str]:
    """Names and values, both to be read by people."""
    import torch

    found = {"begun": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
    if command := _command(sys.argv):
        found["command"] = command
    # The package's version does not say what it was built for, the module's does.
    found |= {"Python": platform.python_version(), "torch": str(torch.__version__)}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "without a version"
    found["system"] = f"{platform.system()} on {platform.machine()}"
    found["processor"] = f"{_processor()}, {os.cpu_count()} threads"
    if torch.cuda.is_available():
        found["GPU"] = f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} of them, CUDA {torch.version.cuda}"
    found["processes"] = os.environ.get("WORLD_SIZE", "1")
    return found


def _command(arguments: list[str]) -> str:
    """The command line where this process is fpnas; empty where it is a program that imports it."""
    program = Path(arguments[0]) if arguments else Path()
    if program.name != "fpnas" and program.parts[-2:] != ("fpnas", "__main__.py"):
        return ""
    return shlex.join(["fpnas", *arguments[1:]])


def _processor() -> str:
    """Its name, which Python's platform module does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
