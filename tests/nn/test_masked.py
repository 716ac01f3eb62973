"""Every choice at once: one-hot gates give the chosen network, soft gates a differentiable mixture."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from sampled import uniform_indices, uniform_specs
from torch import Tensor, nn
from varied import NUM_CLASSES, normal_images, varied_supernet

from fpnas.architecture import Architecture
from fpnas.network_spec import resolve, round_width
from fpnas.nn.activation_memory import saved_activation_bytes
from fpnas.nn.masked import block_weights, masked_block, masked_forward
from fpnas.nn.ops import ACTIVATION_FUNCTIONS
from fpnas.nn.split_attention import combine_splits
from fpnas.nn.supernet import SuperNet
from fpnas.space import VARIABLES, SearchSpace
from fpnas.space_file import load_space, parse_space

# Every kernel, activation and number of splits; widths that expand with one expansion and not with another, widths
# before a group greater and smaller than its own, a group whose shape never changes, one that only keeps or reshapes.
EVERY_CHOICE = """
format = "fpnas.space/1"
name = "every-choice"
source = "a test"
input_size = 6
in_channels = 1
share = "group"
stem = { kernel = 3, channels = 16, stride = 1, activation = "hswish" }
head = { kind = "conv", channels = 24, activation = "hswish" }

[[group]]
kernel = [0, 3, 5, 7]
activation = ["relu", "swish", "hswish"]
splits = [0, 1, 2, 4]
expansion = [0.75, 1, 3]
channels = [8, 24]
repeat = 2
stride = 2

[[group]]
kernel = [3, 0]
activation = ["relu", "swish"]
splits = [4, 0]
expansion = [0.5, 0.75, 1]
channels = [8, 16, 24, 32]
repeat = 1
stride = 1

[[group]]
kernel = [5, 3]
activation = ["hswish", "relu"]
splits = [2, 1]
expansion = 1
channels = [8, 16]
repeat = 3
stride = 1

[[group]]
kernel = 0
activation = "relu"
splits = 0
expansion = 1
channels = [16, 24]
repeat = 2
stride = 1

[[group]]
kernel = [0, 3]
activation = "swish"
splits = [0, 2]
expansion = [0.75, 2]
channels = 24
repeat = 1
stride = 1

