"""Arguments of one command: options from a dataclass, a YAML file beneath them, every mistake in one line.

Options are written with dashes; the fields behind them, and the lines of the YAML file, with underscores.
"""

import contextlib
import io
import re
from argparse import HelpFormatter
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.files import read_text

__all__ = ["CommandParser"]

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def option(name: str) -> str:
    """A field's name as it is written on the command line."""
    return "--" + name.replace("_", "-")


class _DashedParser(ArgumentParser):
    """Shows options as they are meant to be written."""

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        text = re.sub(
            r"--[a-z]\w*",
            lambda found: found[0] if found[0] == "--print_config" else found[0].replace("_", "-"),
            super().format_help(formatter),
        )
        return re.sub(r"<class\s+'(pathlib\.)?Path'>", "path", text)


class CommandParser:
    """Parser of one command's arguments.

    Args:
        command: its name.
        summary: one line for the help.
    """

    def __init__(self, command: str, summary: str) -> None:
        self._command = command
        self._parser = _DashedParser(prog=f"fpnas {command}", description=summary, exit_on_error=False)
        self._kinds: dict[str, str] = {}
        self._required: list[str] = []
        self._flags: set[str] = set()
        self._positionals: dict[str, str] = {}
        self._configuration: type | None = None

    def positional(self, name: str, help_: str, *, many: bool = False) -> None:
        """An argument without a name, or one or more of them."""
        self._positionals[name] = name.upper()
        extra: dict[str, Any] = {"nargs": "+"} if many else {}
        self._parser.add_argument(name, type=str, metavar=name.upper(), help=help_, **extra)

    def option(self, name: str, help_: str, *, kind: type = str, required: bool = False, default: Any = None) -> None:
        """An option with a value."""
        self._kinds[name] = kind.__name__
        self._parser.add_argument(
            f"--{name}", type=kind if required or default is not None else kind | None, required=required,
            default=default, help=help_,
        )  # fmt: skip
        if required:
            self._required.append(name)

    def flag(self, name: str, help_: str) -> None:
        """An option without a value, off when left out."""
        self._flags.add(name)
        self._parser.add_argument(f"--{name}", action="store_true", help=help_)

    def configuration(self, configuration: type) -> None:
        """An option for every field of a dataclass, `--config` for a YAML file of them, `--print_config`."""
        self._configuration = configuration
        self._parser.add_argument("--config", action="config", help="YAML file of options; the command line wins")
        self._parser.add_class_arguments(configuration)
        for field in fields(configuration):
            self._kinds[field.name] = _kind(field)
            if field.default is MISSING:
                self._required.append(field.name)

    def parse(self, arguments: Sequence[str]) -> Any:
        """The arguments by name; the fields of a configuration as `configuration`.

        Raises:
            UserError: an unknown option, a missing or senseless value.
            SystemExit: after --help or --print_config.
        """
        tokens = self._one_token_per_option(arguments)
        needed = [*self._positionals.values(), *(f"{option(name)} {name.upper()}" for name in self._required)]
        self._parser.usage = " ".join(["fpnas", self._command, *needed, "[options]"])
        values = {name: value for token in tokens for name, value in [_split(token)] if name}
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                parsed = self._parser.parse_args(tokens)
        except ArgumentError as error:
            raise UserError(self._told(str(error), values)) from None
        except SystemExit:
            # What is no field of the configuration has no place in its YAML.
            others = tuple(f"{name}:" for name in (*self._flags, *self._positionals))
            for line in printed.getvalue().splitlines():
                if not line.startswith(others):
                    print(line)
            raise
        if self._configuration is not None:
            names = [field.name for field in fields(self._configuration)]
            parsed["configuration"] = self._configuration(**{name: parsed[name] for name in names})
        return parsed

    def _one_token_per_option(self, arguments: Sequence[str]) -> list[str]:
        """`--a-b 3` as `--a_b=3`; what a YAML file says comes first, so that the command line wins."""
        rest, tokens, from_file = list(arguments), [], []
        while rest:
            token = rest.pop(0)
            if "\0" in token:
                raise UserError(f"argument {shown(token)}: a text without null characters is accepted")
            if not token.startswith("--") or token == "--":
                tokens.append(token)
                continue
            name, equals, value = token[2:].partition("=")
            name = name.replace("-", "_")
            if name == "print_config" and self._configuration:
                tokens.append("--print_config" + equals + value)
                continue
            if name == "help" or name in self._flags:
                if equals:
                    raise UserError(f"{option(name)}={value}: {option(name)} takes no value")
                tokens.append(f"--{name}")
                continue
            negated = name.removeprefix("no_")
            if name not in self._kinds and not equals and self._kinds.get(negated) == "bool":
                tokens.append(f"--{negated}=false")
                continue
            if name not in self._kinds and not (name == "config" and self._configuration):
                raise UserError(
                    f"{option(name)}: unknown option of fpnas {self._command}; accepted are {self._known()}"
                )
            if not equals and self._kinds.get(name) == "bool":
                value = rest.pop(0) if rest and rest[0] in ("true", "false") else "true"
            elif not equals and rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            if not value:
                raise UserError(f"{option(name)}: a value is missing; {self._accepted(name)} is accepted")
            if name == "config":
                from_file += self._tokens_of_file(value)
            else:
                tokens.append(f"--{name}={value}")
        return from_file + tokens

    def _tokens_of_file(self, path: str) -> list[str]:
        import yaml

        where = f"configuration file {path}"
        try:
            content = yaml.safe_load(read_text(path, "configuration file"))
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f", line {mark.line + 1}" if mark else ""
            raise UserError(f"{where}: broken YAML{place}") from None
        if isinstance(content, dict) and isinstance(content.get("configuration"), dict):
            content = content["configuration"]  # the config.yaml of a run
        if not isinstance(content, dict):
            raise UserError(f"{where}: {shown(content)}: lines such as 'epochs: 20' are expected")
        tokens = []
        for key, value in content.items():
            name = str(key).replace("-", "_")
            if name not in self._kinds:
                raise UserError(f"{where}: unknown field {shown(key)}; accepted are {', '.join(self._kinds)}")
            if isinstance(value, bool) or value is None:
                value = {True: "true", False: "false", None: "null"}[value]
            elif not isinstance(value, str | int | float):
                raise UserError(f"{where}: {name} = {shown(value)}: {self._accepted(name)} is accepted")
            tokens.append(f"--{name}={value}")
        return tokens

    def _known(self) -> str:
        names = [*self._kinds, *self._flags, *(["config"] if self._configuration else [])]
        return ", ".join(sorted(option(name) for name in names))

    def _accepted(self, name: str) -> str:
        return "a file" if name == "config" else _KINDS.get(self._kinds[name], "a path")

    def _told(self, text: str, values: dict[str, str]) -> str:
        """A parser's message in our words: the option, the value and what is accepted."""
        wrong = re.match(r'Parser key "(\w+)"', text)
        if wrong and wrong[1] in self._kinds:
            name = wrong[1]
            return f"{option(name)} {values.get(name, '')}: {self._accepted(name)} is accepted"
        missing = re.search(r"arguments are required: (.*)", text)
        if missing:
            names = [name.strip() for name in missing[1].split(",")]
            told = ", ".join(self._positionals.get(name, option(name.lstrip("-"))) for name in names)
            return f"fpnas {self._command}: {told} must be given; see fpnas {self._command} --help"
        unknown = re.search(r"nrecognized arguments: (.*)", text)
        if unknown:
            return f"{unknown[1]}: not an argument of fpnas {self._command}; see fpnas {self._command} --help"
        return " ".join(text.split())


def _split(token: str) -> tuple[str, str]:
    """Name and value of `--name=value`; an empty name for other tokens."""
    if not token.startswith("--"):
        return "", ""
    name, _, value = token[2:].partition("=")
    return name, value


def _kind(field: Field[Any]) -> str:
    """Name of a field's type, without the None of what can be left out."""
    text = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    return text.removesuffix(" | None").removeprefix("pathlib.")
