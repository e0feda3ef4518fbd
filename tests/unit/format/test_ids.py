"""Task ids: unique, sortable by time, and recognised strictly."""

from __future__ import annotations

import pytest

from spoolmw.format.ids import is_task_id, new_task_id


def test_ids_are_never_made_twice() -> None:
    assert len({new_task_id() for _ in range(10_000)}) == 10_000


def test_an_id_begins_with_the_millisecond_in_which_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 0x0123456789AB * 1_000_000)
    assert new_task_id().startswith("0123456789ab")


def test_what_was_made_is_an_id() -> None:
    assert is_task_id(new_task_id())


@pytest.mark.parametrize(
    "text",
    ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 32 + "\n", "\u0660" * 32, "../" * 10],
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_task_id(text)
