"""Weights that a training starts from: those of another training, or the slices a search trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from timm.models import adapt_input_conv
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.errors import UserError
from fpnas.finished_search import FinishedSearch, open_finished_search
from fpnas.model_folder import TrainedModel
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.nn.network import Network, build_network
from fpnas.runtime.setup import generator_for, pick_device
from fpnas.runtime.weights import digest_of
from fpnas.space import SearchSpace
from fpnas.train_config import TrainConfig
from fpnas.training.augment import normalise
from fpnas.training.batches import iterate
from fpnas.training.data import DataSet
from fpnas.training.evaluation import recalibrate_batch_norm

__all__ = [
    "architecture_of",
    "check_one_start",
    "fitted_slices",
    "network_of_search",
    "slices_of_search",
    "starting_network",
    "weights_from_model",
]

_FIRST = "stem.conv.weight"
_IMAGES_FOR_STATISTICS = 5000


def starting_network(
    spec: NetworkSpec, dataset: DataSet, config: TrainConfig, initial: TrainedModel | None = None
) -> tuple[Network, dict[str, str]]:
    """The network that a training starts from.

    Args:
        spec: fitted to the data.
        dataset: by whose training images statistics are measured where weights come from a search.
        config: of the training.
        initial: a trained network of these blocks.

    Returns:
        The network on its device, and a digest of its weights where they are not fresh.

    Raises:
        UserError: weights from two sources, of other blocks, or of a search that does not fit.
    """
    check_one_start(config, initial)
    device = pick_device(config.device)
    # Whoever calls keeps their own random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        network = build_network(spec, drop_rate=config.dropout, drop_path_rate=config.drop_path)
        if initial:
            given = initial.network.state_dict()
            weights = weights_from_model(initial, spec, dataset.class_names)
        elif config.from_search:
            given = slices_of_search(config.from_search, spec)
            weights = fitted_slices(given, network.state_dict())
        else:
            return network, {}
    expected, found = (
        {name: value.shape for name, value in tensors.items()} for tensors in (network.state_dict(), weights)
    )
    strange = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    # The classifier alone may stay as it is.
    if wrong := [name for name in strange if name in found or not name.startswith("classifier.")]:
        raise UserError(f"the weights to start from are not of this network: tensor {wrong[0]} is missing or another")
    network.load_state_dict(weights, strict=False)
    # Of what was given, not of what is computed from it: the last bits of that are the machine's and the threads'.
    identity = {"the weights to start from": digest_of(given.values())[:16]}
    network = network.to(device).to(memory_format=torch.channels_last)
    if config.from_search:
        recalibrate_batch_norm(network, _some_images(dataset, config, device))
    return network, identity


def check_one_start(config: TrainConfig, initial: TrainedModel | None) -> None:
    """Raises UserError where weights would come from a search and from a model."""
    if initial and config.from_search:
        raise UserError("--from-search: the network has weights of its own; a network file is accepted with it")


def _some_images(dataset: DataSet, config: TrainConfig, device: torch.device) -> Iterator[Tensor]:
    """Training images for statistics, as they are."""
    source = dataset.train
    assert source is not None
    order = torch.randperm(len(source), generator=generator_for(config.seed, "statistics"))
    # Batches of two at most may leave a single image, which has no variance where a map is of one pixel.
    size = max(3, config.batch_size)
    for images, _ in iterate(source, size, order[:_IMAGES_FOR_STATISTICS], config.workers, evenly=True):
        yield normalise(images, dataset.mean, dataset.std, device)


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
    own = resolve(space, architecture, input_size=spec.input_size)
    same = (own.stem, own.blocks, own.head, own.gate) == (spec.stem, spec.blocks, spec.head, spec.gate)
    return architecture if same else None


def network_of_search(path: Path, spec: NetworkSpec) -> tuple[FinishedSearch, Architecture]:
    """A finished search, and the architecture of its space that a network is.

    Raises:
        UserError: no finished search, or a network that is not of its space.
    """
    search = open_finished_search(path, "--from-search")
    architecture = architecture_of(search.space, spec)
    if architecture is None:
        raise UserError(
            f"--from-search {path}: network {spec.name} is not of the space {search.space.name} it searched"
        )
    return search, architecture


def slices_of_search(path: Path, spec: NetworkSpec) -> dict[str, Tensor]:
    """The slices of a search's shared weights that a network uses, for the channels and classes of the search.

    Args:
        path: the search's run directory.
        spec: a network of its space.

    Raises:
        UserError: no finished search, or a network that is not of its space.
    """
    search, architecture = network_of_search(path, spec)
    supernet = search.supernet()
    classes, channels = supernet.classifier.out_features, supernet.stem.conv.in_channels
    sliced = resolve(search.space, architecture, input_size=spec.input_size, in_channels=channels, num_classes=classes)
    return supernet.extract(sliced).state_dict()


def fitted_slices(slices: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Slices of a search as the start of a training; the classifier where the classes are as many.

    The stem's filters are fitted to another number of channels, as `weights_from_model` does it. Convolutions have the
    norms of fresh weights. Batch norm statistics are those of many networks and have to be measured anew.

    Args:
        slices: as `slices_of_search` gives them.
        fresh: the network that is to take them; what has another shape is left out.
    """
    tensors = dict(slices)
    channels = fresh[_FIRST].shape[1]
    if tensors[_FIRST].shape[1] != channels:
        tensors[_FIRST] = _adapted(tensors[_FIRST], channels)
    _bring_to_fresh_norms(tensors, fresh)
    return {name: value for name, value in tensors.items() if value.shape == fresh[name].shape}


def _bring_to_fresh_norms(tensors: dict[str, Tensor], fresh: Mapping[str, Tensor]) -> None:
    """Scale every convolution that a batch norm follows to the norm that it has in a network of fresh weights.

    The function stays the same: the statistics of the batch norm are scaled along. What changes is how fast the
    convolution learns, as a step of SGD turns a longer vector less. A search leaves its stem seven times as long as it
    was, which a training would then turn fifty times more slowly.
    """
    for norm in [name.removesuffix("running_var") for name in tensors if name.endswith("norm.running_var")]:
        name = norm.removesuffix("norm.") + "conv.weight"
        length = tensors[name].norm()
        if length > 0:
            scale = fresh[name].norm() / length
            tensors[name] = tensors[name] * scale
            tensors[f"{norm}running_mean"] = tensors[f"{norm}running_mean"] * scale
            tensors[f"{norm}running_var"] = tensors[f"{norm}running_var"] * scale**2
