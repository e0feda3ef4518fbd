"""The verbs that open and close the road: `pause`, `resume`, `drain` and `reload`."""

from __future__ import annotations

import click

from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import count


def _traffic(session: Session, name: str, agent: str | None, *, intake: bool) -> None:
    answer = session.control().request(name, {"agent": agent, "intake": intake})
    if session.screen.json:
        session.screen.record(answer)
        return
    what = "the intake" if intake else f"agent {agent}" if agent else "every agent"
    done = "is paused" if name == "pause" else "goes on"
    session.screen.line(f"{what[0].upper()}{what[1:]} {done}.")


_AGENT = click.argument("agent", required=False)
_INTAKE = click.option("--intake", is_flag=True, help="The intake of files, not an agent.")


def _one_of(agent: str | None, *, intake: bool) -> None:
    if agent and intake:
        raise click.UsageError("Give an agent or --intake, not both.")


@verb(
    "pause",
    examples="""
    spoolmw-ctl pause
    spoolmw-ctl pause local
    spoolmw-ctl pause --intake
    """,
)
@_AGENT
@_INTAKE
def pause_verb(session: Session, *, agent: str | None, intake: bool) -> None:
    """Start nothing new on one agent, or on all; what runs goes on.

    With --intake dropped files stay in incoming/ and what was accepted goes on.
    """
    _one_of(agent, intake=intake)
    _traffic(session, "pause", agent, intake=intake)


@verb(
    "resume",
    examples="""
    spoolmw-ctl resume
    spoolmw-ctl resume local
    spoolmw-ctl resume --intake
    """,
)
@_AGENT
@_INTAKE
def resume_verb(session: Session, *, agent: str | None, intake: bool) -> None:
    """Undo `pause` and `drain`."""
    _one_of(agent, intake=intake)
    _traffic(session, "resume", agent, intake=intake)


@verb("drain", examples="spoolmw-ctl drain && systemctl stop spoolmwd")
def drain_verb(session: Session) -> None:
    """Assign nothing new anywhere and let what runs end; `resume` undoes it.

    Files are still accepted and wait. `spoolmw-ctl status` tells how many attempts still run.
    """
    answer = session.control().request("drain", {})
    if session.screen.json:
        session.screen.record(answer)
        return
    running = int(answer.get("running", 0))
    session.screen.line(f"Draining: {count(running, 'attempt')} still to end.")


@verb("reload", examples="spoolmw-ctl reload")
def reload_verb(session: Session) -> None:
    """Let the daemon read its configuration again; a wrong one is refused and the old one kept."""
    answer = session.control().request("reload", {})
    if session.screen.json:
        session.screen.record(answer)
        return
    changed = answer.get("changed") or []
    session.screen.line("Reloaded. " + ("; ".join(changed) if changed else "Nothing changed."))
