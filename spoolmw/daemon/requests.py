"""The verbs of the control socket that need the reactor: changes, and what only it knows.

Each verb is one function `(reactor, args, peer) -> answer`; the answer is sent after the commit.
The daemon's user and root may all; others are refused, until tasks have owners of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import Peer, Request
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import AgentError, SpoolmwError, UnknownTask
from spoolmw.format.ids import is_task_id
from spoolmw.model.events import Cancelled, Event, Held, Released, Reprioritised, Retried
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.placement import why
from spoolmw.spooldir import markers

Args = dict[str, object]
Verb = Callable[["Requests", Args, Peer], object]
MAX_IDS = 100_000


class NotAllowed(SpoolmwError):
    """The peer's user may not do this."""


class Requests:
    """Answers requests in the reactor's thread."""

    def __init__(self, reactor: Reactor, live: Callable[[], dict[str, object]]) -> None:
        self._reactor = reactor
        self._live = live
        self._agents = reactor.performer.agents

    def handle(self, request: Request) -> None:
        """Decide one request; its answer goes out after the commit."""
        verb = VERBS.get(request.verb)
        try:
            if verb is None:
                known = ", ".join(sorted(VERBS))
                raise SpoolmwError(f"no such request: {request.verb}", why=f"known are {known}")
            _allowed(request)
            answer = verb(self, request.args, request.peer)
        except SpoolmwError as error:
            request.reply(error)
            return
        self._reactor.reply(request, answer)

    # -- what is --------------------------------------------------------------------------

    def status(self, _args: Args, _peer: Peer) -> object:
        reactor = self._reactor
        states = reactor.table.states
        return {
            "pid": os.getpid(),
            "open": {state.value: states[state] for state in TaskState if states[state]},
            "delivered": reactor.delivered_total,
            "rejected": reactor.intake.rejected,
            "intake": reactor.closed_intake or "open",
            "draining": reactor.dispatch.draining,
            "paused": dict(reactor.dispatch.paused),
            **self._live(),
        }

    def agents(self, _args: Args, _peer: Peer) -> object:
        reactor, rows = self._reactor, []
        for name, capacity in reactor.dispatch.capacity.items():
            used = reactor.table.usage(name)
            rows.append(
                {
                    "agent": name,
                    "slots": capacity.slots,
                    "attempts": used.attempts,
                    "cpus_used": used.cpus,
                    "memory_bytes": capacity.memory_bytes,
                    "gpus": capacity.gpus,
                    "queue": capacity.queue,
                    "host": capacity.host,
                    "paused": reactor.dispatch.paused.get(name, ""),
                }
            )
        return rows

    def running(self, _args: Args, _peer: Peer) -> object:
        """Every attempt that an agent holds, with what it uses now."""
        rows: list[dict[str, object]] = []
        for name, agent in self._agents.items():
            for seen in agent.sightings():
                task = self._reactor.table.get(seen.attempt.task)
                rows.append(
                    {
                        "id": seen.attempt.task,
                        "attempt": seen.attempt.attempt,
                        "name": task.spec.name if task is not None else "",
                        "agent": name,
                        "running": seen.running,
                        "host": seen.host,
                        "slot": seen.slot,
                        "pid": seen.pid,
                        "started_at": seen.started_at,
                        "cpu_s": seen.cpu_s,
                        "memory_bytes": seen.memory_bytes,
                    }
                )
        return rows

    def why(self, args: Args, _peer: Peer) -> object:
        reactor, task = self._reactor, self._task(args)
        reason = why(
            task,
            reactor.table.ready,
            reactor.dispatch.rooms(reactor.table),
            now=boot_s(),
        )
        return {"id": task.id, "state": task.state.value, "why": reason}

    def tail(self, args: Args, _peer: Peer) -> object:
        task = self._task(args)
        offset, stream = args.get("offset", 0), args.get("stream", "stdout")
        if not isinstance(offset, int) or stream not in ("stdout", "stderr"):
            raise SpoolmwError("tail takes an offset (a number) and stdout or stderr")
        if task.lease is None:
            return {"id": task.id, "running": False, "attempt": task.attempt, "text": ""}
        agent = self._agents[task.lease.agent]
        data = agent.tail(task.attempt_id, offset, str(stream))
        return {
            "id": task.id,
            "running": True,
            "attempt": task.attempt,
            "text": data.decode(errors="replace"),
            "bytes": len(data),
        }

    # -- what changes -----------------------------------------------------------------------

    def cancel(self, args: Args, peer: Peer) -> object:
        return self._each(args, lambda _: Cancelled(at=boot_s(), by=_who(peer)), "cancel")

    def hold(self, args: Args, peer: Peer) -> object:
        return self._each(args, lambda _: Held(at=boot_s(), by=_who(peer)), "hold")

    def release(self, args: Args, peer: Peer) -> object:
        return self._each(args, lambda _: Released(at=boot_s(), by=_who(peer)), "release")

    def prio(self, args: Args, peer: Peer) -> object:
        priority = args.get("priority")
        if not isinstance(priority, int) or isinstance(priority, bool):
            raise SpoolmwError("prio takes a priority (a whole number)")
        return self._each(
            args, lambda _: Reprioritised(at=boot_s(), priority=priority, by=_who(peer)), ""
        )

    def retry(self, args: Args, peer: Peer) -> object:
        """Run failed or cancelled tasks once more; each result gets a name that is free."""
        changed = []
        for task in self._tasks(args, ended=True):
            name = self._reactor.intake.free_name(task)
            event = Retried(at=boot_s(), result_name=name, by=_who(peer))
            after = self._reactor.apply(task, event)
            changed.append(_changed(task, after))
            if after is not task:
                markers.clear(self._reactor.intake.layout, task.id)
                self._reactor.intake.note_retried(after)
        return changed

    def pause(self, args: Args, _peer: Peer) -> object:
        """Start nothing more on an agent (or all); what runs goes on."""
        reason = str(args.get("reason") or "paused by hand")
        for name in self._named_agents(args):
            self._reactor.dispatch.paused[name] = reason
        self._reactor.keep_settings()
        return {"paused": dict(self._reactor.dispatch.paused)}

    def resume(self, args: Args, _peer: Peer) -> object:
        """Undo pause and drain."""
        for name in self._named_agents(args):
            self._reactor.dispatch.paused.pop(name, None)
        if not args.get("agent"):
            self._reactor.dispatch.draining = False
        self._reactor.keep_settings()
        return {"paused": dict(self._reactor.dispatch.paused)}

    def drain(self, _args: Args, _peer: Peer) -> object:
        self._reactor.dispatch.draining = True
        self._reactor.keep_settings()
        return {"draining": True, "running": self._reactor.table.states[TaskState.RUNNING]}

    def agents_set(self, args: Args, _peer: Peer) -> object:
        slots = args.get("slots")
        if not isinstance(slots, int) or isinstance(slots, bool) or not 0 <= slots <= 4096:
            raise SpoolmwError("agents set takes --slots N, from 0 to 4096")
        names = self._named_agents(args)
        for name in names:
            agent = self._agents[name]
            if not hasattr(agent, "set_slots"):
                raise AgentError(f"the agent {name} has no slots to set")
            agent.set_slots(slots)
        return {"agents": names, "slots": slots}

    # -- finding what is meant -------------------------------------------------------------

    def _named_agents(self, args: Args) -> list[AgentName]:
        name = args.get("agent")
        if not name:
            return list(self._agents)
        if name not in self._agents:
            known = ", ".join(self._agents)
            raise SpoolmwError(f"no agent is called {name!r}", why=f"there are: {known}")
        return [AgentName(str(name))]

    def _task(self, args: Args) -> Task:
        task_id = args.get("id")
        if not is_task_id(task_id):
            raise UnknownTask(f"not the id of a task: {task_id!r}")
        found = self._find(TaskId(str(task_id)))
        if found is None:
            raise UnknownTask(f"no task has the id {task_id}")
        return found

    def _find(self, task_id: TaskId) -> Task | None:
        return self._reactor.table.get(task_id) or self._reactor.journal.get(task_id)

    def _tasks(self, args: Args, *, ended: bool = False) -> list[Task]:
        ids = args.get("ids")
        if not isinstance(ids, list) or len(ids) > MAX_IDS:
            raise SpoolmwError("the request needs `ids`, a list of task ids")
        tasks = [self._task({"id": one}) for one in ids]
        for task in tasks:
            if ended and (task.state not in FINAL or task.state is TaskState.DONE):
                raise SpoolmwError(
                    f"{task.spec.name} is {task.state.value}",
                    why="only a failed or cancelled task can be run once more",
                )
        return tasks

    def _each(self, args: Args, event: Callable[[Task], Event], marker: str) -> object:
        changed = []
        for task in self._tasks(args):
            after = task
            if task.state not in FINAL:
                after = self._reactor.apply(task, event(task))
            if after is not task and marker:
                _mark(self._reactor, after, marker)
            changed.append(_changed(task, after))
        return changed


