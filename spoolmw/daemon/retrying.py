"""Runs failed and cancelled tasks once more, and with them those that failed because of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.picking import answer
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import BadTaskFile
from spoolmw.model.events import Released, Retried
from spoolmw.model.task import Cause, Task, TaskState
from spoolmw.spooldir import checkpoints, markers

_ENDED = (TaskState.FAILED, TaskState.CANCELLED)


class Retrying:
    """Each result gets a name that is free; what a task runs after is looked at anew."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def retry(self, task: Task, by: str, *, fresh: bool = False) -> dict[str, object]:
        """Run one task once more, if that can be: from its newest checkpoint, or `fresh`."""
        problem = self._problem(task)
        if problem:
            return answer(task, ok=False, text=problem)
        reactor, intake = self._reactor, self._reactor.intake
        name = intake.names.choose_again(task)
        intake.note_retried(task, name)  # first: without this line a start would be refused
        event = Retried(at=boot_s(), result_name=name, by=by, fresh=fresh)
        after = reactor.apply(task, event)
        markers.clear(intake.layout, task.id)
        reactor.sync_first()
        if after.waits:
            reactor.waits.take_up(after)
        start = self._start_of(after) if saved.may_have(task) else ""
        return answer(after, ok=True, text=f"{after.state.value}{start}; result: {name}.result")

    def _start_of(self, task: Task) -> str:
        found = checkpoints.of_replica(self._reactor.intake.layout, task.id)
        counting = [each for each in found if each.order.attempt >= task.since]
        return f", from checkpoint {counting[-1].order}" if counting else ", from the start"

    def _problem(self, task: Task) -> str:
        """Why `task` cannot be run once more; empty when it can."""
        waits, intake = self._reactor.waits, self._reactor.intake
        if task.state not in _ENDED:
            return f"it is {task.state.value}"
        if not intake.has_file(task):
            return "its task file is gone (pruned)"
        if failed := waits.verdicts.failed_before(task):
            why = failed.removeprefix("not run: ")
            return f"it runs after a task that would have to be retried first: {why}"
        try:
            waits.check(task.id, task.box, task.spec, task.predecessors)
        except BadTaskFile as error:
            return f"{error.what}: {error.why}"
        return ""

    def retry_successors(self, tasks: Sequence[Task], by: str) -> Iterator[dict[str, object]]:
        """Run those once more that failed because these had, or let them go on; and theirs."""
        successors: dict[str, list[Task]] = {}
        for each in self._stopped():
            for known in each.predecessors:
                successors.setdefault(known, []).append(each)
        todo, seen = list(tasks), {task.id for task in tasks}
        for task in todo:  # grows meanwhile
            for each in successors.get(task.id, ()):
                if each.id not in seen:
                    seen.add(each.id)
                    todo.append(each)
                    yield self._go_on(each, by)

    def _stopped(self) -> Iterator[Task]:
        """Tasks that failed or are held because of a predecessor."""
        reactor = self._reactor
        for task in reactor.journal.failed_successors():
            cause = task.ending.cause if task.ending is not None else None
            if cause is Cause.PREDECESSOR and reactor.table.get(task.id) is None:
                yield task
        layout = reactor.intake.layout
        for task in reactor.table:
            is_held = task.state is TaskState.HELD and task.waits
            if is_held and not markers.is_there(layout, task.id, markers.Mark.HOLD):
                yield task

    def _go_on(self, task: Task, by: str) -> dict[str, object]:
        if task.state is TaskState.FAILED:
            return self.retry(task, by)
        after = self._reactor.apply(task, Released(at=boot_s(), by=by))
        self._reactor.waits.look_again(after)
        return answer(after, ok=True, text=after.state.value)
