"""A spool whose journal holds the tasks that a test names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.ctl.session import Session
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import Submitted
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Ending, Task, TaskState
from spoolmw.spooldir.layout import Layout, prepare
from spoolmw.store.journal import Changed, Journal

Enter = Callable[..., str]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return prepare(tmp_path / "spool")


@pytest.fixture
def session(layout: Layout) -> Session:
    return Session(given_spool=str(layout.root))


@pytest.fixture
def enter(layout: Layout) -> Enter:
    """Enters a task into the journal; returns its id."""
    entered = 0

    def enter_task(
        name: str = "fold",
        *,
        key: str = "",
        box: str = "",
        made_at: float = 1_700_000_000.0,
        state: TaskState = TaskState.QUEUED,
    ) -> str:
        nonlocal entered
        entered += 1
        task_id = TaskId(f"{int(made_at * 1000):012x}{entered:020x}")
        task = Task(
            seq=entered,
            id=task_id,
            box=box,
            dropped=name,
            result_name=name,
            spec=Spec(name=name, key=key),
            submitted_at=made_at,
        )
        if state is not TaskState.QUEUED:
            ending = Ending(state=state, cause=Cause.FINISHED, blame=Blame.NONE)
            task = replace(task, state=state, ending=ending)
        journal = Journal.open(layout.journal)
        event = Submitted(at=0.0, task=task)
        journal.commit([Changed(None, task, (event,))], now_boot=0.0, boot_id="boot")
        journal.close()
        return task_id

    return enter_task
