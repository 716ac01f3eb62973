"""The directory of a run: where everything that a search or a training leaves has its name."""

import fcntl
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import yaml

from fpnas.checks import is_text, shown
from fpnas.errors import UserError, tell
from fpnas.files import read_text, what_is_at, write_text_atomic
from fpnas.launcher import launch_id
from fpnas.network_file import NETWORK_NAME
from fpnas.runtime.environment import environment
from fpnas.version import __version__

__all__ = ["CONFIG_FILE", "MAY_CHANGE", "METRICS_FILE", "MISTAKES_FILE", "RESULT_FILE", "RunDirectory", "goes_on"]

CONFIG_FILE, METRICS_FILE = "config.yaml", "metrics.jsonl"
RESULT_FILE, MISTAKES_FILE = "result.json", "mistakes.json"

MAY_CHANGE = (
    "output",
    "resume",
    "workers",
    "threads",
    "device",
    "quiet",
    "on_bad_image",
    "checkpoint_every",
    "evaluate_every",
    "parallel",
)
"""Fields of a configuration that a run may go on with other values of."""

_KINDS = ("search", "train")
_LAUNCH = ".launch"


def goes_on(path: Path, resume: bool) -> bool:
    """Whether the run at a path goes on: as asked, or because the launch that began it starts its processes again."""
    if resume or not launch_id() or what_is_at(path / _LAUNCH, "--output") != "file":
        return resume
    return (path / _LAUNCH).read_text() == launch_id()


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk.

    Attributes:
        path: the directory.
        kind: `search` or `train`.
        config: the effective configuration that the run was started with.
        goes_on: whether it was begun before, and is to go on.
        lock: held open by the process that is at work on the run.
        made_with: version, machine, time and command by their names, as far as they were written down.
    """

    path: Path
    kind: str
    config: dict[str, Any]
    goes_on: bool = field(default=False, compare=False)
    lock: IO[str] | None = field(default=None, compare=False, repr=False)
    made_with: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def check_free(cls, path: str | os.PathLike[str], *, resume: str | None = None, runs: Collection[str] = ()) -> None:
        """Check that a run can be made at a path. Writes nothing, so that it can come before slow work.

        Args:
            path: where; must be new or empty.
            resume: a kind of run that may be there and go on.
            runs: names of directories in it that are to be runs; they may be there, free.

        Raises:
            UserError: the path is a file or a directory with other content, or cannot be made.
        """
        target = Path(path)
        if resume and what_is_at(target / CONFIG_FILE, "--output"):
            cls.open(target, resume)
            return
        try:
            if target.is_dir():
                if not _is_free(target, runs):
                    what = "another run" if (target / CONFIG_FILE).exists() else "other files"
                    more = "; a search or training goes on by --resume" if what == "another run" else ""
                    raise UserError(f"--output {target}: holds {what}; a new or empty directory is accepted{more}")
            elif os.path.lexists(target):
                raise UserError(f"--output {target}: is a file; a new or empty directory is accepted")
            existing = target
            while not os.path.lexists(existing):
                existing = existing.parent
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"--output {target}: cannot be used: {reason}") from None
        if not is_text(str(target)):  # which TensorBoard cannot write to
            raise UserError(f"--output {shown(str(target))}: its name is not UTF-8")
        if "\0" in str(target):
            raise UserError(f"--output {shown(str(target))}: a path cannot hold a null character")
        if not existing.is_dir():
            raise UserError(f"--output {target}: cannot be made: {existing} is not a directory")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f"--output {target}: cannot be made: {existing} is not writable")

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        kind: str,
        config: Mapping[str, Any],
        *,
        resume: Collection[str] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> "RunDirectory":
        """Make the directory of a new run, with its configuration, or take that of a run that goes on.

        Args:
            path: where; must be new or empty, unless a run goes on.
            kind: `search` or `train`.
            config: the effective configuration; paths are stored as text.
            resume: with any, a run that is there goes on; those fields of its configuration may have changed.
            defaults: of fields, for a run from before there were such fields.

        Raises:
            UserError: as `check_free`; nothing is left then. A run that goes on has another configuration, or another
                process is at work on it.
        """
        assert kind in _KINDS, kind
        cls.check_free(path, resume=None if resume is None else kind)
        plain = _plain(config)
        begun = resume is not None and (Path(path) / CONFIG_FILE).exists()
        if begun:
            cls.check_same(path, kind, plain, may_change=resume or (), defaults=defaults)
        directory = Path(path)
        try:
            (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
            lock = (directory / ".lock").open("w")
        except OSError as error:
            raise UserError(f"--output {directory}: cannot be made: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UserError(f"--output {directory}: another process is at work on this run") from None
        except OSError as error:  # a file system without locks
            tell(f"fpnas: --output {directory}: cannot be locked: {error.strerror}; no other process may work on it")
        run = cls(directory, kind, plain, begun, lock)
        if not begun:
            cls.check_free(directory)  # another process may have been quicker, and done
            if launch_id():
                write_text_atomic(directory / _LAUNCH, launch_id())
            document = {"kind": kind, "fpnas": __version__, "environment": environment(), "configuration": plain}
            write_text_atomic(run.config_path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
        return run

    @classmethod
    def check_same(
        cls,
        path: str | os.PathLike[str],
        kind: str,
        config: Mapping[str, Any],
        *,
        may_change: Collection[str],
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Check that a run that goes on has the configuration that it was begun with.

        Args:
            path, kind, config, defaults: as `create` takes them.
            may_change: fields that may have other values now.

        Raises:
            UserError: it has another one, or there is no such run.
        """
        before = {**(defaults or {}), **cls.open(path, kind).config}
        now = _plain(config)
        names = [name for name in now if name not in may_change and now[name] != before.get(name)]
        if names:
            changes = ", ".join(f"{name} {shown(before.get(name))}, now {shown(now[name])}" for name in names)
            raise UserError(f"--resume: run {path} has another configuration: {changes}")

    @classmethod
    def open(cls, path: str | os.PathLike[str], kind: str | None = None) -> "RunDirectory":
        """An existing run.

        Args:
            path: the run's directory.
            kind: `search` or `train` when only that will do.

        Raises:
            UserError: not a run, or one of the other kind.
        """
        directory = Path(path)
        found = what_is_at(directory, "run")
        if found != "folder":
            problem = "not a directory" if found else "no such directory"
            raise UserError(f"run {directory}: {problem}; the --output of a search or training is expected")
        config_path = directory / CONFIG_FILE
        if not what_is_at(config_path, "run"):
            raise UserError(f"run {directory}: has no {CONFIG_FILE}; the --output of a search or training is expected")
        try:
            document = yaml.safe_load(read_text(config_path, "run configuration"))
        except (yaml.YAMLError, RecursionError, ValueError):
            raise UserError(f"run configuration {config_path}: broken YAML") from None
        if not isinstance(document, dict) or document.get("kind") not in _KINDS:
            found = shown(document.get("kind") if isinstance(document, dict) else document)
            raise UserError(f"run configuration {config_path}: kind = {found}: search or train is accepted")
        config = document.get("configuration")
        if not isinstance(config, dict):
            raise UserError(f"run configuration {config_path}: configuration is missing")
        if odd := [name for name in config if not isinstance(name, str)]:
            raise UserError(f"run configuration {config_path}: unknown field {shown(odd[0])}")
        if kind is not None and document["kind"] != kind:
            raise UserError(f"run {directory}: is a {document['kind']} run; a {kind} run is expected")
        known = document.get("environment")
        made_with = {"fpnas": document.get("fpnas"), **(known if isinstance(known, dict) else {})}
        made_with = {str(name): str(value) for name, value in made_with.items() if value is not None}
        return cls(directory, document["kind"], config, made_with=made_with)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let another process, or the next call of this one, be at work on the run."""
        if self.lock:
            self.lock.close()

    @property
    def config_path(self) -> Path:
        return self.path / CONFIG_FILE

    @property
    def space_path(self) -> Path:
        """The space of a search as it was, whatever becomes of the file or the built-in space it came from."""
        return self.path / "space.toml"

    @property
    def split_path(self) -> Path:
        """Which training images were in which half of a search."""
        return self.path / "split.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def architecture_path(self) -> Path:
        return self.path / "architecture.json"

    @property
    def network_path(self) -> Path:
        return self.path / NETWORK_NAME

    @property
    def result_path(self) -> Path:
        return self.path / RESULT_FILE

    @property
    def mistakes_path(self) -> Path:
        """What a training takes for what, and the images that it is most wrong about."""
        return self.path / MISTAKES_FILE

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def search_state_path(self) -> Path:
        """Distribution and shared weights at the end of a search."""
        return self.checkpoints / "final.safetensors"


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is written, with paths as text."""
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in config.items()}


def _is_free(directory: Path, runs: Collection[str] = ()) -> bool:
    """Whether there is nothing but what a run leaves that was killed while it made its directory, or one of `runs`."""
    return all(
        path.name in (".lock", _LAUNCH)
        or path.name.startswith((f".{CONFIG_FILE}.", f".{_LAUNCH}."))
        or ((path.name == "checkpoints" or path.name in runs) and path.is_dir() and _is_free(path))
        for path in directory.iterdir()
    )
