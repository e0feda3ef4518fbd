"""What `status` and `agents` show of the running daemon."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from spoolmw import __version__
from spoolmw.agents.contract import Agent, Attended
from spoolmw.daemon.reactor import Reactor
from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName
from spoolmw.rules.placement import Room

Row = dict[str, object]


def status(reactor: Reactor, kinds: Mapping[str, str]) -> Row:
    """The daemon at a glance; docs/control.md names the keys."""
    tasks: dict[str, int] = dict(reactor.ended)
    for state, number in reactor.table.states.items():
        tasks[state.value] = number
    return {
        "pid": os.getpid(),
        "version": __version__,
        "spool": str(reactor.intake.layout.root),
        "started_at": reactor.started_at,
        "tasks": tasks,
        "unmade": reactor.arrays.unmade(),
        "intake": {"open": not reactor.closed_intake, "reason": reactor.closed_intake},
        "draining": reactor.dispatch.draining,
        "agents": agents(reactor, kinds),
        "disk": reactor.room.report(),
        "done_per_s": reactor.done_per_s(),
        "warnings": warnings(reactor),
    }


def agents(reactor: Reactor, kinds: Mapping[str, str]) -> list[Row]:
    """Every agent, in the order of the configuration."""
    return [agent(reactor, name, kinds) for name in reactor.dispatch.rooms]


def agent(reactor: Reactor, name: AgentName, kinds: Mapping[str, str]) -> Row:
    """One agent: its room, and what is taken of it."""
    room = reactor.dispatch.rooms[name]
    has = room.capacity
    running = min(room.attempts, has.slots if has.running is None else has.running)
    return {
        "name": name,
        "kind": kinds.get(name, ""),
        "slots": room.capacity.slots,
        "running": running,
        "queued": room.attempts - running,
        "memory_bytes": room.capacity.memory_bytes,
        "gpus": room.capacity.gpus,
        "paused": bool(room.paused),
        "reason": _reason(room),
        "host": room.capacity.host,
    }


def callers(agents: Mapping[AgentName, Agent]) -> list[Row]:
    """The hosts that came to agents by themselves, as far as they called lately."""
    return [
        {"agent": name, **asdict(each)}
        for name, agent in agents.items()
        if isinstance(agent, Attended)
        for each in agent.hosts()
    ]


def _reason(room: Room) -> str:
    """What there is to say about a room besides its numbers."""
    resting = room.resting and f"paused: {room.resting}"
    shut = room.paused or room.trouble or resting or room.barred
    return shut or "; ".join(_stuck(room.capacity))


def _stuck(has: Capacity) -> list[str]:
    """Why attempts wait there for ever, each reason once."""
    return [
        f"{number} of its jobs: {why}"
        for why, number in Counter(why for _, why in has.stuck).items()
    ]


def warnings(reactor: Reactor) -> list[str]:
    """What an operator should look at today."""
    found = [f"intake is closed: {reactor.closed_intake}"] if reactor.closed_intake else []
    if reactor.is_stuck():
        found.append("the journal cannot be written: nothing starts, nothing is lost")
    if warning := reactor.validating.warning():
        found.append(warning)
    found += [
        f"agent {name}: {room.trouble or room.resting}"
        for name, room in reactor.dispatch.rooms.items()
        if room.trouble or room.resting
    ]
    found += [
        f"agent {name}: {each}"
        for name, room in reactor.dispatch.rooms.items()
        for each in _stuck(room.capacity)
    ]
    return found
