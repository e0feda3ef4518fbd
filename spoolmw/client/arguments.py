"""Tasks as arguments of other tasks: what of a predecessor travels, and until when its file stays.

A predecessor whose value this process has already travels as that value. Any other is named in
the header, and the daemon keeps its result for its successors. Until they have ended, this
process leaves the result file where it is too: the daemon may see it before it sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spoolmw.client.future import SpoolTask
from spoolmw.client.outcome import CommandResult
from spoolmw.errors import BadTaskFile
from spoolmw.model.ids import TaskId


@dataclass
class Predecessors:
    """Collects the tasks among the arguments of one call, which will have the id `successor`."""

    successor: TaskId
    results: str  #: the folder `results/` of the spool
    found: dict[TaskId, SpoolTask] = field(default_factory=dict)

    def stand_in(self, obj: object) -> object:
        """The persistent id of a task, or None: what `dump_call` asks of every object."""
        if not isinstance(obj, SpoolTask):
            return None
        if not obj.result_file.startswith(f"{self.results}/"):
            raise BadTaskFile(
                f"the task {obj.name} ({obj.id}) is in another spool",
                why="its value is not there where this call will run",
                fix="pass its value: task.result()",
            )
        if obj.is_command:
            raise _no_value(obj)
        obj.want(self.successor)  # before it is asked: what is read later stays in results/
        read = obj.outcome
        if read is None or read.error is not None or read.cancelled:
            self.found[obj.id] = obj
            return ("task", obj.id)
        obj.let_go(self.successor)
        if isinstance(read.value, CommandResult):
            raise _no_value(obj)
        return ("value", read.value)

    def forget(self) -> None:
        """The call is not submitted after all."""
        for task in self.found.values():
            task.let_go(self.successor)


def _no_value(task: SpoolTask) -> BadTaskFile:
    return BadTaskFile(
        f"the task {task.name} ({task.id}) is a command, which has no value to take",
        fix="name it in options(after=...), and read its files from where it wrote them",
    )


def ids_of(after: object) -> object:
    """What `after` names, tasks by their ids: a list of texts if it is all well."""
    several = [after] if isinstance(after, (str, SpoolTask)) else after
    if not isinstance(several, Iterable):
        return after
    return [each.id if isinstance(each, SpoolTask) else each for each in several]


def with_takes(header: dict[str, object], found: Sequence[TaskId]) -> dict[str, object]:
    """`header` for a call in which tasks stand for their values; `found` are still to be read."""
    named = header.get("after") or ()
    assert isinstance(named, Iterable)
    after = list(dict.fromkeys([*named, *found]))
    return {**header, **({"after": after} if after else {}), "takes": list(found)}
