"""Hundreds of damaged files: each is refused in one line, none hangs, none takes much memory."""

import json
import subprocess
import sys
from pathlib import Path


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    # A process of its own: its peak of memory is that of the commands.
    script = Path(__file__).with_name("generated_files.py")
    process = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert found["wrong"] == []
    assert found["refused"] >= 400, found
    assert found["slowest"][0] < 60, found  # PyTorch's import, on a busy machine
    assert found["peak_mib"] < 1024, found
    assert not (tmp_path / "run").exists()
