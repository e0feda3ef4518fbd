"""Puts the daemon together: every part once, handed to whoever needs it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from spoolmw.agents.contract import Agent, AgentEvent
from spoolmw.agents.registry import make_agent
from spoolmw.config import Config
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import ControlServer, Request
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.effects import Performer
from spoolmw.daemon.hooks import Hooks
from spoolmw.daemon.housekeeping import Housekeeping
from spoolmw.daemon.intake import Intake
from spoolmw.daemon.logs import log
from spoolmw.daemon.notify import Notifier
from spoolmw.daemon.owners import Owners
from spoolmw.daemon.queries import Queries
from spoolmw.daemon.reactor import Item, Reactor
from spoolmw.daemon.recovery import Recovery
from spoolmw.daemon.requests import Requests
from spoolmw.daemon.room import DiskRoom
from spoolmw.daemon.table import Table
from spoolmw.daemon.wakeup import Wakeup
from spoolmw.model.ids import AgentName
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.drops import Drops
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.watch import Doorbell
from spoolmw.store.journal import Journal


class Parts:
    """The wired daemon. Making it opens the journal; `start` recovers and starts the threads."""

    STOP_SLACK_S = 8.0  #: beyond the grace, for KILL and the last commits

    def __init__(self, layout: Layout, config: Config, config_path: Path | None) -> None:
        self.layout = layout
        self.config = config
        self.config_path = config_path
        self.inbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.notifier = Notifier()
        self.owners = Owners(config.intake.group)
        self.journal = Journal.open(layout.journal)
        self.done_log = DoneLog(layout.done_log)
        self.hooks = Hooks(config.hooks.commands, config.hooks.timeout_s)
        self.room = DiskRoom(layout, config.disk.low_bytes)
        self.agents: dict[AgentName, Agent] = {
            AgentName(name): make_agent(AgentName(name), layout.root, settings, self._sink)
            for name, settings in config.agents.items()
        }
        self.table = Table()
        self.drops = Drops(
            layout,
            settle_s=config.intake.settle_s,
            max_task_bytes=config.intake.max_task_bytes,
            owner_allowed=self.owners.allowed,
            clock=boot_s,
        )
        self.reactor = self._reactor()
        self.reactor.on_request = Requests(self.reactor, self._live).handle
        self._queries = Queries(layout)
        self.control = ControlServer(layout.control, self._asked)
        self.housekeeping = Housekeeping(
            layout, config, self.journal, self.table, self.done_log
        )

    def _reactor(self) -> Reactor:
        delivery = Delivery(self.layout)
        doorbell = Doorbell(self.layout.incoming, recursive=True, on_ring=self._ring)
        return Reactor(
            journal=self.journal,
            table=self.table,
            intake=Intake(
                self.layout,
                self.drops,
                self.table,
                self.journal,
                agents=self.agents,
                allow_path=self.config.intake.allows,
                done_log=self.done_log,
            ),
            dispatch=Dispatch({name: agent.capacity() for name, agent in self.agents.items()}),
            delivery=delivery,
            performer=Performer(self.layout, self.agents, delivery, self.done_log, self.hooks),
            wakeup=Wakeup(doorbell, self.config.intake.scan_s),
            room=self.room,
            notifier=self.notifier,
            inbox=self.inbox,
        )

    def start(self) -> None:
        """Recover, then open for requests."""
        Recovery(self.layout, self.reactor).run()
        self.reactor.load_settings()
        self.control.start()

    def close(self) -> None:
        """Close everything that is open; the agents are closed already."""
        self.control.close()
        self.reactor.wakeup.close()
        self.hooks.close()
        self.done_log.close()
        self.journal.close()
        self.room.close()

    def hurry(self) -> None:
        """A second stop signal: whatever still runs is ended now."""
        for name, agent in self.agents.items():
            threading.Thread(target=agent.close, args=(0.0,), name=f"hurry-{name}").start()

    def reconfigure(self, fresh: Config) -> None:
        """Take over what a reload can change; what it cannot is said."""
        if fresh.agents.keys() != self.config.agents.keys():
            log.warning("reload: agents were added or removed; that needs a restart")
        self.owners.configure(fresh.intake.group)
        self.drops.settle(fresh.intake.settle_s)
        self.drops.max_task_bytes = fresh.intake.max_task_bytes
        self.reactor.wakeup.scan_s = fresh.intake.scan_s
        self.reactor.intake.allow_path = fresh.intake.allows
        self.hooks.configure(fresh.hooks.commands, fresh.hooks.timeout_s)
        self.room.low_bytes = fresh.disk.low_bytes
        self.housekeeping.config = fresh
        log.setLevel(fresh.log.level.upper())
        for name, settings in fresh.agents.items():
            self._reslot(AgentName(name), settings.slots)
        self.config = fresh

    def _reslot(self, name: AgentName, slots: int | None) -> None:
        agent, old = self.agents.get(name), self.config.agents.get(name)
        if agent is None or old is None or old.slots == slots or slots is None:
            return
        if hasattr(agent, "set_slots"):
            agent.set_slots(slots)

    def status_line(self) -> str:
        """One line for `systemctl status`."""
        reactor = self.reactor
        return (
            f"{len(self.table)} open, {reactor.delivered_total} delivered, "
            f"intake {reactor.closed_intake or 'open'}"
        )

    def _sink(self, events: Sequence[AgentEvent]) -> None:
        self.inbox.put(events)

    def _ring(self) -> None:
        self.inbox.put(None)

    def _asked(self, request: Request) -> None:
        if not self._queries.handle(request):
            self.inbox.put(request)

    def _live(self) -> dict[str, object]:
        return {"spool": str(self.layout.root), "config": str(self.config_path or "")}
