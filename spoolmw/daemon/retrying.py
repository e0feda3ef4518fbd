"""Runs failed and cancelled tasks once more, and with them those that failed because of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.picking import answer, find
from spoolmw.daemon.reactor import Reactor
from spoolmw.daemon.reopening import open_again
from spoolmw.errors import BadTaskFile
from spoolmw.model.attempt import Cause
from spoolmw.model.events import Released, Retried
from spoolmw.model.ids import TaskId
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.spooldir import checkpoints, markers

_ENDED = (TaskState.FAILED, TaskState.CANCELLED)


class Retrying:
    """Each result gets a name that is free; what a task runs after is looked at anew."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def retry(
        self, task: Task, by: str, *, fresh: bool = False, failed_only: bool = False
    ) -> dict[str, object]:
        """Run one task once more, if that can be: from its newest checkpoint, or `fresh`.

        Of an array all elements that did not succeed, or with `failed_only` those that failed.
        """
        problem = self._problem(task, failed_only=failed_only)
        if problem:
            return answer(task, ok=False, text=problem)
        reactor, which = self._reactor, "failed" if failed_only else "all"
        if task.state is TaskState.EXPANDING:  # an array that goes on: its result is to come
            event = Retried(
                at=boot_s(), result_name=task.result_name, by=by, elements=which, fresh=fresh
            )
            return answer(reactor.apply(task, event), ok=True, text="its elements follow")
        if task.element is not None:
            self._open_array(task.element.array, by)
        after = self._open(task, by, elements=which, fresh=fresh)
        if after.waits:
            reactor.waits.take_up(after)
        start = self._start_of(after) if saved.may_have(task) and task.tally is None else ""
        text = f"{after.state.value}{start}; result: {after.result_name}.result"
        return answer(after, ok=True, text=text)

    def _open(self, task: Task, by: str, *, elements: str, fresh: bool = False) -> Task:
        intake = self._reactor.intake
        ended = [(task, intake.names.choose_again(task))]
        [after] = open_again(
            self._reactor, intake, ended, by=by, elements=elements, fresh=fresh
        )
        markers.clear(intake.layout, task.id)
        return after

    def _open_array(self, array_id: TaskId, by: str) -> None:
        """One element of an array that ended is to run once more: so the array has not ended."""
        array = find(self._reactor, array_id)
        if array is not None and array.state in FINAL:
            self._open(array, by, elements="none")

    def _start_of(self, task: Task) -> str:
        found = checkpoints.of_replica(self._reactor.intake.layout, task.id)
        since = task.since if task.ballot is None else task.ballot.replicas[0].since
        counting = [each for each in found if each.order.attempt >= since]
        return f", from checkpoint {counting[-1].order}" if counting else ", from the start"

    def _problem(self, task: Task, *, failed_only: bool) -> str:
        """Why `task` cannot be run once more; empty when it can."""
        waits, intake = self._reactor.waits, self._reactor.intake
        if problem := self._not_ended(task, failed_only=failed_only):
            return problem
        if not intake.provisions.has_file(task):
            return "its task file is gone (pruned)"
        if failed := waits.verdicts.failed_before(task):
            why = failed.removeprefix("not run: ")
            return f"it runs after a task that would have to be retried first: {why}"
        try:
            waits.check(task.id, task.box, task.spec, task.predecessors)
        except BadTaskFile as error:
            return f"{error.what}: {error.why}"
        return ""

    def _not_ended(self, task: Task, *, failed_only: bool) -> str:
        """Why there is nothing to run once more; empty when there is."""
        if (tally := task.tally) is not None:
            if task.state not in (*FINAL, TaskState.EXPANDING):
                return f"it is {task.state.value}"
            which = tally.failed
            if not failed_only:
                which += tally.cancelled + tally.skipped
            if task.state is TaskState.FAILED:
                which += tally.unmade  # it failed as a whole, with what it was to run after
            more = "" if failed_only else " or was cancelled"
            return "" if which else f"none of its elements failed{more}"
        if task.state not in _ENDED:
            return f"it is {task.state.value}"
        if failed_only and task.state is TaskState.CANCELLED:
            return "it is cancelled, not failed"
        array = find(self._reactor, task.element.array) if task.element is not None else None
        if array is not None and array.state is TaskState.DELIVERING:
            return "its array is just ending; ask again in a moment"
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
