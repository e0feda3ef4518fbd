"""The verbs `agents` (who runs attempts, with how many slots) and `hosts` (how they did)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import Verb, shared_options, verb
from spoolmw.ctl.words import duration, size

AGENTS = (
    Column("AGENT"),
    Column("KIND"),
    Column("HOST"),
    Column("SLOTS", right=True),
    Column("RUNNING", right=True),
    Column("QUEUED", right=True),
    Column("MEMORY", right=True),
    Column("GPUS", right=True),
    Column("SAYS"),
)
HOSTS = (
    Column("HOST"),
    Column("AGENT"),
    Column("ATTEMPTS", right=True),
    Column("GOOD", right=True),
    Column("FAILED", right=True),
    Column("LOST", right=True),
    Column("WALL", right=True),
    Column("CPU", right=True),
)


def agent_row(agent: Mapping[str, Any]) -> tuple[str, ...]:
    """An agent as a row of the table."""
    return (
        agent["name"],
        agent["kind"],
        agent["host"],
        str(agent["slots"]),
        str(agent["running"]),
        str(agent["queued"] or ""),
        size(agent["memory_bytes"]) if agent["memory_bytes"] else "",
        str(agent["gpus"] or ""),
        agent_says(agent),
    )


def agent_says(agent: Mapping[str, Any]) -> str:
    """What there is to say about an agent besides its numbers."""
    if agent["paused"]:
        return "paused" if agent["reason"] in ("", "paused") else f"paused: {agent['reason']}"
    return str(agent["reason"])


def _show(session: Session, agents: list[dict[str, Any]]) -> None:
    if session.screen.json:
        for agent in agents:
            session.screen.record(agent)
    else:
        session.screen.table(AGENTS, [agent_row(agent) for agent in agents])


class AgentsVerb(click.Group, Verb):
    """`agents` by itself lists; `agents set` changes."""


@click.group(
    "agents",
    cls=AgentsVerb,
    invoke_without_command=True,
    examples="""
    spoolmw-ctl agents
    spoolmw-ctl agents set local --slots 4
    """,
)
@shared_options
@click.pass_context
def agents_verb(ctx: click.Context) -> None:
    """List the agents: slots, what runs, whether they are paused."""
    if ctx.invoked_subcommand is None:
        session = ctx.ensure_object(Session)
        _show(session, session.control().request("agents")["agents"])


@verb("set", examples="spoolmw-ctl agents set local --slots 4")
@click.argument("agent")
@click.option("--slots", type=click.IntRange(0), required=True, help="Attempts at once.")
def agents_set(session: Session, *, agent: str, slots: int) -> None:
    """Change an agent's slots while work goes on; until the daemon is started again.

    With fewer slots than attempts that run, these go on to their end.
    """
    asked = {"agent": agent, "slots": slots}
    _show(session, [session.control().request("agents_set", asked)])


agents_verb.add_command(agents_set)


@verb("hosts", examples="spoolmw-ctl hosts --json | jq 'select(.lost > 0)'")
def hosts_verb(session: Session) -> None:
    """Show what each host has done: attempts, losses, time.

    Works while the daemon is down.
    """
    with session.reports() as reports:
        hosts = list(reports.stats())
    if session.screen.json:
        for host in hosts:
            session.screen.record(host)
        return
    if not hosts:
        session.screen.say("No attempt has ended yet.")
        return
    session.screen.table(HOSTS, [_host_row(host) for host in hosts])


def _host_row(host: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        host.get("host") or "?",
        host.get("agent") or "",
        str(host["attempts"]),
        str(host["succeeded"]),
        str(host["failed"]),
        str(host["lost"]),
        duration(host.get("wall_s")),
        duration(host.get("cpu_s")),
    )
