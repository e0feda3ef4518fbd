"""The verbs of the control socket that need the reactor: changes, and what only it knows.

Each verb is one method `(args, peer) -> answer`; the answer is sent after the commit. Reading is
for everybody who may open the socket; changing is for the daemon's user and root, until tasks
have owners of their own. docs/control.md describes the answers.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spoolmw.agents.contract import Agent
from spoolmw.daemon import attempts, view
from spoolmw.daemon.aside import Aside
from spoolmw.daemon.changes import Changes
from spoolmw.daemon.clock import boot_s, wall_s
from spoolmw.daemon.comeback import Comeback
from spoolmw.daemon.control import Peer, Request
from spoolmw.daemon.dispatch import PAUSED
from spoolmw.daemon.housekeeping import PIECE, Housekeeping
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.picking import Args, find, the_task, why_unmade
from spoolmw.daemon.polls import Polls
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import AgentError, JournalCorrupt, SpoolmwError
from spoolmw.model.ids import AgentName
from spoolmw.model.task import FINAL, Task, TaskState

READS = frozenset({"status", "agents", "callers", "why", "tail", "progress"})


class NotAllowed(SpoolmwError):
    """The peer's user may not do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What requests need beside the reactor."""

    agents: Mapping[AgentName, Agent]
    kinds: Mapping[str, str]
    housekeeping: Housekeeping
    reload: Callable[[], list[str]]
    stop: Callable[[], None]


