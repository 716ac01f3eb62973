"""Commands of fpnas run in this process, and what they print."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from fpnas.cli import main

Captured = pytest.CaptureFixture[str]


def answer(capfd: Captured, *arguments: str | Path) -> str:
    """Standard output of a command that succeeds."""
    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    output, errors = capfd.readouterr()
    assert code == 0, errors
    return output


def document(capfd: Captured, *arguments: str | Path) -> Any:
    """What a command prints with --json: one document and nothing else."""
    return json.loads(answer(capfd, *arguments, "--json"))


def heeding_interrupts() -> None:
    """For a new process, before it begins: tests that run in the background have Ctrl-C ignored, and hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
