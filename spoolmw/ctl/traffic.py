"""The verbs that open and close the road: `pause`, `resume`, `drain` and `reload`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import count

_AGENT = click.argument("agent", required=False)
_HOST = click.option("--host", metavar="NAME", help="A host, whichever agent reaches it.")
_INTAKE = click.option("--intake", is_flag=True, help="The intake of files, not an agent.")


def _ask(
    session: Session, name: str, args: Mapping[str, object], say: Callable[[Any], str]
) -> None:
    answer = session.control().request(name, args)
    if session.screen.json:
        session.screen.record(answer)
    else:
        session.screen.line(say(answer))


def _target(agent: str | None, host: str | None, *, intake: bool) -> dict[str, object]:
    """What is meant; `host:NAME` is a host too."""
    if agent and agent.startswith("host:"):
        host, agent = agent.removeprefix("host:"), None
    if sum(map(bool, (agent, host, intake))) > 1:
        raise click.UsageError("Give one of an agent, --host and --intake.")
    return {"host": host} if host else {"agent": agent, "intake": intake}


def _paused(answer: Mapping[str, Any]) -> str:
    if "paused_hosts" in answer:
        hosts = ", ".join(answer["paused_hosts"])
        return f"Paused hosts: {hosts}." if hosts else "No host is paused."
    agents = (
        f"Paused: {', '.join(answer['paused'])}." if answer["paused"] else "No agent is paused."
    )
    return f"{agents} The intake is {answer['intake']}."


@verb(
    "pause",
    examples="""
    spoolmw-ctl pause
    spoolmw-ctl pause local
    spoolmw-ctl pause --host pc17
    spoolmw-ctl pause --intake
    """,
)
@_AGENT
@_HOST
@_INTAKE
def pause_verb(session: Session, *, agent: str | None, host: str | None, intake: bool) -> None:
    """Start nothing new on an agent, or on all of them.

    What runs goes on. With --host nothing is given to that machine, with --intake dropped
    files stay in incoming/ and what was accepted goes on. It holds until `resume`, also over
    a restart.
    """
    _ask(session, "pause", _target(agent, host, intake=intake), _paused)


@verb(
    "resume",
    examples="""
    spoolmw-ctl resume
    spoolmw-ctl resume local
    spoolmw-ctl resume --host pc17
    spoolmw-ctl resume --intake
    """,
)
@_AGENT
@_HOST
@_INTAKE
def resume_verb(session: Session, *, agent: str | None, host: str | None, intake: bool) -> None:
    """Undo `pause`; without an argument `drain` too.

    A host that paused itself is released with --host; its faults are forgotten then.
    """
    _ask(session, "resume", _target(agent, host, intake=intake), _paused)


@verb("drain", examples="spoolmw-ctl drain && spoolmw-ctl watch")
def drain_verb(session: Session) -> None:
    """Start nothing new anywhere and let what runs end.

    `resume` undoes it. Files are still accepted and wait. `status` tells how many attempts still run.
    """
    _ask(
        session,
        "drain",
        {},
        lambda answer: f"Draining; {count(int(answer['running']), 'attempt')} still to end.",
    )


@verb("reload", examples="spoolmw-ctl config && spoolmw-ctl reload")
def reload_verb(session: Session) -> None:
    """Let the daemon read its configuration again.

    A wrong one is refused and the old one kept.
    """
    _ask(
        session,
        "reload",
        {},
        lambda answer: "Reloaded: " + ("; ".join(answer["changed"]) or "nothing changed") + ".",
    )
