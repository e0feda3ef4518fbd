"""The verbs `agents` (who runs attempts, with how many slots) and `hosts` (how they did)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from spoolmw.ctl.agents_test import agents_test
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
    Column("VALID", right=True),
    Column("INVALID", right=True),
    Column("ERRORS", right=True),
    Column("IN A ROW", right=True),
    Column("SAYS"),
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
    """`agents` by itself lists; `agents set` changes, `agents test` tries hosts."""


@click.group(
    "agents",
    cls=AgentsVerb,
    invoke_without_command=True,
    examples="""
    spoolmw-ctl agents
    spoolmw-ctl agents set local --slots 4
    spoolmw-ctl agents test lab
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
agents_verb.add_command(agents_test)


@verb(
    "hosts",
    examples="""
    spoolmw-ctl hosts
    spoolmw-ctl hosts --json | jq 'select(.lost > 0)'
    spoolmw-ctl hosts --json | jq 'select(.record.paused)'
    """,
)
def hosts_verb(session: Session) -> None:
    """Show what each host has done, and what it is known for.

    VALID, INVALID and ERRORS count results of replicas that were compared; IN A ROW are the
    valid ones since the last fault. Works while the daemon is down.
    """
    with session.reports() as reports:
        hosts = _with_records(reports.stats(), reports.hosts())
    if session.screen.json:
        for host in hosts:
            session.screen.record(host)
        return
    if not hosts:
        session.screen.say("No attempt has ended yet.")
        return
    session.screen.table(HOSTS, [_host_row(host) for host in hosts])


def _with_records(
    done: Iterable[Mapping[str, Any]], records: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What each host did at each agent, with its `record`; one without attempts stands by itself."""
    named: dict[str, Mapping[str, Any]] = {}
    known = [(each, named.setdefault(each["name"], each) is each) for each in records]
    hosts = [{**each, "record": named.get(each["host"])} for each in done]
    seen = {each["host"] for each in hosts}
    nothing = dict.fromkeys(("attempts", "succeeded", "failed", "lost", "stopped"), 0)
    return hosts + [
        {"agent": "", "host": each["name"], **nothing, "record": each}
        for each, is_first in known
        if not (is_first and each["name"] in seen)  # two machines may have one name
    ]


def host_says(record: Mapping[str, Any], now: float) -> str:
    """Whether a host is paused, why, and what ends it."""
    if not record["paused"]:
        return ""
    if record["paused_by_hand"]:
        return f"{record['paused']} (spoolmw-ctl resume --host {record['name']})"
    wait_s = record["probe_at"] - now
    when = f"in {duration(wait_s)}" if wait_s > 0 else "now"
    return f"paused: {record['paused']}; a probe may run {when}"


def _host_row(host: Mapping[str, Any]) -> tuple[str, ...]:
    record = host["record"]
    known = (
        ("", "", "", "", "")
        if record is None
        else (
            *(str(record[key]) for key in ("valid", "invalid", "errors", "consecutive_valid")),
            host_says(record, time.time()),
        )
    )
    return (
        host.get("host") or "?",
        host.get("agent") or "",
        str(host["attempts"]),
        str(host["succeeded"]),
        str(host["failed"]),
        str(host["lost"]),
        duration(host.get("wall_s")),
        duration(host.get("cpu_s")),
        *known,
    )
