"""Puts the daemon together: every part once, handed to whoever needs it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from spoolmw.agents.contract import Agent, AgentEvent, Lasting, Sink
from spoolmw.agents.registry import make_agents, section_of
from spoolmw.config import AgentConfig, Config, changed_keys
from spoolmw.daemon.arrays import Arrays
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import ControlServer, Request
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.effects import Performer
from spoolmw.daemon.elastics import Elastics
from spoolmw.daemon.finder import Finder
from spoolmw.daemon.gear import Gear, Inbox, News
from spoolmw.daemon.hooks import Hooks
from spoolmw.daemon.hosts import Hosts
from spoolmw.daemon.housekeeping import Housekeeping
from spoolmw.daemon.intake import Intake
from spoolmw.daemon.logs import log
from spoolmw.daemon.notify import Notifier
from spoolmw.daemon.owners import Owners
from spoolmw.daemon.queries import Queries
from spoolmw.daemon.reactor import Reactor
from spoolmw.daemon.recovery import Recovery
from spoolmw.daemon.requests import Daemon, Requests
from spoolmw.daemon.room import DiskRoom
from spoolmw.daemon.table import Table
from spoolmw.daemon.validating import Validating
from spoolmw.daemon.values import Values
from spoolmw.daemon.waits import Waits
from spoolmw.daemon.wakeup import Wakeup
from spoolmw.errors import AgentError, BadSpool, DiskFull, JournalCorrupt, JournalLost
from spoolmw.model.ids import AgentName
from spoolmw.spooldir.accepted import is_fresh
from spoolmw.spooldir.disk import Ballast
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.drops import Drops
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.watch import Doorbell
from spoolmw.store.journal import Journal


@contextmanager
def _starting() -> Iterator[None]:
    """A journal that is damaged or missing is so at the next start too: that of a BadSpool.

    One that cannot be read or written just now (JournalLost) may be usable then.
    """
    try:
        yield
    except JournalLost:
        raise
    except JournalCorrupt as error:
        raise BadSpool(error.what, why=error.why, fix=error.fix) from error


class Parts:
    """The wired daemon. Making it opens the journal; `start` recovers and starts the threads."""

    STOP_SLACK_S = 8.0  #: beyond the grace, for KILL and the last commits
    log_level = ""  #: of the command line: it holds whatever the configuration says

    def __init__(self, layout: Layout, config: Config) -> None:
        self.layout = layout
        self.config = config
        self._started = config  #: what the parts were made with
        self.inbox = Inbox()
        self.notifier = Notifier()
        self.owners = Owners(config.intake.group)
        self.journal = _open_journal(layout)
        self.done_log = DoneLog(layout.done_log)
        self.hooks = Hooks(_programs(config), config.hooks.timeout_s)
        self.room = DiskRoom(layout, config.disk.low_bytes)
        self.agents: dict[AgentName, Agent] = {}
        for settings in config.agents:
            self.agents |= make_agents(settings, layout.root, self._sink_of)
        self.table = Table()
        self.drops = Drops(
            layout,
            settle_s=config.intake.settle_s,
            max_task_bytes=config.intake.max_task_bytes,
            owner_allowed=self.owners.allowed,
            clock=boot_s,
        )
        self.reactor = self._reactor()
        self._queries = Queries(layout)
        self.control = ControlServer(layout.control, self._asked, group=self.owners.gid)
        self.housekeeping = Housekeeping(
            layout, config, self.journal, self.table, self.done_log
        )

    def serve(self, *, reload: Callable[[], list[str]], stop: Callable[[], None]) -> None:
        """Let requests be answered from now on."""
        sections = {settings.name: settings.kind for settings in self.config.agents}
        daemon = Daemon(
            agents=self.agents,
            kinds={name: sections[section_of(name)] for name in self.agents},
            housekeeping=self.housekeeping,
            reload=reload,
            stop=stop,
        )
        self.reactor.on_request = Requests(self.reactor, daemon).handle
        self.control.start()

    def _reactor(self) -> Reactor:
        delivery, values = Delivery(self.layout), Values(self.layout)
        finder = Finder(self.table, self.journal, self.layout.done_log)
        waits = Waits(self.table, self.journal, delivery, values, finder)
        hosts = Hosts(self.journal.hosts())
        dispatch = Dispatch({name: agent.capacity() for name, agent in self.agents.items()})
        dispatch.hosts = hosts.records
        doorbell = Doorbell(
            self.layout.incoming,
            recursive=True,
            on_ring=self._ring,
            on_arrival=self.drops.arrived,
        )
        intake = Intake(
            self.layout,
            self.drops,
            self.table,
            self.journal,
            self.done_log,
            waits,
            agents=self.agents,
        )
        intake.provisions.allow_path = _allows(self.config)
        intake.provisions.max_elements = self.config.intake.max_elements
        intake.on_full = self.room.full
        validating = Validating(self.layout, self.agents, self.table)
        performer = Performer(
            self.layout, self.agents, delivery, self.done_log, self.hooks, dispatch
        )
        validating.bounds = self.config.validation
        performer.judge = validating.order
        return Reactor(
            Gear(
                journal=self.journal,
                table=self.table,
                intake=intake,
                arrays=Arrays(
                    self.table, self.journal, intake, window=self.config.arrays.window
                ),
                dispatch=dispatch,
                elastics=Elastics(self.agents, dispatch),
                hosts=hosts,
                delivery=delivery,
                performer=performer,
                validating=validating,
                waits=waits,
                wakeup=Wakeup(doorbell, self.config.intake.scan_s),
                room=self.room,
                notifier=self.notifier,
                inbox=self.inbox,
            )
        )

    @_starting()
    def start(self) -> None:
        """Recover: what is then owed is in the reactor's batch."""
        lasting = {
            name: agent for name, agent in self.agents.items() if isinstance(agent, Lasting)
        }
        left = Recovery(self.layout, self.reactor, lasting.keys()).run()
        for name, agent in lasting.items():
            agent.adopt(left.running.get(name, []), left.given_up.get(name, []))
        self.reactor.dispatch.load(self.journal)

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

    def reconfigure(self, fresh: Config) -> list[str]:
        """Take over what a reload can change; returns what changed, and what needs a restart."""
        changed = [
            f"[{section.name}]"
            for section in dataclasses.fields(Config)
            if section.name != "source"
            and getattr(fresh, section.name) != getattr(self.config, section.name)
        ]
        changed += _needs_restart(self._started, fresh)
        self.owners.configure(fresh.intake.group)
        self.drops.settle(fresh.intake.settle_s)
        self.drops.max_task_bytes = fresh.intake.max_task_bytes
        self.reactor.wakeup.scan_s = fresh.intake.scan_s
        provisions = self.reactor.intake.provisions
        provisions.allow_path = _allows(fresh)
        provisions.max_elements = fresh.intake.max_elements
        self.reactor.arrays.window = fresh.arrays.window
        self.reactor.validating.bounds = fresh.validation
        self.hooks.configure(_programs(fresh), fresh.hooks.timeout_s)
        self.room.low_bytes = fresh.disk.low_bytes
        self.housekeeping.config = fresh
        if not self.log_level:
            log.setLevel(fresh.log.level.upper())
        for settings in fresh.agents:
            changed += self._reslot(settings)
        self.config = fresh
        return changed

    def _reslot(self, fresh: AgentConfig) -> list[str]:
        """Give an agent its new number of slots, where that changed; what it says against it."""
        old = next((agent for agent in self.config.agents if agent.name == fresh.name), None)
        if old is None or old.slots == fresh.slots:
            return []
        for name, agent in self.agents.items():
            set_slots = getattr(agent, "set_slots", None)
            if section_of(name) == fresh.name and set_slots is not None:
                try:
                    set_slots(fresh.slots or agent.own_slots())  # type: ignore[attr-defined]  # who has the one has the other
                except AgentError as error:
                    return [f"the slots of {name} stay: {error.what}"]
        return []

    def status_line(self) -> str:
        """One line for `systemctl status`."""
        reactor = self.reactor
        return (
            f"{len(self.table)} open, {reactor.delivered_total} delivered, "
            f"intake {reactor.closed_intake or 'open'}"
        )

    def _sink_of(self, agent: AgentName) -> Sink:
        return partial(self._told, agent)

    def _told(self, agent: AgentName, events: Sequence[AgentEvent]) -> None:
        self.inbox.put(News(agent, events))

    def _ring(self) -> None:
        self.inbox.put(None)

    def _asked(self, request: Request) -> None:
        if not self._queries.handle(request):
            self.inbox.put(request)


