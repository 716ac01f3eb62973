"""Quantities as people write them."""

import pytest

from fpnas.errors import UserError
from fpnas.quantities import format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60M", 60_000_000),
        ("60m", 60_000_000),
        (" 60 M ", 60_000_000),
        ("0.4G", 400_000_000),
        (".4G", 400_000_000),
        ("1.1M", 1_100_000),
        ("60e6", 60_000_000),
        ("6E+7", 60_000_000),
        ("3k", 3_000),
        ("1t", 10**12),
        ("5.", 5),
        ("1", 1),
        (60_000_000, 60_000_000),
        (60e6, 60_000_000),
        (1e17, 10**17),
    ],
)
def test_parse(text: str | int | float, value: int) -> None:
    result = parse_quantity(text, "--target-macs")
    assert result == value and isinstance(result, int)


@pytest.mark.parametrize(
    "text",
    [
        *("", "M", "60X", "60MB", "-60M", "0", "0.1", "nan", "inf", "1e400", "9" * 500, "1e30", "1,5M"),
        *("0x10", "6 0M", "a\nb", "٣M", True, float("nan"), float("inf"), -5),
    ],
)
def test_refused_in_one_line(text: str | float) -> None:
    with pytest.raises(UserError, match=r"^--target-macs .*60M") as caught:
        parse_quantity(text, "--target-macs")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (999, "999"),
        (1000, "1k"),
        (2_449_000, "2.45M"),
        (390_000_000, "390M"),
        (1_090_000_000, "1.09G"),
        (999_499, "999k"),
        (999_999, "1M"),
        (999_999_999, "1G"),
        (2.5e12, "2.5T"),
        (-1_500, "-1.5k"),
    ],
)
def test_format(value: float, text: str) -> None:
    assert format_quantity(value) == text


def test_what_is_formatted_can_be_read_again() -> None:
    for value in range(1, 10**7, 9973):
        assert parse_quantity(format_quantity(value), "x") == pytest.approx(value, rel=0.006)
