"""The rules of a task that waits for others: for its predecessors, and for its twin.

It may wait for both. A twin that succeeded ends it at once, with a copy: it is the same task.
"""

from __future__ import annotations

from collections.abc import Sequence

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import Discard, Effect
from spoolmw.model.events import Event, PredecessorsEnded, Resolved, TwinEnded
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.rules import endings
from spoolmw.rules.become import Step, become, ready_state
from spoolmw.rules.endings import deliver

WAITING = TaskState.WAITING
HELD = TaskState.HELD
DONE = TaskState.DONE
FAILED = TaskState.FAILED
CANCELLED = TaskState.CANCELLED


def is_late(task: Task, event: TwinEnded | Resolved | PredecessorsEnded) -> bool:
    """Whether it tells of what the task does not wait for, or not any more."""
    if isinstance(event, TwinEnded):
        return task.twin_of is None or event.first.id != task.twin_of
    return not task.waits


def left_behind(task: Task, event: Event) -> tuple[Effect, ...]:
    """The copy of a twin's result that came with a late event, unless it is being delivered."""
    if isinstance(event, TwinEnded) and event.copied:
        copy = AttemptId(task.id, 0, 0)
        if task.ending is None or task.ending.staged != copy:
            return (Discard(copy),)
    return ()


def hear_of_twin(task: Task, event: TwinEnded) -> Step:
    """The task before it with its key ended: its success is copied, else this one runs."""
    first = event.first
    state = first.ending.state if first.ending is not None else first.state
    if state is not DONE:
        return _ready(task, waits=task.waits), ()
    if not event.copied:
        return deliver(task, endings.of_missing_copy(first), task.history)
    return deliver(task, endings.of_copy(task.id, event), task.history)


def _ready(task: Task, *, twin_of: TaskId | None = None, waits: bool = False) -> Task:
    """The task with one thing less to wait for: ready when that was the last one."""
    if task.state is HELD:
        return become(task, HELD, twin_of=twin_of, waits=waits)
    state = WAITING if waits or twin_of is not None else ready_state(task)
    return become(task, state, twin_of=twin_of, waits=waits)


def resolve(task: Task, event: Resolved) -> Step:
    """It is known now which task it waits for."""
    after = become(
        task, task.state, twin_of=task.twin_of, waits=True, predecessors=event.predecessors
    )
    return after, ()


def hear_of_predecessors(task: Task, event: PredecessorsEnded) -> Step:
    """All that it was to run after succeeded; if one did not, it fails too or is held."""
    if not event.failed:
        return _ready(task, twin_of=task.twin_of), ()
    if task.spec.after_failed != "hold":
        return deliver(task, endings.of_predecessor(event), task.history)
    if task.state is HELD:
        return task, ()
    return become(task, HELD, twin_of=task.twin_of, waits=True), ()


# What is said of it


def culprit(failed: Task) -> str:
    """Why a successor of `failed` does not run; of several in a row the first is named."""
    ending = failed.ending
    if ending is not None and ending.cause is Cause.PREDECESSOR:
        return ending.message
    how = "was cancelled" if failed.state is TaskState.CANCELLED else "failed"
    said = ending.message.strip().splitlines()[:1] if ending is not None else []
    if failed.state is TaskState.CANCELLED and said == ["cancelled"]:
        said = []
    return f"not run: {failed.spec.name} ({failed.id}) {how}{''.join(f': {s}' for s in said)}"


def culprits_blame(failed: Task) -> Blame:
    """Whose fault it was that `failed` did."""
    return failed.ending.blame if failed.ending is not None else Blame.NONE


def value_gone(task_id: TaskId, task: Task | None) -> str:
    """Why the value of a predecessor that succeeded cannot be had."""
    if task is None:
        return f"not run: nobody knows the task {task_id}, whose value it takes"
    return (
        f"not run: the value of {task.spec.name} ({task_id}) is gone: its result had been taken"
        " away before this task was accepted"
    )


def why_waiting(task: Task, known: Sequence[Task | None]) -> str:
    """What `task` waits for; `known` stands beside its `after`, None where nobody is known."""
    failed = [t for t in known if t is not None and t.state in (FAILED, CANCELLED)]
    if failed:
        return (
            f"{culprit(failed[0])}. `spoolmw-ctl retry --with-successors {failed[0].id}` runs"
            f" that once more, `spoolmw-ctl release {task.id}` goes on without it"
        )
    parts = [
        _awaited(word, found, task.predecessors[number])
        for number, (word, found) in enumerate(zip(task.spec.after, known, strict=True))
        if found is None or found.state is not DONE
    ]
    if not parts:
        return "is next: all that it waited for has ended"
    more = f", and for {len(parts) - 1} more" if len(parts) > 1 else ""
    return f"waits for {parts[0]}{more}"


def _awaited(word: str, found: Task | None, known: TaskId) -> str:
    if found is not None:
        named = found.spec.name
        return f"{named} ({found.id}), which is {found.state.value}"
    if known:
        return f"{word}, of which nothing is known any more: it was pruned, and done.log is too short"
    return f"{word}, which nobody has dropped yet"
