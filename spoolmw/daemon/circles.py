"""Refuses what would have tasks wait for each other in a circle.

A circle can only close when a task arrives (or is retried): everybody else's waits stand. So
it is enough to go from those who wait for the new one to those who wait for them, and so on,
and to see whether one is met that the new one waits for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from spoolmw.errors import BadTaskFile
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Task

MOST_DRAWN = 12  #: names in the drawing of a circle


def check_not_itself(task_id: TaskId, spec: Spec, known: Sequence[TaskId]) -> None:
    """Raises BadTaskFile when a word of `after` means the task itself; `known` are the others.

    Its own name is fine where an earlier task has it.
    """
    for word, other in zip(spec.after, known, strict=True):
        if word in (task_id, spec.key) or (word == spec.name and not other):
            raise _circle([spec.name, spec.name])


def check_no_circle(
    spec: Spec,
    *,
    goals: Collection[TaskId | None],
    waiting: Iterable[TaskId],
    successors: Callable[[TaskId], Iterable[TaskId]],
    task: Callable[[TaskId], Task | None],
) -> None:
    """Raises BadTaskFile when one of `goals`, which the task waits for, waits for the task."""
    if not goals:
        return
    came_from: dict[TaskId, TaskId | None] = dict.fromkeys(waiting)
    todo = list(came_from)
    for each in todo:  # grows meanwhile
        if each in goals:
            raise _circle([spec.name, *_names(each, came_from, task), spec.name])
        for after in successors(each):
            if after not in came_from:
                came_from[after] = each
                todo.append(after)


def _names(
    met: TaskId,
    came_from: dict[TaskId, TaskId | None],
    task: Callable[[TaskId], Task | None],
) -> list[str]:
    names: list[str] = []
    at: TaskId | None = met
    while at is not None:
        found = task(at)
        names.append(found.spec.name if found is not None else at)
        at = came_from[at]
    return names


def _circle(names: list[str]) -> BadTaskFile:
    if len(names) > MOST_DRAWN:
        left_out = len(names) - MOST_DRAWN + 1
        names = [
            *names[: MOST_DRAWN // 2],
            f"({left_out} more)",
            *names[-MOST_DRAWN // 2 + 1 :],
        ]
    return BadTaskFile(
        f"{names[0]} would wait for itself",
        why=f"{' -> '.join(names)} (each waits for the one behind the arrow)",
        fix="take one of these out of `after`; those that were accepted before go on waiting",
    )
