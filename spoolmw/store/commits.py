"""What one commit writes of tasks and of their stories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spoolmw.model.events import Event
from spoolmw.model.task import Task
from spoolmw.store.facts import facts_text
from spoolmw.store.rows import (
    NUMBERS,
    Row,
    course_row,
    insert_row,
    only_course_changed,
    only_state_changed,
    saved_row,
    saving_changed,
    update_row,
)
from spoolmw.store.sql import QUERIES
from spoolmw.store.votes import ballot_text

_INSERT, _UPDATE = QUERIES["insert_task"], QUERIES["update_task"]
_UPDATE_COURSE, _UPDATE_STATE = QUERIES["update_course"], QUERIES["update_state"]
_INSERT_EVENT = QUERIES["insert_event"]
_UPDATE_SAVED, _INSERT_VOTED = QUERIES["update_saved"], QUERIES["insert_voted_task"]


class Changed(NamedTuple):
    """One task's way through one tick. `before` is None for a new task."""

    before: Task | None
    after: Task
    events: tuple[Event, ...]


def statements_of(
    changes: Sequence[Changed], now: float, number: int
) -> list[tuple[str, list[Row]]]:
    """The statements of the commit `number`, each with its rows; some may have none."""
    inserts, voted, updates, courses, states, events = [], [], [], [], [], []
    saves = []
    for before, after, happened in changes:  # once: a tick's tasks are more than a core's cache
        if before is None and after.ballot is not None:
            voted.append((*insert_row(after, now), ballot_text(after.ballot)))
        elif before is None:
            inserts.append(insert_row(after, now))
        elif only_state_changed(before, after):
            states.append((now, NUMBERS[after.state._value_], after.seq))
        elif only_course_changed(before, after):
            courses.append(course_row(after, now))
        else:
            updates.append(update_row(after, now))
        if saving_changed(before, after):
            saves.append(saved_row(after))
        if happened:
            facts = facts_text(happened, after)
            events.append((after.seq, number, now, NUMBERS[after.state._value_], facts))
    return [
        (_INSERT, inserts),
        (_INSERT_VOTED, voted),
        (_UPDATE, updates),
        (_UPDATE_COURSE, courses),
        (_UPDATE_STATE, states),
        (_UPDATE_SAVED, saves),
        (_INSERT_EVENT, events),
    ]
