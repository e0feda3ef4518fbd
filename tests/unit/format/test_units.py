"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest

from spoolmw.format.units import BadUnit, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("17B", 17),
        ("8GB", 8_000_000_000),
        ("8GiB", 8 * 2**30),
        ("1.5 MB", 1_500_000),
        ("64KiB", 65536),
        ("64kB", 64000),
        (" 2TB ", 2 * 10**12),
    ],
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "value",
    ["8", "8 G", "8gb", "GB", "-1GB", "1e9B", "1,5GB", "٨GB", "8GB\x00", "9" * 30 + "B",
     "999999999999TB", 8, 8.0, True, None, [], "", "nanB"],
)  # fmt: skip
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(BadUnit):
        parse_size(value)


def test_an_unknown_unit_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadUnit, match="known are B, kB, KB, MB, GB, TB, KiB"):
        parse_size("8Gb")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90s", 90.0),
        ("6h", 21600.0),
        ("3d", 259200.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("250ms", 0.25),
        ("1.5m", 90.0),
        ("2w", 1209600.0),
        (90, 90.0),
        (0.5, 0.5),
        (0, 0.0),
    ],
)
def test_a_duration_has_units_or_is_a_number_of_seconds(value: object, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "90", "s", "6 hours", "1h1h", "-5s", "1e3s", "10M", True, None, [], -1,
     float("nan"), float("inf"), "99999999999w", "1s" * 100],
)  # fmt: skip
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(BadUnit):
        parse_duration(value)


def test_a_wrong_duration_is_answered_with_the_known_units() -> None:
    with pytest.raises(BadUnit, match="known are ms, s, m, h, d, w"):
        parse_duration("10 minutes")


@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1_500_000, 8_000_000_000, 10**15])
def test_a_shown_size_can_be_read_again(number: int) -> None:
    assert parse_size(format_size(number)) == pytest.approx(number, rel=0.06)
