"""Command-line options over dataclasses, and one-line messages for whatever is wrong with them."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml
from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from fpnas.builtin_files import find_recipe
from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.files import read_text
from fpnas.quantities import ACCEPTED_QUANTITIES

__all__ = ["CommandParser", "attribute_helps"]

_KINDS: dict[Any, tuple[str, str]] = {
    int: ("N", "a whole number"),
    float: ("X", "a number"),
    bool: ("", "true or false"),
    Path: ("PATH", "a path"),
    str: ("TEXT", "a text"),
}

_TRUTHS = ("true", "false", "yes", "no")


class _OnceLoader(yaml.SafeLoader):
    """Refuses a field that is written twice: YAML's own reader takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{shown(name)} is there twice")
        return super().construct_mapping(node, deep=deep)


class _HelpFormatter(DefaultHelpFormatter):
    """Help texts with defaults, without the names of Python types."""

    def _get_help_string(self, action: Any) -> str:
        text = (action.help or "").replace("%", "%%")
        if action.dest == "print_config":
            return "print the effective configuration as YAML and exit"
        if action.default is None or action.default is False or not action.option_strings or action.dest == "help":
            return text
        return text if action.default == "==SUPPRESS==" else f"{text} (default: {action.default})"


class CommandParser(ArgumentParser):
    """Parser of one command. Every problem is a UserError; options are accepted with dashes and underscores.

    Attributes:
        paths: names of the values that are paths.
    """

    def __init__(self, command: str, description: str = "") -> None:
        super().__init__(
            prog=f"fpnas {command}",
            description=description,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            default_env=False,
        )
        self.paths = {"config"}
        self._command = command
        self._accepted: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._fields: set[str] = set()
        self._flags: set[str] = set()
        self._tokens: list[str] = []

    def add(self, name: str, kind: Any = str, **options: Any) -> None:
        """Add an argument or `--option` of a kind (int, float, bool, str, Path, or one of these or None)."""
        plain = next(known for known in _KINDS if known in (kind, *getattr(kind, "__args__", ())))
        metavar, accepted = _KINDS[plain]
        field = name.lstrip("-").replace("-", "_")
        self._accepted[field] = accepted
        self._labels[field] = name if name.startswith("-") else options.get("metavar", name)
        if plain is Path:
            self.paths.add(field)
        if field == "target_macs":
            self._accepted[field] = ACCEPTED_QUANTITIES
        if plain is bool:
            self._flags |= {f"--{field}".replace("_", "-"), f"--no-{field}".replace("_", "-")}
            # nargs "?" accepts --quiet=true beside --quiet and --no-quiet.
            self.add_argument(name, action=ActionYesNo(no_prefix="no-"), nargs="?", **options)
        else:
            self.add_argument(name, type=kind, **({"metavar": metavar} | options))

    def add_configuration(self, configuration: type) -> None:
        """Add `--config` and an option for every field of a dataclass; help is its docstring's Attributes."""
        self.add_argument(
            "--config",
            action="config",
            metavar="FILE",
            help="YAML file or built-in recipe; the command line wins over it",
        )
        hints = get_type_hints(configuration)
        helps = attribute_helps(configuration)
        for field in fields(configuration):
            self._fields.add(field.name)
            required = field.default is MISSING
            # A quantity in YAML may be a number: 2500000 as well as 2.5M.
            kind = str | int | float if field.name == "target_macs" else hints[field.name]
            options = {"required": True} if required else {"default": field.default}
            self.add("--" + field.name.replace("_", "-"), kind, help=helps.get(field.name, ""), **options)

    def parse(self, arguments: Sequence[str]) -> Any:
        """The values of a command line, as a namespace.

        Raises:
            UserError: whatever is wrong, in one line with option, value and what is accepted.
        """
        end = arguments.index("--") if "--" in arguments else len(arguments)
        options = _config_first(self._decided([_dashed(token) for token in arguments[:end]]))
        # What is behind -- is no option, whatever it looks like.
        self._tokens = [*options, *arguments[end:]]
        for path in self._given("config"):
            self._check_config_file(path)
        return self.parse_args(self._tokens)

    def _decided(self, tokens: Sequence[str]) -> list[str]:
        """Tokens with `--flag=true` for a flag that stands alone: no argument behind it is taken for its value."""
        return [
            f"{token}=true" if token in self._flags and following.lower() not in _TRUTHS else token
            for token, following in zip(tokens, (*tokens[1:], ""), strict=False)
        ]

    def dump(self, namespace: Any, *arguments: Any, **options: Any) -> str:
        """The configuration as YAML, for --print_config: its fields alone, so that --config can read it again."""
        kept = namespace.clone()
        for name in list(vars(kept)):
            if name not in self._fields:
                del kept[name]
        return super().dump(kept, *arguments, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Called by the libraries below with their own message."""
        raise UserError(self._explain(message)) from None

    def _given(self, field: str) -> list[str]:
        """Values of an option as they stand on the command line."""
        option = "--" + field.replace("_", "-")
        values = [token.partition("=")[2] for token in self._tokens if token.startswith(option + "=")]
        values += [value for token, value in zip(self._tokens, self._tokens[1:], strict=False) if token == option]
        return values

    def _check_config_file(self, path: str) -> None:
        where = f"--config {path}"
        try:
            content = yaml.load(read_text(path, "--config"), _OnceLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise UserError(f"{where}: broken YAML: {error}") from None
        if not isinstance(content, dict):
            raise UserError(f"{where}: {shown(content)}: lines such as `epochs: 20` are expected")
        for name in content:
            if name not in self._accepted:
                known = ", ".join(self._accepted)
                raise UserError(f"{where}: unknown field {shown(name)}; accepted are {known}")
            if f"--{name}".replace("_", "-") in self._flags and not isinstance(content[name], bool):
                raise UserError(f"{where}: {name} = {shown(content[name])}: true or false is accepted")

    def _explain(self, message: str) -> str:
        see = f"`{self.prog} --help` says what is accepted"
        if match := re.match(r'(?:Parser key|Key) "([\w.]+)"', message):
            field = match[1]
            accepted = f"{self._accepted.get(field, 'another value')} is accepted"
            found = re.search(r"(?:Got|Given) value: (.*)", message)
            given, path = self._given(field), self._given("config")
            # A file is read first: what is wrong may be its value, though the command line has another.
            if given and not (path and found and found[1].strip("'\"") != given[-1]):
                return f"{self._labels.get(field, field)} {given[-1]}: {accepted}"
            value = f" = {shown(found[1])}" if found else ""
            place = f"--config {path[-1]}" if path else self._command
            return f"{place}: {field}{value}: {accepted}"
        if match := re.match(r"the following arguments are required: (.*)", message):
            missing = ", ".join(self._labels.get(name, name) for name in match[1].split(", "))
            return f"{self._command}: {missing} missing; {see}"
        if match := re.match(r"argument (--[\w-]+).*: invalid _boolean_type value: '?(.*?)'?$", message):
            return f"{match[1]} {match[2]}: true or false is accepted"
        if match := re.match(r"unrecognized arguments: (.*)", message, re.DOTALL):
            return f"{self._command}: unknown option or surplus argument {match[1]}; {see}"
        return f"{self._command}: {message}; {see}"


def _dashed(token: str) -> str:
    """An option's name with dashes, whichever way it was written; values stay as they are."""
    name, equals, value = token.partition("=")
    if not name.startswith("--"):
        return token
    name = name.replace("_", "-")
    # The library's own option has an underscore.
    return ("--print_config" if name == "--print-config" else name) + equals + value


def _config_first(tokens: Sequence[str]) -> list[str]:
    """Tokens with `--config=FILE` in front, by its path: later ones win, and that must be those of the command line."""
    first: list[str] = []
    others: list[str] = []
    rest = iter(tokens)
    for token in rest:
        if token == "--config" and (value := next(rest, None)) is not None:
            first.append(f"--config={find_recipe(value)}")
        elif token.startswith("--config="):
            first.append(f"--config={find_recipe(token.partition('=')[2])}")
        else:
            others.append(token)
    return first + others


def attribute_helps(configuration: type) -> dict[str, str]:
    """Help texts by field, from the Attributes section of a dataclass's docstring and those of its bases."""
    helps: dict[str, str] = {}
    for described in reversed(configuration.__mro__):
        section = (described.__doc__ or "").partition("Attributes:")[2]
        last = ""
        for line in section.splitlines():
            match = re.match(r" {8}(\w+): (.*)", line)
            if match:
                last = match[1]
                helps[last] = match[2].strip().rstrip(".")
            elif last and line.startswith(" " * 12):
                helps[last] = f"{helps[last]} {line.strip()}".rstrip(".")
    return helps
