"""How an array goes on and ends. Its elements are tasks like others; this is about the whole.

Rule 1: an array has no attempts: it is EXPANDING (or WAITING, HELD) until its last element ended.
Rule 2: all that it knows of its elements is its tally, so each step costs the same for ten
elements and for ten million.
"""

from __future__ import annotations

from dataclasses import replace

from spoolmw.model.events import Advanced, Cancelled, Retried
from spoolmw.model.task import Tally, Task, TaskState
from spoolmw.rules import endings
from spoolmw.rules.become import Step, become
from spoolmw.rules.endings import deliver


def is_over(tally: Tally) -> bool:
    """Whether every element ended, and none is to be made or taken up again."""
    return tally.open == 0 and tally.unmade == 0 and tally.again < 0


def advance(task: Task, event: Advanced) -> Step:
    """Elements were made or ended; with the last of them the array ends."""
    tally = task.tally
    assert tally is not None
    tally = replace(
        tally,
        made=tally.made + event.made,
        early=tally.early + event.early,
        done=tally.done + event.done,
        failed=tally.failed + event.failed,
        cancelled=tally.cancelled + event.cancelled,
        offset=tally.offset if event.offset is None else event.offset,
        again=tally.again if event.again is None else event.again,
    )
    if event.broken:
        tally = replace(_given_up(tally, event.broken), broken=True)
    return _go_on(task, task.state, tally)


def cancel(task: Task, event: Cancelled) -> Step:
    """What is not made yet never will be; its open elements were cancelled one by one."""
    assert task.tally is not None
    return _go_on(
        task, TaskState.EXPANDING, _given_up(task.tally, endings.of_cancel(event).message)
    )


def retry(task: Task, event: Retried) -> Step:
    """Its elements are taken up again, bit by bit, as they were made; after its predecessors."""
    assert task.tally is not None
    tally = replace(task.tally, note="", broken=False, name=task.tally.name or task.result_name)
    if event.elements == "all":
        tally = replace(tally, skipped=0)
    if event.elements != "none":
        tally = replace(
            tally, again=0, again_all=event.elements == "all", again_fresh=event.fresh
        )
    waits = (
        bool(task.spec.after)
        and event.elements != "none"
        and task.state is not TaskState.EXPANDING
    )
    state = TaskState.WAITING if waits else TaskState.EXPANDING
    return become(task, state, waits=waits, tally=tally, result_name=event.result_name), ()


def _given_up(tally: Tally, why: str) -> Tally:
    return replace(tally, skipped=tally.skipped + tally.unmade, again=-1, note=why)


def _go_on(task: Task, state: TaskState, tally: Tally) -> Step:
    after = become(task, state, tally=tally)
    if not is_over(tally):
        return after, ()
    return deliver(after, endings.of_array(tally), task.history)
