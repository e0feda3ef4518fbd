"""What the reactor works with, and what lands on its inbox."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spoolmw.agents.contract import AgentEvent
from spoolmw.daemon.arrays import Arrays
from spoolmw.daemon.control import Request
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.effects import Performer
from spoolmw.daemon.elastics import Elastics
from spoolmw.daemon.hosts import Hosts
from spoolmw.daemon.intake import Intake
from spoolmw.daemon.notify import Notifier
from spoolmw.daemon.room import DiskRoom
from spoolmw.daemon.table import Table
from spoolmw.daemon.validating import Validating
from spoolmw.daemon.waits import Waits
from spoolmw.daemon.wakeup import Wakeup
from spoolmw.model.ids import AgentName
from spoolmw.store.journal import Journal


class News(NamedTuple):
    """What one agent tells."""

    agent: AgentName
    events: Sequence[AgentEvent]


Item = News | Request | None


class Inbox:
    """What other threads (and signal handlers) tell the reactor, in order."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.put = self._queue.put

    def take(self, timeout_s: float) -> Iterator[Item]:
        """What is there; for the first item this waits up to `timeout_s`."""
        try:
            yield (
                self._queue.get(timeout=timeout_s)
                if timeout_s > 0
                else self._queue.get_nowait()
            )
            while True:
                yield self._queue.get_nowait()
        except queue.Empty:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Gear:
    """Everything that the reactor works with."""

    journal: Journal
    intake: Intake
    arrays: Arrays
    table: Table
    dispatch: Dispatch
    elastics: Elastics
    hosts: Hosts
    delivery: Delivery
    performer: Performer
    wakeup: Wakeup
    waits: Waits
    validating: Validating
    room: DiskRoom
    notifier: Notifier
    inbox: Inbox
