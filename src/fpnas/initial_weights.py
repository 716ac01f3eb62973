"""Weights that a training starts from: those of another training, or the slices a search trained."""

from collections.abc import Mapping
from pathlib import Path

from timm.models import adapt_input_conv
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.errors import UserError
from fpnas.finished_search import open_finished_search
from fpnas.model_folder import TrainedModel
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.supernet import SuperNet
from fpnas.space import SearchSpace

__all__ = ["architecture_of", "weights_from_model", "weights_from_search"]

_FIRST = "stem.conv.weight"


def weights_from_model(model: TrainedModel, spec: NetworkSpec, class_names: tuple[str, ...]) -> dict[str, Tensor]:
    """What a network for other data takes over from a trained one of the same blocks.

    The classifier is left out unless the classes are the same; the stem's filters are summed or repeated for another
    number of channels, as timm does.
    """
    tensors = dict(model.network.state_dict())
    if model.class_names != class_names:
        for name in [name for name in tensors if name.startswith("classifier.")]:
            del tensors[name]
    if model.network.spec.in_channels != spec.in_channels:
        tensors[_FIRST] = _adapted(tensors[_FIRST], spec.in_channels)
    return tensors


def _adapted(filters: Tensor, channels: int) -> Tensor:
    """The stem's filters for another number of input channels."""
    if filters.shape[1] == 1:  # timm starts from three
        filters = filters.repeat(1, 3, 1, 1) / 3
    return adapt_input_conv(channels, filters)


def architecture_of(space: SearchSpace, spec: NetworkSpec) -> Architecture | None:
    """The architecture of a space that a network is, or None where it is no network of the space."""
    rows: list[tuple[int, ...]] = []
    first = 0
    for group in space.groups:
        if first >= len(spec.blocks):
            return None
        block = spec.blocks[first]
        row = []
        for choice in group.choices:
            value = getattr(block, choice.name)
            if value not in choice.values:
                return None
            row.append(choice.values.index(value))
        rows.append(tuple(row))
        first += group.repeat
    architecture = Architecture.of(rows)
    # Input channels and classes decide nothing about the blocks.
    same = resolve(space, architecture, input_size=spec.input_size).blocks == spec.blocks
    return architecture if same and (space.stem, space.head) == (spec.stem, spec.head) else None


def weights_from_search(path: Path, spec: NetworkSpec, tensors_to_fit: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The slices of a search's shared weights that a network uses; the classifier where the classes are as many.

    Their batch norm statistics are those of many networks and have to be measured anew.

    Args:
        path: the search's run directory.
        spec: a network of its space.
        tensors_to_fit: of the network that is to take them; what has another shape is left out.

    Raises:
        UserError: no finished search, or a network that is not of its space.
    """
    search = open_finished_search(path, "--from-search")
    space = search.space
    architecture = architecture_of(space, spec)
    if architecture is None:
        raise UserError(f"--from-search {path}: network {spec.name} is not of the space {space.name} it searched")
    prefix = "supernet."
    shared = {name.removeprefix(prefix): value for name, value in search.tensors.items() if name.startswith(prefix)}
    try:
        classes, channels = shared["classifier.weight"].shape[0], shared["stem.conv.weight"].shape[1]
        supernet = SuperNet(space, in_channels=channels, num_classes=classes)
        supernet.load_state_dict(shared)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{search.run.search_state_path}: not the shared weights of this space: {error}") from None
    sliced = resolve(space, architecture, input_size=spec.input_size, in_channels=channels, num_classes=classes)
    extracted = supernet.extract(sliced).state_dict()
    return {name: value for name, value in extracted.items() if value.shape == tensors_to_fit[name].shape}
