"""How a run was made: versions, machine, commands and every setting."""

import os
import shlex
from collections.abc import Iterable
from html import escape
from typing import Any

from fpnas.report.runs import ReportedRun
from fpnas.space import SearchSpace, builtin_space_names
from fpnas.space_file import load_space
from fpnas.strategies import settings_without_effect

__all__ = ["full_command", "settings_of"]

_FIRST = ("data", "space", "target_macs", "output")
_NEVER = ("resume",)


def full_command(run: ReportedRun) -> list[str]:
    """The words of the command with every setting that was in effect: other versions have other defaults."""
    left_out = {*_NEVER, *settings_without_effect(run.config.get("strategy"))}
    config = {name: value for name, value in run.config.items() if value is not None and name not in left_out}
    if (
        run.kind == "search"
        and not _is_known_space(config.get("space"), run.space)
        and run.directory.space_path.is_file()
    ):
        config["space"] = run.directory.space_path  # it was given as an object, which the run kept
    names = [*(name for name in _FIRST if name in config), *(name for name in config if name not in _FIRST)]
    # With "=", whatever a value begins with.
    options = [f"--{name.replace('_', '-')}={_as_option(config[name])}" for name in names]
    return ["fpnas", run.kind, *(["NETWORK"] if run.kind == "train" else []), *options]


def _is_known_space(name: Any, space: SearchSpace | None) -> bool:
    """Whether `--space` takes it for that space, here and now, or would where its file is."""
    if name in builtin_space_names():
        return space is None or load_space(name).digest == space.digest
    return str(name).endswith(".toml") or os.path.isfile(str(name))


def _as_option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_of(run: ReportedRun, *, opened: bool) -> str:
    """What a run was made with, as HTML; every setting behind a summary that opens."""
    made_with = dict(run.directory.made_with)
    command = made_with.pop("command", "")
    seed = run.config.get("seed")
    facts = {"seed": "unknown" if seed is None else seed, **made_with}
    note = "NETWORK is the file or folder that was given." if run.kind == "train" else ""
    parts = [_table("made with", facts)]
    if command:
        parts.append(f"<p>As it was called:</p>{_command(command.split(' '))}")
    if run.own_cost:  # which the command line does not know
        parts.append(f"<p>In Python: fpnas.search(..., cost={escape(run.own_cost[0])}, target={run.own_cost[1]}).</p>")
    else:
        parts.append(f"<p>With every setting. {note}</p>{_command(map(shlex.quote, full_command(run)))}")
    every = {name: "not set" if value is None else value for name, value in run.config.items()}
    every |= dict.fromkeys(settings_without_effect(run.config.get("strategy")), "without effect in this strategy")
    parts.append(f"<details><summary>Every setting, one by one</summary>{_table('setting', every)}</details>")
    summary = "Versions, machine, seed, commands and settings"
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>{''.join(parts)}</details>"


def _command(words: Iterable[str]) -> str:
    """A command whose lines end between words alone."""
    return f"<pre>{' '.join(f'<span>{escape(word)}</span>' for word in words)}</pre>"


def _table(head: str, values: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return (
        f"<table class='settings'><thead><tr><th scope='col'>{head}</th><th scope='col'>value</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
