"""The attempts that a runner holds, and what its frames mean as events. No I/O: agents with a
runner share this, whatever the stream.

Rule 1: an attempt is launched once, however often it is asked for; until its report is
released, asking again repeats the report.
Rule 2: nothing is told of an attempt that was stopped.
Rule 3: a stopped attempt's successor (of the same replica) is kept back until the old one's
processes are gone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import is_
from typing import Any, NamedTuple

from spoolmw.agents import endings, news, validations
from spoolmw.agents.contract import AgentEvent
from spoolmw.agents.givenup import GivenUp
from spoolmw.agents.kinds import Kind, kind_of
from spoolmw.agents.running import Running
from spoolmw.model.agent import Launch, Sighting
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import Lost, Reported
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.runner.order import Element, lines

_MOST_KEPT = 10_000  #: reports kept for repeating
_AHEAD_S = 0.1  #: of work that may wait at the runner
_MOST_AHEAD = 1024
_WEIGHT = 0.1  #: of one attempt in the moving average of durations


class Loss(NamedTuple):
    """What ended a runner with all its attempts."""

    cause: Cause
    message: str
    dead: bool  #: proven: no process of theirs is left


class Ledger:
    """What one runner was given and what became of it.

    What is told of one attempt may name a host and machine of its own: engines have many.
    """

    def __init__(self, host: str, machine: str = "") -> None:
        self.host = host  #: its name; a pilot of another host may come
        self.machine = machine  #: its id; a far host tells it when it is there
        self._live: dict[str, Launch] = {}
        self._running = Running()
        self._reported: OrderedDict[AttemptId, AgentEvent] = OrderedDict()
        self.given_up = GivenUp()
        #: These two by task and replica.
        self._stopping: dict[str, str] = {}
        self._kept_back: dict[str, Launch] = {}
        self._average_s = 0.0
        self._last: tuple[object, ...] = ()
        self._last_kind: Kind = {}

    def __len__(self) -> int:
        return len(self._live)

    def take(self, work: Sequence[Launch]) -> tuple[list[Any], list[AgentEvent]]:
        """What the runner must be told of `work`, and reports that are repeated."""
        fresh: list[Launch] = []
        again: list[AgentEvent] = []
        for each in work:
            name = str(each.attempt)
            if name in self._live:
                continue
            if each.attempt in self._reported:
                again.append(self._reported[each.attempt])
                continue
            self._live[name] = each
            if self._stopping and (owner := _owner(name)) in self._stopping:
                self._kept_back[owner] = each
            else:
                fresh.append(each)
        return self._groups(fresh), again

    def all_again(self) -> list[Any]:
        """What a new runner must be told: all that was taken while there was none."""
        return self._groups(list(self._live.values()))

    def _groups(self, work: Iterable[Launch]) -> list[Any]:
        """A launch frame's work: a list of [kind, [packet, ...]]."""
        groups: list[Any] = []
        last: Kind | None = None
        for each in work:
            kind = self._kind_of(each)
            if kind is not last:
                groups.append([kind, []])
                last = kind
            name, part = str(each.attempt), each.element
            element = None if part is None else Element(part.position, part.index, part.line)
            groups[-1][1].append(lines(name, each.token, each.path, element))
        return groups

    def _kind_of(self, work: Launch) -> Kind:
        spec = work.spec
        key = (
            spec.run,
            spec.resources,
            spec.limits,
            spec.checkpoint,
            spec.place,
            work.memory_bytes,
            work.since,
            work.judging,
        )
        if self._last and all(map(is_, key, self._last)):
            return self._last_kind
        kind = kind_of(work)
        if kind != self._last_kind:
            self._last_kind = kind
        self._last = key
        return self._last_kind

    def stop(self, attempts: Iterable[AttemptId], *, is_reachable: bool = True) -> list[str]:
        """Forget these attempts; returns the names that the runner must be told to stop."""
        names: list[str] = []
        for each in attempts:
            name = str(each)
            if not is_reachable and self.given_up.stop_later(name):
                continue
            if self._live.pop(name, None) is None and self.given_up.forget(name) is None:
                continue
            self._running.end(name)
            owner = _owner(name)
            kept_back = self._kept_back.get(owner)
            if kept_back is not None and kept_back.attempt == each:
                del self._kept_back[owner]
                continue
            self._stopping[owner] = name
            names.append(name)
        return names

    def stopped(self, names: Iterable[str]) -> list[Launch]:
        """The runner has ended these; returns the successors that may start now."""
        free: list[Launch] = []
        for name in names:
            owner = _owner(name)
            if self._stopping.get(owner) != name:
                continue
            del self._stopping[owner]
            successor = self._kept_back.pop(owner, None)
            if successor is not None:
                del self._live[str(successor.attempt)]
                free.append(successor)
        return free

    def release(self, attempts: Iterable[AttemptId]) -> None:
        """The reports of these need not be repeated any more."""
        for each in attempts:
            self._reported.pop(each, None)
            self.given_up.forget(str(each))

    def started(self, told: Iterable[Mapping[str, Any]]) -> list[AgentEvent]:
        """Attempts that run for a while."""
        at = now()
        events: list[AgentEvent] = []
        for each in told:
            launch = self._live.get(each["attempt"])
            if launch is None:
                continue
            self._running.begin(each["attempt"], launch.spec.resources.cpus, each)
            if launch.judging is not None:
                continue
            self._average_s = max(self._average_s, _AHEAD_S)
            events.append(news.started(at, launch.attempt, each, (self.host, self.machine)))
        return events

    def waits_again(self, told: Iterable[Mapping[str, Any]]) -> None:
        """These ran, and wait for a machine again."""
        for each in told:
            self._running.end(each["attempt"])

    def running(self) -> int:
        """How many are known to run."""
        return len(self._running)

    def running_cpus(self) -> int:
        """What the running attempts have together."""
        return self._running.cpus

    def used(self, told: Iterable[Mapping[str, Any]]) -> None:
        """What running attempts use now."""
        for each in told:
            self._running.used(each["attempt"], each)

    def news(self, event: str, told: Iterable[Mapping[str, Any]]) -> list[AgentEvent]:
        """What running attempts say of themselves: resumed, checkpointed, progress."""
        at = now()
        known = ((self._live.get(each["attempt"]), each) for each in told)
        return [news.heard(event, at, launch.attempt, each) for launch, each in known if launch]

    def ended(self, told: Iterable[Mapping[str, Any]]) -> list[AgentEvent]:
        """Attempts that ended; what is not live any more is passed over."""
        at = now()
        events: list[AgentEvent] = []
        for each in told:
            name = each["attempt"]
            launch = self._live.pop(name, None) or self.given_up.forget(name)
            if launch is None:
                continue
            self._running.end(name)
            if launch.judging is not None:
                events += validations.ended(at, launch.attempt, each)
                continue
            where = (each.get("host", self.host), each.get("machine", self.machine))
            event = endings.told(at, launch.attempt, each, where)
            if isinstance(event, Lost) and not event.dead:
                self.given_up.take([launch])
            self._reported[launch.attempt] = event
            events.append(event)
            took_s = max(0.0, each["ended"] - each["started"])
            self._average_s += (took_s - self._average_s) * (
                _WEIGHT if self._average_s else 1.0
            )
        while len(self._reported) > _MOST_KEPT:
            self._reported.popitem(last=False)
        return events

    def all_lost(
        self, ran: Collection[str], loss: Loss, *, counts: bool = True
    ) -> list[AgentEvent]:
        """The runner is gone with all that it held; `ran` are those that had begun."""
        events = self.lost(list(self._live), ran, loss, counts=counts)
        self._stopping.clear()
        self._kept_back.clear()
        return events

    def lost(
        self, names: Iterable[str], ran: Collection[str], loss: Loss, *, counts: bool = True
    ) -> list[AgentEvent]:
        """These attempts are lost; those that are not proven dead may still report."""
        at = now()
        wall = time.time()
        events: list[AgentEvent] = []
        for name in names:
            launch = self._live.pop(name)
            told = self._running.end(name)
            if launch.judging is not None:
                events += validations.lost(at, launch.attempt, loss.cause, loss.message)
                continue
            if not loss.dead:
                self.given_up.take([launch])
            events.append(
                Lost(
                    at=at,
                    attempt=launch.attempt,
                    cause=loss.cause,
                    blame=Blame.HOST,
                    message=loss.message,
                    host=self.host,
                    slot=told.get("slot", ""),
                    started_at=told.get("started", wall),
                    ended_at=wall,
                    counts=counts and (name in ran or bool(told)),
                    dead=loss.dead,
                )
            )
        return events

    def unaccounted(self, held: Collection[str]) -> list[str]:
        """Attempts that the runner must have and does not speak of."""
        back = {str(each.attempt) for each in self._kept_back.values()}
        return [name for name in self._live if name not in held and name not in back]

    def live(self) -> Iterable[str]:
        """The names of all attempts that wait or run."""
        return self._live.keys()

    def being_stopped(self) -> list[str]:
        """Attempts whose end was ordered and not told yet."""
        return list(self._stopping.values())

    def strangers(self, live: Iterable[str]) -> list[str]:
        """Of what lives at the runner, that which nobody waits for (any more)."""
        wanted = self.given_up.is_wanted
        found = [name for name in live if name not in self._live and not wanted(name)]
        for name in found:
            self.given_up.forget(name)
        return found

    def is_settled(self, name: str) -> bool:
        """Whether nobody waits for this attempt's report, nor for its commit (a loss needs none)."""
        if name in self._live or name in self.given_up:
            return False
        task, replica, number = name.split(".")
        told = self._reported.get(AttemptId(TaskId(task), int(replica), int(number)))
        return not isinstance(told, Reported)

    def still_held(self) -> list[Any]:
        """A launch frame's work: all that may still report, for a link that starts anew."""
        return self._groups([*self._live.values(), *self.given_up])

    def ahead(self, slots: int) -> int:
        """How many short attempts may wait at the runner beyond its slots."""
        if not self._average_s:
            return 0
        wanted = int(slots * _AHEAD_S / self._average_s)
        return min(_MOST_AHEAD, 1 << (wanted.bit_length() - 1)) if wanted else 0

    def slot_of(self, attempt: AttemptId) -> str:
        """The worker that runs an attempt, as far as it was told."""
        return str((self._running.get(str(attempt)) or {}).get("slot", ""))

    def sightings(self) -> list[Sighting]:
        """Every attempt that the runner holds."""
        return [self._sighting(name, launch) for name, launch in list(self._live.items())]

    def _sighting(self, name: str, launch: Launch) -> Sighting:
        told = self._running.get(name)
        if told is None:
            return Sighting(attempt=launch.attempt, running=False, host=self.host)
        return Sighting(
            attempt=launch.attempt,
            running=True,
            host=told.get("host", self.host),
            slot=told["slot"],
            pid=told["pid"],
            started_at=told["started"],
            cpu_s=told.get("cpu_s", 0.0),
            memory_bytes=told.get("memory_bytes", 0),
        )


def _owner(name: str) -> str:
    """Task and replica of an attempt: its next attempt waits until the old one's processes are gone."""
    return name.rpartition(".")[0]


def now() -> float:
    """The clock of events: it goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
