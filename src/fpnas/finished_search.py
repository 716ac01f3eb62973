"""A search that has ended, opened again: its space, and the weights and distribution it left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fpnas.errors import UserError
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.weights import load_weights
from fpnas.space import SearchSpace
from fpnas.space_file import load_space

__all__ = ["FinishedSearch", "open_finished_search"]


@dataclass(frozen=True)
class FinishedSearch:
    """What `search_result.write_result` left.

    Attributes:
        run: the directory.
        space: that was searched.
        tensors: the shared weights as `supernet.NAME`, and `distribution.logits`.
        metadata: the distribution's kind, and whether it learned.
    """

    run: RunDirectory
    space: SearchSpace
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def supernet(self) -> SuperNet:
        """The shared weights, for as many channels and classes as the data of the search had.

        Raises:
            UserError: the file does not hold the shared weights of this space.
        """
        prefix = "supernet."
        shared = {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}
        try:
            classes, channels = shared["classifier.weight"].shape[0], shared["stem.conv.weight"].shape[1]
            supernet = SuperNet(self.space, in_channels=channels, num_classes=classes)
            supernet.load_state_dict(shared)
        except (KeyError, RuntimeError) as error:
            raise UserError(f"{self.run.search_state_path}: not the shared weights of this space: {error}") from None
        return supernet


def open_finished_search(path: Path, named: str) -> FinishedSearch:
    """Open the run directory of a search.

    Args:
        path: the directory.
        named: how the user named it, for the messages, e.g. `--from-search`.

    Raises:
        UserError: no finished search, or a space file that has changed since.
    """
    run = RunDirectory.open(path, "search")
    if not run.search_state_path.is_file():
        raise UserError(f"{named} {path}: {run.search_state_path.name} is missing: the search has not ended")
    space = load_space(run.space_path)
    tensors, metadata = load_weights(run.search_state_path, "search state")
    if metadata.get("space") != space.digest:
        raise UserError(f"{named} {path}: {run.space_path.name} has changed since this search")
    return FinishedSearch(run, space, tensors, metadata)
