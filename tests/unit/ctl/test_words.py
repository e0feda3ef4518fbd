"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from spoolmw.ctl.words import ago, clock, count, duration, size


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_250_000, "1.25 MB"),
        (999_600, "1 MB"),
        (8_000_000_000, "8 GB"),
        (None, ""),
    ],
)
def test_sizes_have_three_significant_digits(amount: int | None, text: str) -> None:
    assert size(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0451, "45 ms"),
        (0.9999, "1.0 s"),
        (3.24, "3.2 s"),
        (59.96, "1m 00s"),
        (250, "4m 10s"),
        (7500, "2h 05m"),
        (276_000, "3d 4h"),
        (-5, "0 ms"),
        (None, ""),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_no_moment_is_no_text() -> None:
    assert clock(None) == clock(0.0) == ago(None) == ""


def test_a_moment_of_another_day_is_shown_with_its_date() -> None:
    assert clock(86_400.0 * 10).startswith("1970-01-1")


def test_how_long_ago() -> None:
    assert ago(100.0, now=350.0) == "4m 10s ago"


def test_counts_are_grouped_and_plural() -> None:
    assert [count(1, "task"), count(12_000, "task"), count(0, "entry", "entries")] == [
        "1 task",
        "12,000 tasks",
        "0 entries",
    ]


def test_a_moment_that_no_calendar_has_is_left_out() -> None:
    assert clock(2.0**48 / 1000) == ""
