"""Records: what they are at run time."""

from __future__ import annotations

import pytest

from spoolmw.model.record import record


@record(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


def test_equal_records_are_one_key() -> None:
    assert {Point(1): "a"}[Point(1, 0)] == "a"
    assert Point(1) != Point(2)


def test_a_record_has_no_room_for_other_fields() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_a_record_says_that_it_is_frozen() -> None:
    """Else mypy would let somebody change one."""
    with pytest.raises(AssertionError, match="a record is frozen"):
        record(frozen=False, slots=True)
