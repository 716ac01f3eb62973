"""An activation of one's own, by name: everything that knows the built-in ones knows it."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from own_names import tables_as_before
from sampled import uniform_indices
from torch import Tensor, nn
from varied import NUM_CLASSES, normal_images, varied_supernet

from fpnas.architecture import Architecture
from fpnas.cost import network_cost
from fpnas.errors import UserError
from fpnas.network_file import network_from_json, network_to_json
from fpnas.network_spec import resolve
from fpnas.nn.masked import masked_forward
from fpnas.nn.network import build_network
from fpnas.nn.ops import ACTIVATION_FUNCTIONS, ACTIVATION_MODULES, register_activation
from fpnas.space import ACTIVATIONS, VARIABLES, SearchSpace
from fpnas.space_file import parse_space

SPACE = """
format = "fpnas.space/1"
name = "waves"
source = "a test"
input_size = 6
in_channels = 1
num_classes = 10
share = "group"
stem = { kernel = 3, channels = 16, stride = 1, activation = "wave" }
head = { kind = "conv", channels = 24, activation = "wave" }

[[group]]
kernel = [0, 3, 5]
activation = ["relu", "wave"]
splits = [0, 1, 2]
expansion = [0.75, 1, 3]
channels = [8, 24]
repeat = 2
stride = 2
"""


class Wave(nn.Module):
    """Not 0 at 0, so that a channel which is masked too late shows."""

    def forward(self, images: Tensor) -> Tensor:
        return images.cos() + 0.1 * images


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """The tables as they were before."""
    with tables_as_before():
        yield


@pytest.fixture
def space() -> SearchSpace:
    register_activation("wave", Wave)
    return parse_space(SPACE, "here")


def one_hot(space: SearchSpace, row: Tensor) -> list[dict[str, Tensor]]:
    rows = zip(row, space.cardinalities, strict=True)
    return [
        {name: F.one_hot(index, size).double() for name, index, size in zip(VARIABLES, indices, sizes, strict=True)}
        for indices, sizes in rows
    ]


@pytest.mark.parametrize("train", [True, False])
def test_supernet_masks_and_network_agree(space: SearchSpace, train: bool) -> None:
    supernet, images = varied_supernet(space, torch.float64).train(train), normal_images(6, dtype=torch.float64)
    state = {key: value.clone() for key, value in supernet.state_dict().items()}
    waves = 0
    for row in uniform_indices(space, 30):
        spec = resolve(space, Architecture.of(row))
        waves += spec.blocks[0].activation == "wave" and spec.blocks[0].kernel > 0
        supernet.load_state_dict(state)
        network = supernet.extract(spec).train(train)
        expected = supernet(images, spec)
        torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)
        supernet.load_state_dict(state)
        torch.testing.assert_close(
            masked_forward(supernet, images, one_hot(space, row)), expected, rtol=1e-9, atol=1e-9
        )
    assert waves >= 5
    assert varied_supernet(space, torch.float64).classifier.out_features == NUM_CLASSES


def test_files_and_costs_know_it(space: SearchSpace) -> None:
    (row,) = uniform_indices(space, 1)
    spec = resolve(space, Architecture.of(row))
    assert network_from_json(network_to_json(spec), "there") == spec
    assert network_cost(spec).params == sum(p.numel() for p in build_network(spec).parameters())


def test_what_is_not_registered_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="activation = 'wave': one of relu, swish, hswish is accepted"):
        parse_space(SPACE, "here")


def test_the_same_again_is_no_mistake(space: SearchSpace) -> None:
    register_activation("wave", Wave)
    assert ACTIVATIONS.count("wave") == 1


class Shared(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean(1, keepdim=True)


class InPlace(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mul_(2)


class Pooled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images[..., ::2, ::2]


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        ("relu", Wave, "there is one of that name"),
        ("two words", Wave, "letters, digits"),
        ("3d", Wave, "letters, digits"),
        (7, Wave, "letters, digits"),
        ("wave", Wave(), "a class of modules"),
        ("wave", torch.cos, "a class of modules"),
        ("wave", nn.Linear, "a class of modules without arguments"),
        ("wave", nn.PReLU, "weights or buffers"),
        ("wave", nn.RReLU, "always alike"),
        ("wave", nn.Softmax2d, "by itself"),
        ("wave", Shared, "by itself"),
        ("wave", InPlace, "new memory"),
        ("wave", Pooled, "by itself"),
    ],
)
def test_what_cannot_be_one_is_refused(name: Any, module: Any, said: str) -> None:
    before = list(ACTIVATIONS)
    with pytest.raises(UserError, match=said) as error:
        register_activation(name, module)
    assert "\n" not in str(error.value) and str(name) in str(error.value)
    assert before == ACTIVATIONS and ACTIVATION_MODULES.keys() == ACTIVATION_FUNCTIONS.keys() == set(before)


@pytest.mark.parametrize("module", [nn.Mish, nn.GELU, nn.Hardtanh, nn.Softsign])
def test_what_torch_has_will_do(module: type[nn.Module]) -> None:
    register_activation("other", module)
    images = torch.randn(3, 4)
    assert torch.equal(ACTIVATION_FUNCTIONS["other"](images), module()(images))
