"""The verb `agents test`: tries every host of an ssh section and says what to mend."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from spoolmw.config import AgentConfig
from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import size
from spoolmw.errors import SpoolmwError
from spoolmw.format.names import escape

_COLUMNS = (
    Column("AGENT"),
    Column("STATE"),
    Column("PYTHON"),
    Column("CALLS"),
    Column("CORES", right=True),
    Column("MEMORY", right=True),
    Column("FREE", right=True),
    Column("ROUND TRIP", right=True),
    Column("CLOCK", right=True),
    Column("CANARY", right=True),
)
_OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
_SKEW_S = 2.0  #: of clocks, that is worth a remark


@verb(
    "test",
    examples="""
    spoolmw-ctl agents test lab
    spoolmw-ctl agents test lab --json | jq 'select(.ok | not) | .fix'
    """,
)
@click.argument("agent", required=False)
def agents_test(session: Session, *, agent: str | None) -> int:
    """Try every host of an ssh agent: connect, look, and run a small task there.

    Without a name, of all of them. Uses the keys of whoever runs it: run it as the daemon's
    user (sudo -u spoolmw ...). CALLS says whether the host has this Python's version, so that
    pickled calls can run there. Works while the daemon is down. Exit code 1 when a host fails.
    """
    rows = []
    for settings in _sections(session, agent):
        for row in examined(settings, str(session.layout.root)):
            rows.append(row)
            if session.screen.json:
                session.screen.record(row)
    rows.sort(key=lambda row: str(row["agent"]))
    if not session.screen.json:
        session.screen.table(_COLUMNS, [_row(row) for row in rows])
        for row in rows:
            _explain(session, row)
    return 0 if all(row["ok"] for row in rows) else 1


def _sections(session: Session, agent: str | None) -> list[AgentConfig]:
    """The ssh sections that are meant. Raises SpoolmwError when there is none."""
    found = [
        each
        for each in session.config().agents
        if each.kind == "ssh" and agent in (None, each.name)
    ]
    if not found:
        known = ", ".join(each.name for each in session.config().agents)
        raise SpoolmwError(
            f"There is no ssh agent {agent}." if agent else "There is no ssh agent.",
            why=f"the configuration has: {known}",
            fix='write a section [agents.lab] with kind = "ssh" and hosts = ["pc01"]',
        )
    return found


def examined(settings: AgentConfig, root: str) -> Iterator[dict[str, Any]]:
    """What is found on each host, as it comes in."""
    asked = json.dumps({"settings": asdict(settings), "root": root})
    program = [sys.executable, "-P", "-m", "spoolmw.agents.sshlink.examine"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{asked}\n")
        child.stdin.close()
        for line in child.stdout:
            yield json.loads(line)
    if child.returncode:
        raise SpoolmwError(
            "The hosts could not be examined.",
            why=f"the program for it ended with exit code {child.returncode}",
            fix="is paramiko installed? pip install --upgrade spoolmw",
        )


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    def told(key: str, words: str) -> str:
        return words.format(row[key]) if row.get(key) is not None else ""

    calls = "" if "calls" not in row else "yes" if row["calls"] else f"no {_OWN}"
    return (
        str(row["agent"]),
        "ok" if row["ok"] else f"failed: {row['stage']}",
        told("python", "{} bundle" if row.get("bundle") else "{}"),
        calls,
        told("cores", "{}"),
        size(row["memory"]) if row.get("memory") else "",
        size(row["free_bytes"]) if row.get("free_bytes") else "",
        f"{row['round_trip_s'] * 1000:.1f} ms" if "round_trip_s" in row else "",
        told("skew_s", "{:+.1f} s"),
        told("canary_s", "{:.1f} s"),
    )


def _explain(session: Session, row: dict[str, Any]) -> None:
    """What to do about a host."""
    if not row["ok"]:
        session.screen.line("")
        session.screen.line(f"{row['agent']}: {row['what']}", style="bold red")
        for word, key in (("Why", "why"), ("To do", "fix")):
            if row.get(key):
                session.screen.line(f"  {word}: {escape(str(row[key]))}")
    elif abs(row["skew_s"]) > _SKEW_S:
        text = (
            f"{row['agent']}: its clock is {row['skew_s']:+.1f} s off; only shown times suffer"
        )
        session.screen.line(text, style="yellow")
