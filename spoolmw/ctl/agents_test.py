"""The verb `agents test`: tries every host of an ssh section, or a pool, and says what to mend."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from spoolmw.config import AgentConfig
from spoolmw.ctl import pool_test
from spoolmw.ctl.durations import DURATION
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
    spoolmw-ctl agents test pool --wait 10m
    spoolmw-ctl agents test lab --json | jq 'select(.ok | not) | .fix'
    """,
)
@click.argument("agent", required=False)
@click.option(
    "--wait",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long a pool of HTCondor may take for the small task.",
)
def agents_test(session: Session, *, agent: str | None, wait: float) -> int:
    """Try every host of an ssh agent, or a pool: connect, look, and run a small task there.

    Without a name, of all of them. Uses the keys of whoever runs it: run it as the daemon's
    user (sudo -u spoolmw ...). CALLS says whether the host has this Python's version, so that
    pickled calls can run there. Works while the daemon is down. Exit code 1 when a host fails.
    """
    sections = _sections(session, agent)
    root = str(session.layout.root)
    hosts = (row for each in sections if each.kind == "ssh" for row in examined(each, root))
    pools = (pool_test.examined(each, root, wait) for each in sections if each.kind == "condor")
    both = [_shown(session, hosts, _COLUMNS, _row)]
    both.append(_shown(session, pools, pool_test.COLUMNS, pool_test.row_of))
    return 0 if all(both) else 1


def _shown(
    session: Session,
    found: Iterable[dict[str, Any]],
    columns: Sequence[Column],
    row_of: Callable[[dict[str, Any]], tuple[str, ...]],
) -> bool:
    """Show what is found, as it comes in or as a table; whether all of it is well."""
    rows = []
    for row in found:
        rows.append(row)
        if session.screen.json:
            session.screen.record(row)
    rows.sort(key=lambda row: str(row["agent"]))
    if rows and not session.screen.json:
        session.screen.table(columns, [row_of(row) for row in rows])
        for row in rows:
            _explain(session, row)
    return all(row["ok"] for row in rows)


def _sections(session: Session, agent: str | None) -> list[AgentConfig]:
    """The sections that are meant. Raises SpoolmwError when there is none."""
    found = [
        each
        for each in session.config().agents
        if each.kind in ("ssh", "condor") and agent in (None, each.name)
    ]
    if not found:
        known = ", ".join(each.name for each in session.config().agents)
        raise SpoolmwError(
            f"There is no ssh or condor agent {agent}."
            if agent
            else "There is no ssh or condor agent.",
            why=f"the configuration has: {known}",
            fix='write a section [agents.lab] with kind = "ssh" and hosts = ["pc01"]; '
            "agents of kind boinc are looked at by spoolmw-ctl doctor",
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
    elif abs(row.get("skew_s", 0.0)) > _SKEW_S:
        text = (
            f"{row['agent']}: its clock is {row['skew_s']:+.1f} s off; only shown times suffer"
        )
        session.screen.line(text, style="yellow")
