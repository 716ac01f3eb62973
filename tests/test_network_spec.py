"""Widths and sizes are worked out in one place: against written-out values and an independent rule."""

from fractions import Fraction

import pytest
from sampled import uniform_specs

from fpnas.errors import UserError
from fpnas.network_spec import BlockSpec, round_width
from fpnas.space_file import load_space


@pytest.mark.parametrize(
    ("width", "rounded"),
    [
        (0.1, 8),
        (8, 8),
        (8.4, 8),
        (8.43, 16),  # 8 is below 0.95 of it
        (11, 16),
        (12, 16),  # half up
        (16.8, 16),
        (17, 24),  # 16 is below 0.95 of it
        (20, 24),
        (28, 32),
        (84, 88),
        (156, 160),
        (1104, 1104),
    ],
)
def test_round_width(width: float, rounded: int) -> None:
    assert round_width(width) == rounded


def test_round_width_is_near_monotone_and_never_much_too_small() -> None:
    previous = 8
    for eighths in range(1, 8000):
        width = Fraction(eighths, 8)
        rounded = round_width(float(width))
        assert rounded % 8 == 0 and rounded >= 8
        assert rounded >= Fraction(95, 100) * width
        nearest = max(8, 8 * ((width + 4) // 8))
        assert rounded in (nearest, nearest + 8)
        assert rounded >= previous
        previous = rounded


def test_hidden_width_is_of_the_input_and_bottleneck_of_the_hidden() -> None:
    block = BlockSpec(3, "relu", 2, 0.75, in_channels=112, channels=184, stride=2, in_size=7)
    assert (block.hidden, block.bottleneck, block.out_size) == (88, 24, 4)
    assert block.expands and not block.keeps_shape
    assert BlockSpec(3, "relu", 0, 1, 12, 12, 1, 7).keeps_shape
    assert BlockSpec(3, "relu", 0, 1, 16, 16, 1, 7).expands is False
    assert BlockSpec(3, "relu", 0, 1, 12, 12, 1, 7).hidden == 16  # 12 channels cannot stay 12 inside


@pytest.mark.parametrize("input_size", [28, 33, 64])
def test_resolved_blocks_follow_each_other(input_size: int) -> None:
    space = load_space("fbnetv2-f-32")
    for spec in uniform_specs(space, 20, input_size=input_size, in_channels=3, num_classes=7):
        assert (spec.input_size, spec.in_channels, spec.num_classes) == (input_size, 3, 7)
        channels, size = 16, -(-input_size // 2)
        for block in spec.blocks:
            assert (block.in_channels, block.in_size) == (channels, size)
            channels, size = block.channels, -(-size // block.stride)
        assert (spec.last_channels, spec.last_size) == (channels, size)


def test_another_input_size_is_the_same_as_resolving_for_it() -> None:
    space = load_space("fbnetv2-f-32")
    at_28 = uniform_specs(space, 10, input_size=28)
    at_47 = uniform_specs(space, 10, input_size=47)
    assert [spec.at_input_size(47) for spec in at_28] == at_47


def test_defaults_come_from_the_space() -> None:
    spec = uniform_specs(load_space("fbnetv2-f"), 1)[0]
    assert (spec.input_size, spec.in_channels, spec.num_classes) == (128, 3, 1000)


def test_an_input_smaller_than_the_strides_is_refused() -> None:
    space = load_space("fbnetv2-f")
    with pytest.raises(UserError, match=r"31.*fbnetv2-f.*32"):
        uniform_specs(space, 1, input_size=31)
    with pytest.raises(UserError, match=r"31.*32"):
        uniform_specs(space, 1)[0].at_input_size(31)