@_starting()
def _open_journal(layout: Layout) -> Journal:
    """The journal; made only where no task was ever accepted. On a full disk the ballast goes."""
    try:
        return Journal.open(layout.journal, create=is_fresh(layout))
    except DiskFull:
        if not Ballast(layout).release():
            raise
        return Journal.open(layout.journal, create=is_fresh(layout))


def _needs_restart(started: Config, fresh: Config) -> list[str]:
    """What a reload leaves as it was at the start, one text for each section."""
    old = {agent.name: agent for agent in started.agents}
    told = []
    if old.keys() != {agent.name for agent in fresh.agents}:
        told.append("agents that were added or removed need a restart")
    for agent in fresh.agents:
        keys = changed_keys(old.get(agent.name, agent), agent)
        if kept := [key for key in keys if key != "slots"]:
            told.append(f"[agents.{agent.name}] a restart is needed for {', '.join(kept)}")
    if fresh.intake.group != started.intake.group:
        told.append("[intake] a restart is needed for all that the group may do")
    return told


def _programs(config: Config) -> dict[str, Sequence[str]]:
    return {"done": config.hooks.done, "failed": config.hooks.failed}


def _allows(config: Config) -> Callable[[Path], bool]:
    """Whether an input outside of the drop's own folder may be taken: `[intake] allow_paths`."""
    folders = [Path(folder) for folder in config.intake.allow_paths]

    def allows(path: Path) -> bool:
        real = path.resolve()
        return any(real.is_relative_to(folder.resolve()) for folder in folders)

    return allows