def _mark(reactor: Reactor, task: Task, marker: str) -> None:
    """What the user wanted stands beside the task's file too, in case the journal is lost."""
    layout = reactor.intake.layout
    if marker == "release":
        markers.clear(layout, task.id)
    else:
        markers.put(layout, task.id, markers.Mark(marker))


def _changed(before: Task, after: Task) -> dict[str, object]:
    return {
        "id": after.id,
        "name": after.spec.name,
        "was": before.state.value,
        "state": after.state.value,
        "changed": after is not before,
        "result_name": after.result_name,
    }


def _who(peer: Peer) -> str:
    return f"uid {peer.uid}"


READS = frozenset({"status", "agents", "running", "why", "tail"})


def _allowed(request: Request) -> None:
    if request.verb in READS or request.peer.uid in (0, os.geteuid()):
        return
    raise NotAllowed(
        f"{request.verb} is not allowed to user {request.peer.uid}",
        why="the daemon's own user and root may change tasks",
        fix="ask the administrator, or use sudo -u with the daemon's user",
    )


def verbs_of(names: Iterable[str]) -> dict[str, Verb]:
    return {name: getattr(Requests, name) for name in names}


VERBS: dict[str, Verb] = verbs_of(
    "status agents running why tail cancel hold release prio retry pause resume drain "
    "agents_set".split()
)
