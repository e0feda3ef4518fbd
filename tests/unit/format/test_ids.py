"""Task ids: unique, sortable by time, and recognised strictly."""

from __future__ import annotations

import os

import pytest

from spoolmw.format.ids import is_task_id, new_task_id

#: Where the random digits of an id begin.
RANDOM = 17


def test_ids_are_never_made_twice() -> None:
    assert len({new_task_id() for _ in range(10_000)}) == 10_000


def test_an_id_begins_with_the_millisecond_in_which_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 0x0123456789AB * 1_000_000)
    assert new_task_id().startswith("0123456789ab")


def test_ids_sort_as_they_were_made() -> None:
    made = [new_task_id() for _ in range(1000)]
    assert made == sorted(made)


def test_a_forked_child_makes_others_than_its_parent() -> None:
    new_task_id()  # what is drawn ahead is drawn by now
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, "".join(new_task_id()[RANDOM:] for _ in range(200)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as told:
        text = told.read()
    theirs = {text[at : at + 15] for at in range(0, len(text), 15)}
    assert len(theirs) == 200
    assert not theirs & {new_task_id()[RANDOM:] for _ in range(200)}


def test_what_was_made_is_an_id() -> None:
    assert is_task_id(new_task_id())


@pytest.mark.parametrize(
    "text",
    ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 32 + "\n", "\u0660" * 32, "../" * 10],
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_task_id(text)
