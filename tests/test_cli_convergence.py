"""A search that did not settle says so, beside its result."""

import json
from pathlib import Path

import pytest

from fpnas.cli import main


def test_an_unsettled_search_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--data", "digits", "--space", "tiny", "--target-macs", "0.3M", "--threads", "1", "--quiet", "--json"]
    assert main(["search", *options, "--epochs", "1", "--warmup-epochs", "0", "--output", str(tmp_path / "run")]) == 0
    output, errors = capfd.readouterr()
    result = json.loads(output)
    assert not result["converged"] and result["entropy_nats"] > 8
    assert "did not converge" in errors and "--epochs" in errors and len(errors.splitlines()) == 1


def test_a_settled_search_does_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--data", "digits", "--space", "tiny", "--target-macs", "0.3M", "--threads", "1", "--quiet", "--json"]
    assert main(["search", *options, "--epochs", "40", "--output", str(tmp_path / "run")]) == 0
    output, errors = capfd.readouterr()
    assert json.loads(output)["converged"] and not errors
