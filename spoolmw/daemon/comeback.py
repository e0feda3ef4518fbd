"""The requests about where a task goes on from: `retry`, `brought`, and `progress` of what runs."""

from __future__ import annotations

from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import Peer
from spoolmw.daemon.picking import Args, answer, the_task, the_tasks, who
from spoolmw.daemon.reactor import Reactor
from spoolmw.daemon.retrying import Retrying
from spoolmw.errors import SpoolmwError
from spoolmw.model.events import Brought
from spoolmw.spooldir import checkpoints


class Comeback:
    """Answers these requests in the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._retrying = Retrying(reactor)

    def retry(self, args: Args, peer: Peer) -> object:
        """Run failed or cancelled tasks once more, from their newest checkpoint or `fresh`.

        With `successors` also those that failed or are held because these had failed; with
        `failed` only what failed, of an array only its failed elements.
        """
        fresh, failed = args.get("fresh", False), args.get("failed", False)
        if not isinstance(fresh, bool) or not isinstance(failed, bool):
            raise SpoolmwError("`fresh` and `failed` are true or false.")
        tasks, by = the_tasks(self._reactor, args), who(peer)
        results = [
            self._retrying.retry(task, by, fresh=fresh, failed_only=failed) for task in tasks
        ]
        if args.get("successors"):
            good = [task for task, told in zip(tasks, results, strict=True) if told["ok"]]
            results += self._retrying.retry_successors(good, by)
        return {"results": results}

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
