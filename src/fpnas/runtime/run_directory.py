"""The directory of a run: where everything that a search or a training leaves has its name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fpnas.checks import shown
from fpnas.errors import UserError
from fpnas.files import read_text, write_text_atomic
from fpnas.version import __version__

__all__ = ["RunDirectory"]

_KINDS = ("search", "train")


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk.

    Attributes:
        path: the directory.
        kind: `search` or `train`.
        config: the effective configuration that the run was started with.
    """

    path: Path
    kind: str
    config: dict[str, Any]

    @staticmethod
    def check_free(path: str | os.PathLike[str]) -> None:
        """Check that a new run can be made at a path. Writes nothing, so that it can come before slow work.

        Raises:
            UserError: the path is a file or a directory with content, or cannot be made.
        """
        target = Path(path)
        try:
            if target.is_dir():
                if any(target.iterdir()):
                    what = "another run" if (target / "config.yaml").exists() else "other files"
                    raise UserError(f"--output {target}: holds {what}; a new or empty directory is accepted")
            elif os.path.lexists(target):
                raise UserError(f"--output {target}: is a file; a new or empty directory is accepted")
            existing = target
            while not os.path.lexists(existing):
                existing = existing.parent
        except (OSError, ValueError) as error:
            raise UserError(f"--output {target}: cannot be used: {error}") from None
        if "\0" in str(target):
            raise UserError(f"--output {shown(str(target))}: a path cannot hold a null character")
        if not existing.is_dir():
            raise UserError(f"--output {target}: cannot be made: {existing} is not a directory")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f"--output {target}: cannot be made: {existing} is not writable")

    @classmethod
    def create(cls, path: str | os.PathLike[str], kind: str, config: Mapping[str, Any]) -> "RunDirectory":
        """Make the directory of a new run, with its configuration.

        Args:
            path: where; must be new or empty.
            kind: `search` or `train`.
            config: the effective configuration; paths are stored as text.

        Raises:
            UserError: as `check_free`; nothing is left then.
        """
        assert kind in _KINDS, kind
        cls.check_free(path)
        plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in config.items()}
        run = cls(Path(path), kind, plain)
        document = {"kind": kind, "fpnas": __version__, "configuration": plain}
        try:
            run.checkpoints.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"--output {run.path}: cannot be made: {error.strerror}") from None
        write_text_atomic(run.config_path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
        return run

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
        if not directory.is_dir():
            problem = "not a directory" if os.path.lexists(directory) else "no such directory"
            raise UserError(f"run {directory}: {problem}; the --output of a search or training is expected")
        config_path = directory / "config.yaml"
        if not config_path.exists():
            raise UserError(f"run {directory}: has no config.yaml; the --output of a search or training is expected")
        try:
            document = yaml.safe_load(read_text(config_path, "run configuration"))
        except yaml.YAMLError:
            raise UserError(f"run configuration {config_path}: broken YAML") from None
        if not isinstance(document, dict) or document.get("kind") not in _KINDS:
            found = shown(document.get("kind") if isinstance(document, dict) else document)
            raise UserError(f"run configuration {config_path}: kind = {found}: search or train is accepted")
        config = document.get("configuration")
        if not isinstance(config, dict):
            raise UserError(f"run configuration {config_path}: configuration is missing")
        if kind is not None and document["kind"] != kind:
            raise UserError(f"run {directory}: is a {document['kind']} run; a {kind} run is expected")
        return cls(directory, document["kind"], config)

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def space_path(self) -> Path:
        """The space of a search as it was, whatever becomes of the file or the built-in space it came from."""
        return self.path / "space.toml"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def architecture_path(self) -> Path:
        return self.path / "architecture.json"

    @property
    def network_path(self) -> Path:
        return self.path / "network.json"

    @property
    def result_path(self) -> Path:
        return self.path / "result.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def search_state_path(self) -> Path:
        """Distribution and shared weights at the end of a search."""
        return self.checkpoints / "final.safetensors"

    @property
    def weights_path(self) -> Path:
        """Weights of a trained network."""
        return self.path / "model.safetensors"

    @property
    def preprocessing_path(self) -> Path:
        """What turns an image into a trained network's input."""
        return self.path / "preprocessing.json"