class Requests:
    """Answers requests in the reactor's thread, but for what has to be asked far away."""

    def __init__(self, reactor: Reactor, daemon: Daemon) -> None:
        self._reactor = reactor
        self._daemon = daemon
        comeback, changes, polls = Comeback(reactor), Changes(reactor), Polls(reactor)
        self._polls = polls
        self._aside = Aside()
        self._verbs: dict[str, Callable[[Args, Peer], object]] = {
            "status": lambda _args, _peer: view.status(reactor, daemon.kinds),
            "agents": lambda _args, _peer: {"agents": view.agents(reactor, daemon.kinds)},
            "callers": lambda _args, _peer: {"hosts": view.callers(daemon.agents)},
            "why": self._why,
            "tail": self._tail,
            "cancel": changes.cancel,
            "hold": changes.hold,
            "release": changes.release,
            "prio": changes.prio,
            "retry": comeback.retry,
            "brought": comeback.brought,
            "progress": comeback.progress,
            "adjudicate": polls.adjudicate,
            "pause": self._pause,
            "resume": self._resume,
            "drain": self._drain,
            "agents_set": self._agents_set,
            "prune": self._prune,
            "reload": lambda _args, _peer: {"changed": daemon.reload()},
            "stop": self._stop,
        }

    def handle(self, request: Request) -> None:
        """Decide one request; the answer to a change goes out after its commit."""
        try:
            verb = self._verbs.get(request.verb)
            if verb is None:
                known = ", ".join(sorted(self._verbs))
                raise SpoolmwError(
                    f"There is no request {request.verb!r}.", why=f"Known: {known}"
                )
            _check_allowed(request)
            told = verb(request.args, request.peer)
        except JournalCorrupt:
            raise  # not the asker's matter: it ends the daemon
        except SpoolmwError as error:
            request.reply(error)
            return
        except (OSError, ValueError, TypeError, OverflowError) as error:
            log.exception("request failed %s", fields(verb=request.verb))
            request.reply(SpoolmwError(f"{request.verb} failed: {error}"))
            return
        if callable(told):
            self._aside.answer(request, told)
        elif request.verb in READS:
            request.reply(told)  # also while the disk is full and nothing is committed
        else:
            self._reactor.reply(request, told)

    # -- what is ------------------------------------------------------------------------------

    def _why(self, args: Args, _peer: Peer) -> object:
        if (unmade := why_unmade(self._reactor, args.get("id"))) is not None:
            return unmade
        task = the_task(self._reactor, args.get("id"))
        first = find(self._reactor, task.twin_of) if task.twin_of is not None else None
        awaited = self._reactor.waits.verdicts.why(task)
        reason = self._reactor.validating.why(task)
        reason = reason or self._reactor.dispatch.why(task, first, boot_s(), awaited=awaited)
        reason += self._start_of(task)
        return {"id": task.id, "state": task.state.value, "reason": reason}

    def _start_of(self, task: Task) -> str:
        """How far the attempt is; of one to come, from where it goes on."""
        if attempts.running(task) is not None:
            told = self._reactor.hearing.progress(task.id)
            return f" ({100 * told.fraction:.3g} % done)" if told is not None else ""
        if task.saved is None or task.state in (*FINAL, TaskState.DELIVERING):
            return ""
        return f" (it will go on from checkpoint {task.saved.attempt}-{task.saved.sequence})"

    def _tail(self, args: Args, _peer: Peer) -> Callable[[], object]:
        """What gives the answer: an agent may have to ask its host."""
        task = the_task(self._reactor, args.get("id"))
        offset, stream = args.get("offset", 0), args.get("stream", "stdout")
        if (
            not isinstance(offset, int)
            or abs(offset) >= 1 << 62
            or stream not in ("stdout", "stderr")
        ):
            raise SpoolmwError("tail takes an offset (a number) and stdout or stderr.")
        runs = attempts.running(task, args.get("replica"))
        attempt, name = runs or (task.attempt_id, "")
        agent = self._daemon.agents.get(AgentName(name))

        def ask() -> object:
            data = agent.tail(attempt, offset, str(stream)) if agent is not None else b""
            return {
                "data": base64.b64encode(data).decode("ascii"),
                "offset": max(offset, 0) + len(data),
                "running": runs is not None,
                "attempt": attempt.attempt,
                "replica": attempt.replica,
            }

        return ask

    # -- what changes the daemon ---------------------------------------------------------------

    def _pause(self, args: Args, peer: Peer) -> object:
        """Start nothing more on an agent (or all), or a host, or take no files; what runs goes on."""
        if args.get("host"):
            return self._polls.pause(args, peer)
        if args.get("intake"):
            self._reactor.dispatch.closed_by_hand = PAUSED
        else:
            for name in self._named(args):
                self._reactor.dispatch.rooms[name].paused = PAUSED
        return self._paused()

    def _resume(self, args: Args, peer: Peer) -> object:
        """Undo pause and drain."""
        if args.get("host"):
            return self._polls.resume(args, peer)
        if args.get("intake"):
            self._reactor.dispatch.closed_by_hand = ""
        else:
            for name in self._named(args):
                self._reactor.dispatch.rooms[name].paused = ""
                self._reactor.dispatch.resting.worked(name)
            if not args.get("agent"):
                self._reactor.dispatch.draining = False
                self._reactor.dispatch.closed_by_hand = ""
        return self._paused()

    def _paused(self) -> object:
        dispatch = self._reactor.dispatch
        dispatch.keep(self._reactor.journal)
        paused = [name for name, room in dispatch.rooms.items() if room.paused]
        return {"paused": paused, "intake": "paused" if dispatch.closed_by_hand else "open"}

    def _drain(self, _args: Args, _peer: Peer) -> object:
        self._reactor.dispatch.draining = True
        self._reactor.dispatch.keep(self._reactor.journal)
        return {"running": self._reactor.table.states[TaskState.RUNNING]}

    def _agents_set(self, args: Args, _peer: Peer) -> object:
        slots = args.get("slots")
        if not isinstance(slots, int) or isinstance(slots, bool) or not 0 <= slots <= 4096:
            raise SpoolmwError("agents set takes slots from 0 to 4096.")
        for name in self._named({"agent": args.get("agent") or "?"}):
            set_slots = getattr(self._daemon.agents[name], "set_slots", None)
            if set_slots is None:
                raise AgentError(f"The agent {name} has no slots to set.")
            set_slots(slots)
        return {**view.agent(self._reactor, name, self._daemon.kinds), "slots": slots}

    def _prune(self, args: Args, _peer: Peer) -> object:
        dry, keeper = bool(args.get("dry_run")), self._daemon.housekeeping
        results, story = _age(args, "results_s"), _age(args, "story_s")
        now = wall_s()
        gone, size, told = keeper.prune_by_hand(
            0.0 if results is None else max(now - results, 0.0),
            0.0 if story is None else max(now - story, 0.0),
            dry=dry,
        )
        saved, age = 0, _age(args, "checkpoints_s")
        if age is not None:
            saved, freed = keeper.prune_checkpoints(now - age, dry=dry)
            size += freed
        return {
            "results": gone,
            "story": told,
            "checkpoints": saved,
            "bytes": size,
            "more": dry and max(gone, told) >= PIECE,
            "dry_run": dry,
        }

    def _stop(self, _args: Args, _peer: Peer) -> object:
        self._daemon.stop()
        return {"stopping": True}

    # -- finding what is meant -----------------------------------------------------------------

    def _named(self, args: Args) -> list[AgentName]:
        name = args.get("agent")
        if not name:
            return list(self._daemon.agents)
        family = [each for each in self._daemon.agents if each.startswith(f"{name}:")]
        if family:
            return family
        if not isinstance(name, str) or name not in self._daemon.agents:
            known = ", ".join(self._daemon.agents)
            raise SpoolmwError(f"There is no agent {name!r}.", why=f"There are: {known}")
        return [AgentName(name)]


def _age(args: Args, key: str) -> float | None:
    age = args.get(key)
    if age is None:
        return None
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age < 1e11:
        raise SpoolmwError(f"{key} takes an age in seconds.")
    return float(age)


def _check_allowed(request: Request) -> None:
    if request.verb in READS or request.peer.uid in (0, os.geteuid()):
        return
    raise NotAllowed(
        f"{request.verb} is not allowed to user {request.peer.uid}.",
        why="The daemon's own user and root may change tasks.",
        fix="Ask the administrator, or run it as the daemon's user (sudo -u).",
    )