[[group]]
kernel = [0, 3]
activation = "relu"
splits = 1
expansion = 2
channels = 24
repeat = 1
stride = 1
"""

# Architectures per space, pixels.
SAMPLES = {"tiny": (20, 8), "every-choice": (16, 6), "fbnetv2-f-32": (3, 16)}


def _supernet(name: str, dtype: torch.dtype = torch.float64) -> SuperNet:
    return varied_supernet(parse_space(EVERY_CHOICE, "s") if name == "every-choice" else load_space(name), dtype)


def _images(size: int, batch: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return normal_images(size, batch, dtype)


def _one_hot(space: SearchSpace, row: Tensor) -> list[dict[str, Tensor]]:
    """Gates of the architecture with these indices, shape (G, V)."""
    return [
        {
            variable: F.one_hot(index, size).double()
            for variable, index, size in zip(VARIABLES, indices, sizes, strict=True)
        }
        for indices, sizes in zip(row, space.cardinalities, strict=True)
    ]


def _soft(space: SearchSpace, dtype: torch.dtype = torch.float64, spread: float = 1.0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        {
            variable: (spread * torch.randn(size, generator=generator)).to(dtype).softmax(0)
            for variable, size in zip(VARIABLES, sizes, strict=True)
        }
        for sizes in space.cardinalities
    ]


def _gradients(supernet: SuperNet, logits: Tensor) -> dict[str, Tensor]:
    """Of every weight, zeros where there are none."""
    supernet.zero_grad(set_to_none=True)
    F.cross_entropy(logits, torch.tensor([1, 7, 3, 0])).backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in supernet.named_parameters()}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_one_hot_gates_give_logits_and_gradients_of_the_chosen_network(name: str, train: bool) -> None:
    number, size = SAMPLES[name]
    supernet, images = _supernet(name).train(train), _images(size)
    state = {key: value.clone() for key, value in supernet.state_dict().items()}
    for row in uniform_indices(supernet.space, number):
        spec = resolve(supernet.space, Architecture.of(row), num_classes=NUM_CLASSES)
        supernet.load_state_dict(state)  # statistics of the masked pass would spoil those of the next
        expected = supernet(images, spec)
        logits = masked_forward(supernet, images, _one_hot(supernet.space, row))
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
        chosen = _gradients(supernet, expected)
        for parameter, gradient in _gradients(supernet, logits).items():
            torch.testing.assert_close(gradient, chosen[parameter], rtol=1e-7, atol=1e-9, msg=parameter)
            assert not gradient[chosen[parameter] == 0].abs().gt(1e-13).any(), parameter


@pytest.mark.parametrize("train", [True, False])
def test_gradients_of_soft_gates_equal_finite_differences(train: bool) -> None:
    supernet, images = _supernet("tiny").train(train), _images(8, batch=2)
    space = supernet.space
    soft = _soft(space)
    values = [gate.requires_grad_() for group in soft for gate in group.values()]

    def logits(*flat: Tensor) -> Tensor:
        gates = iter(flat)
        return masked_forward(
            supernet, images, [{variable: next(gates) for variable in VARIABLES} for _ in space.groups]
        )

    assert torch.autograd.gradcheck(logits, values, fast_mode=False, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("before", [(16,), (8, 12, 24), None])
def test_masks_are_sums_over_pairs_of_width_and_expansion(before: tuple[int, ...] | None) -> None:
    space = parse_space(EVERY_CHOICE, "s")
    group, gates = space.groups[0], _soft(space)[0]
    widths = group.values("channels") if before is None else before
    input_gates = gates["channels"] if before is None else torch.rand(len(widths), dtype=torch.float64).softmax(0)
    weights = block_weights(group, before, gates, input_gates)
    hidden, bottleneck = torch.zeros(72, dtype=torch.float64), torch.zeros(72, dtype=torch.float64)
    unexpanded = 0.0
    for (i, width), (j, expansion) in product(enumerate(widths), enumerate(group.values("expansion"))):
        mass = input_gates[i] * gates["expansion"][j]
        hidden[: round_width(expansion * width)] += mass
        bottleneck[: round_width(round_width(expansion * width) / 4)] += mass
        unexpanded += float(mass) * (round_width(expansion * width) == width)
    torch.testing.assert_close(weights.hidden, hidden[: weights.hidden.numel()])
    torch.testing.assert_close(weights.bottleneck, bottleneck[: weights.bottleneck.numel()])
    assert float(weights.unexpanded) == pytest.approx(unexpanded)
    assert float(weights.expanded) == pytest.approx(1 - unexpanded)
    assert weights.kept == (1.0 if before is None else 0.0)


def test_soft_gates_give_the_weighted_sum_written_out_path_by_path() -> None:
    supernet = _supernet("every-choice").eval()
    group, gates, block = supernet.space.groups[1], _soft(supernet.space)[1], supernet.blocks[2]
    before = torch.tensor([0.3, 0.7], dtype=torch.float64)  # of widths 8 and 24
    pairs = [(i, j) for i in (0, 1) for j in range(3)]
    hidden_of = {(i, j): round_width(group.values("expansion")[j] * (8, 24)[i]) for i, j in pairs}
    mass = {(i, j): before[i] * gates["expansion"][j] for i, j in pairs}

    def mask(width: int, widths: dict[tuple[int, int], int]) -> Tensor:
        return sum(mass[pair] * (torch.arange(width) < widths[pair]) for pair in pairs)[:, None, None]

    features = torch.randn(4, 24, 6, 6, generator=torch.Generator().manual_seed(3)).double()
    unexpanded = sum(mass[pair] for pair in pairs if hidden_of[pair] == (8, 24)[pair[0]])
    hidden_mask = mask(24, hidden_of)
    bottleneck_mask = mask(8, {pair: round_width(hidden_of[pair] / 4) for pair in pairs})
    paths = torch.zeros(4, 24, 6, 6, dtype=torch.float64)
    for (s, splits), (a, activation) in product(enumerate((4, 0)), enumerate(("relu", "swish"))):
        act = ACTIVATION_FUNCTIONS[activation]
        inputs = (1 - unexpanded) * act(block.expand(features, 24)) + unexpanded * features
        path = act(block.depthwise[f"kernel3_splits{splits}"](inputs, 24))
        if splits:
            attention = block.attention[f"splits{splits}"]
            maps = path.view(4, 24, splits, 6, 6)
            pooled = maps.sum(2).mean((2, 3), keepdim=True) * hidden_mask
            path = combine_splits(maps, attention.fc2(act(attention.fc1(pooled)) * bottleneck_mask).view(4, 24, splits))
        paths += gates["kernel"][0] * gates["splits"][s] * gates["activation"][a] * hidden_mask * path
    channel_mask = sum(
        gate * (torch.arange(32) < width)[:, None, None]
        for gate, width in zip(gates["channels"], (8, 16, 24, 32), strict=True)
    )
    kept = before[0] * gates["channels"][0] + before[1] * gates["channels"][2]
    expected = gates["kernel"][0] * channel_mask * block.project(paths, 32)
    expected = expected + gates["kernel"][1] * (1 - kept) * channel_mask * block.bypass(features, 32)
    expected[:, :24] += kept * features
    weights = block_weights(group, (8, 24), gates, before)
    torch.testing.assert_close(masked_block(block, group, 1, features, weights), expected, rtol=1e-10, atol=1e-10)


def test_weights_and_gates_all_receive_gradients() -> None:
    supernet = _supernet("every-choice").train()
    gates = [{key: gate.requires_grad_() for key, gate in group.items()} for group in _soft(supernet.space)]
    masked_forward(supernet, _images(6), gates).square().sum().backward()
    assert [key for key, parameter in supernet.named_parameters() if parameter.grad is None] == []
    for group, group_gates in zip(supernet.space.groups, gates, strict=True):
        for variable, size in zip(VARIABLES, group.cardinalities, strict=True):
            if size > 1 and any(group.values("kernel")):
                gradient = group_gates[variable].grad
                assert gradient is not None and gradient.max() > gradient.min(), (group.name, variable)


def test_gates_that_do_not_fit_are_refused() -> None:
    supernet, images = _supernet("tiny"), _images(8)
    gates = _soft(supernet.space)
    with pytest.raises(ValueError, match=r"3 groups.*4"):
        masked_forward(supernet, images, gates[:3])
    wrong = [dict(group) for group in gates]
    del wrong[1]["splits"]
    with pytest.raises(ValueError, match=r"'down'.*'splits' is missing"):
        masked_forward(supernet, images, wrong)
    wrong[1]["splits"] = torch.ones(3)
    with pytest.raises(ValueError, match=r"'down', 'splits'.*\(3,\).*\(4,\)"):
        masked_forward(supernet, images, wrong)


def test_gates_may_be_elsewhere_and_of_another_precision() -> None:
    supernet = _supernet("tiny", torch.float32).to("meta")
    logits = masked_forward(supernet, _images(8, dtype=torch.float32).to("meta"), _soft(supernet.space))
    assert logits.device.type == "meta" and logits.dtype == torch.float32


class _Masked(nn.Module):
    """To count what its forward pass keeps."""

    def __init__(self, supernet: SuperNet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, images: Tensor, gates: list[dict[str, Tensor]]) -> Tensor:
        return masked_forward(self.supernet, images, gates)


def test_memory_is_several_times_that_of_a_sampled_network() -> None:
    supernet = _supernet("fbnetv2-f-32", torch.float32).train()
    images, space = _images(28, dtype=torch.float32), supernet.space
    uniform = [{key: gate.requires_grad_() for key, gate in group.items()} for group in _soft(space, torch.float32, 0)]
    sampled = [
        saved_activation_bytes(supernet, images, spec)
        for spec in uniform_specs(space, 10, in_channels=1, num_classes=NUM_CLASSES)
    ]
    assert saved_activation_bytes(_Masked(supernet), images, uniform) > 4 * sum(sampled) / len(sampled)
