"""Commands that the documentation shows without running them: every program, command, option and value must exist."""

import ast
import re
import shlex
from dataclasses import fields
from functools import cache
from pathlib import Path

from documents import ROOT
from torch.distributed.run import get_args_parser

from fpnas.cli import COMMANDS
from fpnas.cli_parser import CommandParser
from fpnas.restarts_config import RestartsConfig
from fpnas.select_config import SelectConfig
from fpnas.train_config import TrainConfig

CONFIGURATIONS = {"search": RestartsConfig, "select": SelectConfig, "train": TrainConfig}
# Programs of others, which take what they take.
FOREIGN = {"exit", "export", "head", "pip", "scontrol", "sphinx-build", "tensorboard", "test"}
FOREIGN_OPTIONS = {"--signal"}  # of Slurm
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PLACEHOLDER = re.compile(r"\.\.\.|\[.*\]|[A-Z_]+|HOST:\d+")


@cache
def parser_of(command: str) -> CommandParser:
    """The parser of a command, as the command line has it."""
    parser = CommandParser(command)
    COMMANDS[command].add_arguments(parser)
    parser.add_argument("--json", action="store_true")
    return parser


@cache
def options_of(command: str) -> frozenset[str]:
    """The options of a command, `--no-` forms included."""
    return frozenset(parser_of(command)._option_string_actions)


@cache
def script_options(script: str) -> frozenset[str]:
    """The options that a Python script of the repository adds to its parser."""
    calls = [node for node in ast.walk(ast.parse((ROOT / script).read_text())) if isinstance(node, ast.Call)]
    added = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    names = [name.value for call in added for name in call.args if isinstance(name, ast.Constant)]
    return frozenset(name for name in names if str(name).startswith("--"))


@cache
def known_options() -> frozenset[str]:
    """All options of all commands, of torchrun, and of the scripts of the repository."""
    ours = [options_of(command) for command in COMMANDS]
    scripts = [
        script_options(str(path.relative_to(ROOT)))
        for folder in ("benchmarks", "examples")
        for path in (ROOT / folder).glob("*.py")
    ]
    return frozenset(get_args_parser()._option_string_actions).union(*ours, *scripts)


def options_in(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def check_fpnas(words: list[str]) -> None:
    """Raises AssertionError or UserError for what `fpnas WORDS` would refuse before it reads anything."""
    if words in (["--help"], ["--version"]):
        return
    assert words and words[0] in COMMANDS, f"{words}: no command of fpnas"
    command, *arguments = words
    if "--help" in arguments:
        return
    values = parser_of(command).parse(arguments)
    if command in CONFIGURATIONS:
        configuration = CONFIGURATIONS[command]
        configuration(**{field.name: getattr(values, field.name) for field in fields(configuration)}).validate()


def check_command(words: list[str]) -> None:
    """Raises AssertionError or UserError for a command that cannot be meant to work."""
    program, *arguments = words
    if program == "fpnas":
        check_fpnas(arguments)
    elif program == "torchrun":
        given = get_args_parser().parse_args(arguments)
        assert given.module and given.training_script == "fpnas", f"{words}: starts no fpnas"
        check_fpnas(given.training_script_args)
    elif program == "srun":
        check_command(arguments[arguments.index("torchrun") :])
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        targets = re.findall(r"^(\w+):", makefile, re.MULTILINE)
        variables = re.findall(r"^(\w+) \?=", makefile, re.MULTILINE)
        known = {word for word in arguments if word in targets or word.partition("=")[0] in variables}
        assert arguments and set(arguments) <= known, f"{words}: no target or variable of the Makefile"
    elif program == "python":
        script = Path(arguments[0])
        assert (ROOT / script).is_file(), f"{words}: no such script"
        unknown = set(options_in(arguments)) - script_options(str(script)) - {"--help"}
        assert not unknown, f"{words}: unknown {unknown}"
    else:
        assert program in FOREIGN or re.match(r"\w+=", program), f"{words}: an unknown program"


def check_line(line: str) -> None:
    """Check every command of a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|&;<>"):
            words.append(word)
        elif words:
            check_command(words)
            words = []


def check_span(span: str) -> None:
    """Check a piece of code within a sentence: a command may be a part of one, and have placeholders."""
    words = span.split()
    if words[0] == "fpnas" and len(words) > 1:
        if words[1].startswith("--") or PLACEHOLDER.fullmatch(words[1]):
            return
        assert words[1] in COMMANDS, f"{span}: no command of fpnas"
        unknown = set(options_in(words)) - options_of(words[1]) - {"--help"}
        assert not unknown, f"{span}: unknown {unknown}"
    elif words[0].startswith("--"):
        unknown = set(options_in(words)) - known_options() - FOREIGN_OPTIONS
        assert not unknown, f"{span}: unknown {unknown}"
    elif words[0] in ("make", "python") and len(words) > 1 and words[1] != "-c":
        check_command(words)


def spans_of(document: str) -> list[str]:
    """The pieces of code within a document's sentences."""
    outside = re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)
    return SPAN.findall(outside)
