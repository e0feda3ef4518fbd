"""The verbs of the control socket that change tasks: each tells of every task what came of it.

What is asked of an array is asked of its open elements too, and holds for those to come.
"""

from __future__ import annotations

from spoolmw.daemon.clock import boot_s, wall_s
from spoolmw.daemon.control import Peer
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.picking import Args, answer, the_tasks, who
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import SpoolmwError
from spoolmw.model.events import Cancelled, Event, Held, Released, Reprioritised
from spoolmw.model.spec import MOST_PRIORITY
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.spooldir import markers


class Changes:
    """Cancels, holds, releases and ranks. Called in the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def cancel(self, args: Args, peer: Peer) -> object:
        """End tasks; with `waiting_only` those that run are spared."""
        event = Cancelled(at=boot_s(), wall=wall_s(), by=who(peer))
        spare_running = bool(args.get("waiting_only"))
        return self._each(args, event, markers.Mark.CANCEL, spare_running=spare_running)

    def hold(self, args: Args, peer: Peer) -> object:
        """Have tasks wait until they are released."""
        return self._each(
            args, Held(at=boot_s(), wall=wall_s(), by=who(peer)), markers.Mark.HOLD
        )

    def release(self, args: Args, peer: Peer) -> object:
        """Let held tasks go on."""
        return self._each(args, Released(at=boot_s(), by=who(peer)), None)

    def prio(self, args: Args, peer: Peer) -> object:
        """Rank tasks before or behind others."""
        priority = args.get("priority")
        if type(priority) is not int or abs(priority) > MOST_PRIORITY:
            raise SpoolmwError(
                f"prio takes a whole number from {-MOST_PRIORITY} to {MOST_PRIORITY}."
            )
        event = Reprioritised(at=boot_s(), priority=priority, by=who(peer))
        return self._each(args, event, None)

    def _each(
        self,
        args: Args,
        event: Event,
        mark: markers.Mark | None,
        *,
        spare_running: bool = False,
    ) -> object:
        results = []
        for task in the_tasks(self._reactor, args, make=not isinstance(event, Released)):
            if spare_running and task.state is TaskState.RUNNING:
                results.append(answer(task, ok=False, text="it is running"))
                continue
            if task.state in FINAL:
                results.append(answer(task, ok=False, text=f"it ended as {task.state.value}"))
                continue
            after, changed = self._change(task, event, spare_running=spare_running)
            if changed:
                self._mark(after, event, mark)
                if after.waits and isinstance(event, Released):
                    self._reactor.waits.look_again(after)
            text = after.state.value if changed else f"it is {after.state.value} already"
            results.append(answer(after, ok=changed, text=text))
        return {"results": results}

    def _change(self, task: Task, event: Event, *, spare_running: bool) -> tuple[Task, bool]:
        """Change a task, with an array its open elements; the task then, and whether that did it."""
        reactor, changed = self._reactor, False
        if task.tally is not None:
            reactor.arrays.settle(reactor, boot_s())
            task = reactor.table.get(task.id) or task
        for element in reactor.arrays.concerned(task, event):
            if not (spare_running and element.state is TaskState.RUNNING):
                changed |= reactor.apply(element, event) is not element
                if isinstance(event, Released):
                    self._mark(element, event, None)
        after = reactor.apply(task, event)
        return after, changed or after is not task

    def _mark(self, task: Task, event: Event, mark: markers.Mark | None) -> None:
        """What the user wants stands beside the task's file too, should the journal be lost."""
        layout = self._reactor.intake.layout
        self._reactor.sync_first()
        try:
            if mark is not None:
                markers.put(layout, task.id, mark)
            elif isinstance(event, Released):
                markers.clear(layout, task.id)
        except OSError as error:  # the journal knows it anyway
            log.warning("no marker %s", fields(task=task.id, why=error))
