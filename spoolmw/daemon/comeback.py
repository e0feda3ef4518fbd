"""The requests about where a task goes on from: `retry`, `brought`, and `progress` of what runs."""

from __future__ import annotations

from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import Peer
from spoolmw.daemon.picking import Args, answer, the_task, the_tasks, who
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import SpoolmwError
from spoolmw.model.events import Brought, Retried
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir import checkpoints, markers


class Comeback:
    """Answers these requests in the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def retry(self, args: Args, peer: Peer) -> object:
        """Run failed or cancelled tasks once more, from their newest checkpoint or `fresh`.

        Each result gets a name that is free.
        """
        fresh = args.get("fresh", False)
        if not isinstance(fresh, bool):
            raise SpoolmwError("`fresh` is true or false.")
        results = [self._retry(task, who(peer), fresh=fresh) for task in self._tasks(args)]
        return {"results": results}

    def _tasks(self, args: Args) -> list[Task]:
        return the_tasks(self._reactor, args)

    def _retry(self, task: Task, by: str, *, fresh: bool) -> dict[str, object]:
        intake = self._reactor.intake
        if task.state not in (TaskState.FAILED, TaskState.CANCELLED):
            return answer(task, ok=False, text=f"it is {task.state.value}")
        if not intake.has_file(task):
            return answer(task, ok=False, text="its task file is gone (pruned)")
        name = intake.free_name(task)
        intake.note_retried(task, name)  # first: without this line a start would be refused
        event = Retried(at=boot_s(), result_name=name, by=by, fresh=fresh)
        after = self._reactor.apply(task, event)
        markers.clear(intake.layout, task.id)
        self._reactor.sync_first()
        start = self._start_of(after) if saved.may_have(task) else ""
        return answer(after, ok=True, text=f"queued{start}; result: {name}.result")

    def _start_of(self, task: Task) -> str:
        found = checkpoints.of_replica(self._reactor.intake.layout, task.id)
        counting = [each for each in found if each.order.attempt >= task.since]
        return f", from checkpoint {counting[-1].order}" if counting else ", from the start"

    def brought(self, args: Args, peer: Peer) -> object:
        """A checkpoint was put into a task's folder: the next attempt goes on from it."""
        task = the_task(self._reactor, args.get("id"))
        order = args.get("attempt"), args.get("sequence")
        found = checkpoints.of_replica(self._reactor.intake.layout, task.id)
        there = [each for each in found if each.order == order]
        if not there or there[0] != found[-1] or there[0].order.attempt > task.attempt:
            raise SpoolmwError(
                f"There is no checkpoint {order[0]}-{order[1]} of task {task.id} to go on from.",
                why="it must be the newest of the folder, and not of an attempt to come",
            )
        event = Brought(at=boot_s(), saved=saved.record(there[0]), by=who(peer))
        after = self._reactor.apply(task, event)
        if after is task:
            return answer(task, ok=False, text=f"it is {task.state.value}")
        return answer(after, ok=True, text=f"goes on from checkpoint {there[0].order}")

    def progress(self, args: Args, _peer: Peer) -> object:
        """How far running tasks say they are: those of `ids`, or all that said anything."""
        ids, told = args.get("ids"), self._reactor.hearing.told()
        if ids is not None and not isinstance(ids, list):
            raise SpoolmwError("`ids` is a list of task ids, or left out.")
        wanted = set(map(str, ids)) if ids is not None else told.keys()
        return {
            "progress": [
                {"id": task_id, "fraction": one.fraction, "text": one.text, "at": one.at}
                for task_id, one in told.items()
                if task_id in wanted
            ]
        }
