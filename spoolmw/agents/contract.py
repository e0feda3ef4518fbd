"""The contract that every agent fulfils, and the one suite in `tests/contract` holds it to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from spoolmw.model.agent import Capacity, CapacityChanged, HostSeen, Launch, Sighting, Validated
from spoolmw.model.events import Checkpointed, Lost, Progressed, Reported, Resumed, Started
from spoolmw.model.ids import AgentName, AttemptId

AttemptEvent = Started | Resumed | Checkpointed | Progressed | Reported | Lost
AgentEvent = AttemptEvent | Validated | CapacityChanged
Sink = Callable[[Sequence[AgentEvent]], None]
"""Takes a batch of events; called from any thread; never blocks and never raises."""


class Agent(Protocol):
    """A place that runs attempts: local cores, an ssh host, a HTCondor or BOINC pool.

    launch() and stop() are idempotent in the attempt's id: the daemon repeats them after a
    crash. No method blocks for longer than a few milliseconds, except close() and tail(). Only
    AgentError may be raised. Events arrive on the sink that the agent was made with; an
    event's `at` is the boot-time clock (time.clock_gettime(CLOCK_BOOTTIME)).

    An agent that `judges` takes launches with a `judging` too: beyond its slots, and it tells
    of each one `Validated` and nothing else. It must see `stage/` as it is.
    """

    name: AgentName
    judges: bool

    def capacity(self) -> Capacity:
        """The room there is now; changes are also told to the sink as CapacityChanged."""

    def launch(self, work: Sequence[Launch]) -> None:
        """Start these attempts, or keep them until a slot is free. Never blocks on a full stream."""

    def stop(self, attempts: Sequence[AttemptId], *, is_wanted: bool = True) -> None:
        """End these attempts with their whole trees; nothing is reported of a stopped attempt.

        `is_wanted`: their tasks will run again, so what saves its progress has time for it.
        """

    def release(self, attempts: Sequence[AttemptId]) -> None:
        """The report of these is committed: a copy that is kept for repeating it may go."""

    def sightings(self) -> Iterable[Sighting]:
        """Every attempt that the agent knows, many at once."""

    def tail(self, attempt: AttemptId, offset: int, stream: str = "stdout") -> bytes:
        """Up to 64 KiB of a running attempt's output from `offset`; empty when there is no more.

        A negative `offset` counts from the end. It may take a moment, and any thread may call it.
        """

    def close(self, grace_s: float) -> None:
        """End within `grace_s` and a little; a host agent's attempts get TERM first."""


@runtime_checkable
class Lasting(Protocol):
    """An agent whose attempts outlive the daemon; its close() leaves them where they are."""

    def adopt(self, work: Sequence[Launch], given_up: Sequence[Launch] = ()) -> None:
        """Begin to serve. `work` ran here when an earlier daemon ended: what became of it is
        told as of any launch. `given_up` was called lost meanwhile: should it report after all,
        that is told too. What else still runs here is ended."""


@runtime_checkable
class Attended(Protocol):
    """An agent to which hosts come by themselves."""

    def hosts(self) -> Sequence[HostSeen]:
        """Those that called lately, the newest first."""


@runtime_checkable
class Elastic(Protocol):
    """One of a family of agents that can have more hosts brought when work waits."""

    def offer(self) -> Capacity:
        """What one host would have that might be brought; what is not known is left out."""

    def demand(self, slots: int) -> None:
        """Tasks wait that could run on such hosts, and would fill so many slots. Told again only
        when the number is another in kind: it becomes zero, or twice as large."""
