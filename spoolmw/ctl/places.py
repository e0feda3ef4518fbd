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
from spoolmw.errors import NotServed

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
#: Of hosts that come to an agent by themselves, before what else there is to say.
CAME = (
    Column("OWNER"),
    Column("PLATFORM"),
    Column("CONTACT", right=True),
    Column("HAS", right=True),
    Column("TRUST"),
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
    valid ones since the last fault. Of hosts that come to an agent by themselves (BOINC clients)
    the daemon knows also the owner, when they called last, how many attempts are there, and
    whether they are trusted. Works while it is down, without these.
    """
    with session.reports() as reports:
        hosts = _with_records(reports.stats(), reports.hosts())
    hosts = [each for each in hosts if each["host"] or each["attempts"] > each["stopped"]]
    hosts = _with_callers(hosts, _callers(session))
    if session.screen.json:
        for host in hosts:
            session.screen.record(host)
        return
    if not hosts:
        session.screen.say("No attempt has ended yet.")
        return
    if not any(host["came"] for host in hosts):
        session.screen.table(HOSTS, [_host_row(host) for host in hosts])
        return
    rows = [(*_host_row(host)[:-1], *_came_row(host), _host_row(host)[-1]) for host in hosts]
    session.screen.table((*HOSTS[:-1], *CAME, HOSTS[-1]), rows)


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


def _callers(session: Session) -> list[dict[str, Any]]:
    """The hosts that came by themselves, as the daemon knows them; none while it is down."""
    try:
        told: list[dict[str, Any]] = session.control().request("callers")["hosts"]
    except NotServed:
        return []
    return told


def _with_callers(
    hosts: list[dict[str, Any]], callers: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each host with what is known of it that `came`; one that did nothing yet stands behind."""
    left = {(each["agent"], each["host"]): each for each in callers}
    known = [{**each, "came": left.pop((each["agent"], each["host"]), None)} for each in hosts]
    nothing = dict.fromkeys(("attempts", "succeeded", "failed", "lost", "stopped"), 0)
    return known + [
        {"agent": agent, "host": host, **nothing, "record": None, "came": each}
        for (agent, host), each in left.items()
    ]


def _came_row(host: Mapping[str, Any]) -> tuple[str, ...]:
    came = host["came"]
    if came is None:
        return ("",) * len(CAME)
    now = time.time()
    trust = "yes" if came["trusted"] else "no"
    if came["rests_until"] > now:
        trust += f", rests {duration(came['rests_until'] - now)}"
    ago = f"{duration(max(0.0, now - came['seen_at']))} ago"
    return came["owner"], came["platform"], ago, str(came["has"]), trust


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
