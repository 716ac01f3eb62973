"""What the allocator keeps goes back to the system."""

import platform
from pathlib import Path

import pytest
import torch

from fpnas.runtime.memory import return_free_memory


def resident_kilobytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_holes_between_what_is_used_go_back_to_the_system() -> None:
    kilobytes, number = 64, 4000  # small enough for the heap: greater ones go back by themselves
    tensors = [torch.ones(kilobytes * 256) for _ in range(number)]
    full = resident_kilobytes()
    tensors = tensors[::2]  # every second one stays and holds its place
    held = resident_kilobytes()
    return_free_memory()
    freed = kilobytes * number // 2
    assert held - resident_kilobytes() > 0.8 * freed > 3 * (full - held)
    assert all(bool((tensor == 1).all()) for tensor in tensors)


def test_a_system_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpnas.runtime.memory.ctypes.CDLL", lambda name: object())
    return_free_memory()
