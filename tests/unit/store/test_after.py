"""What the journal keeps of tasks that run after others, and who can be found by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import PredecessorsEnded, Resolved, Submitted
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Ending, Task, TaskState
from spoolmw.store.journal import Changed, Journal
from spoolmw.store.reports import Reports
from tests.unit.store.builders import BOOT, a_task, an_id


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.open(tmp_path / "spoolmw.db")
    yield made
    made.close()


def a_successor(number: int, *after: str, known: tuple[str, ...] = (), takes: int = 0) -> Task:
    ids = tuple(map(TaskId, known or after))
    spec = Spec(name=f"s{number}", after=after, after_failed="hold", takes=ids[:takes])
    return a_task(number, spec=spec, state=TaskState.WAITING, waits=True, predecessors=ids)


def enter(journal: Journal, *tasks: Task) -> None:
    changes = [Changed(None, task, (Submitted(at=0.0, task=task),)) for task in tasks]
    journal.commit(changes, **BOOT)


def test_what_a_task_waits_for_comes_back_as_it_was(journal: Journal) -> None:
    task = a_successor(2, an_id(1), "fold-16", known=(an_id(1), ""), takes=1)
    enter(journal, task)
    assert journal.get(task.id) == task
    assert journal.load() == [task]


def test_a_resolution_and_the_end_of_the_wait_are_kept(journal: Journal) -> None:
    task = a_successor(2, "fold-16", known=("",))
    enter(journal, task)
    known = a_successor(2, "fold-16", known=(an_id(1),))
    resolved = Resolved(at=0.0, predecessors=known.predecessors)
    journal.commit([Changed(task, known, (resolved,))], **BOOT)
    assert journal.get(task.id) == known
    ready = a_task(2, spec=known.spec, predecessors=known.predecessors)
    journal.commit([Changed(known, ready, (PredecessorsEnded(at=0.0),))], **BOOT)
    assert journal.get(task.id) == ready
    with Reports.open(journal.path) as reports:
        texts = [event["text"] for event in reports.story(task.id)]
    assert texts == [
        "runs after fold-16",
        f"it is known whom it waits for: {an_id(1)}",
        "all that it waited for succeeded",
    ]


def test_tasks_that_wait_for_the_same_share_their_words(journal: Journal) -> None:
    enter(journal, *(a_successor(number, an_id(1)) for number in range(2, 5)))
    first, second, third = journal.load()
    assert first.spec.after is second.spec.after is third.predecessors


def test_the_newest_of_a_name_in_a_box_is_found(journal: Journal) -> None:
    spec = Spec(name="fold")
    enter(journal, a_task(1, spec=spec), a_task(2, spec=spec), a_task(3, spec=spec, box="b"))
    assert journal.newest_named("fold", "") == an_id(2)
    assert journal.newest_named("fold", "b") == an_id(3)
    assert journal.newest_named("fold", "c") is None


def test_failed_successors_are_found_and_no_others(journal: Journal) -> None:
    ending = Ending(state=TaskState.FAILED, cause=Cause.PREDECESSOR, blame=Blame.NONE)
    failed = a_successor(3, an_id(1))
    failed = a_task(
        3, spec=failed.spec, predecessors=(an_id(1),), state=TaskState.FAILED, ending=ending
    )
    plain = a_task(4, state=TaskState.FAILED, ending=ending)
    enter(journal, a_task(1), a_successor(2, an_id(1)), failed, plain)
    assert journal.failed_successors() == [failed]


def test_reports_tell_who_runs_after_whom(journal: Journal) -> None:
    enter(journal, a_task(1), a_successor(2, an_id(1), "x", known=(an_id(1), "")))
    with Reports.open(journal.path) as reports:
        assert list(reports.predecessors()) == [(an_id(2), [an_id(1)])]
        record = reports.task(an_id(2))
    assert record is not None
    assert record["waits"] is True
    assert record["predecessors"] == [an_id(1), ""]
    assert record["spec"]["after"] == (an_id(1), "x")
