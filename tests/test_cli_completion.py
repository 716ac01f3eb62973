"""Completion in a shell: bash reads the script, and completes by it what the parsers take."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Captured, answer
from refusals import refused

from fpnas.commands import COMMANDS
from fpnas.space import builtin_space_names

# Bash calls a completion function with the words so far, and reads the answer from an array.
COMPLETE = """
source fpnas.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_shtab_fpnas fpnas "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def script(capfd: Captured) -> Path:
    path = Path("fpnas.bash")
    path.write_text(answer(capfd, "--print_completion", "bash"))
    return path


def completed(*words: str) -> set[str]:
    """What bash offers for the last of the words."""
    ran = subprocess.run(["bash", "-c", COMPLETE, "bash", "fpnas", *words], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    return set(ran.stdout.split())


def test_bash_reads_the_script(script: Path) -> None:
    ran = subprocess.run(["bash", "-n", script], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_bash_completes_commands_options_names_and_files(script: Path) -> None:
    Path("found.json").touch()
    assert completed("") == set(COMMANDS)
    assert completed("ex") == {"export"}
    assert completed("search", "--target") == {"--target-macs"}
    assert completed("derive", "--") >= {"--target-macs", "--output", "--quiet", "--json"}
    assert completed("search", "--space", "") == set(builtin_space_names())
    assert completed("evaluate", "--device", "") == {"auto", "cpu", "cuda"}
    for words in (["cost", "fo"], ["train", "--config", "fo"], ["derive", "run", "--output", "fo"]):
        assert completed(*words) == {"found.json"}, words


def test_the_script_for_zsh_knows_the_commands(capfd: Captured) -> None:
    text = answer(capfd, "--print-completion", "zsh")
    assert text.startswith("#compdef fpnas\n")
    for name in COMMANDS:
        assert re.search(rf"^ +\"?{name}:", text, re.MULTILINE), name
    if shutil.which("zsh"):
        Path("_fpnas").write_text(text)
        assert subprocess.run(["zsh", "-n", "_fpnas"], timeout=60).returncode == 0


def test_another_shell_is_refused(capfd: Captured) -> None:
    assert refused(capfd, "--print_completion", "fish") == "--print_completion fish: one of bash, zsh is accepted"
    assert refused(capfd, "--print_completion") == "--print_completion without a shell: one of bash, zsh is accepted"


def test_without_shtab_it_is_said_what_is_needed(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "the extra `completion`" in refused(capfd, "--print_completion", "bash")
