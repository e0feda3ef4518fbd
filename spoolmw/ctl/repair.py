"""The verbs `fsck` and `rebuild`: they let the daemon's own program do it, so that one place knows how."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click

from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.errors import BadSpool, JournalCorrupt, SpoolmwError


def _run_daemon(session: Session, *options: str) -> list[dict[str, Any]]:
    """What `spoolmwd OPTIONS --json` prints; its error is raised as ours."""
    command = [sys.executable, "-m", "spoolmw.daemon.main", "--spool", str(session.layout.root)]
    if session.given_config:
        command += ["--config", session.given_config]
    done = subprocess.run(
        [*command, *options, "--json"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    if done.returncode not in (0, 1):
        raise _failed(options[0], done.returncode, done.stderr.decode(errors="replace"))
    return records


def _failed(what: str, code: int, stderr: str) -> SpoolmwError:
    lines = stderr.strip().splitlines()[-8:]
    return BadSpool(
        f"spoolmwd {what} ended with code {code}.",
        why="\n".join(lines),
        fix="Stop the daemon first, or look into what it says.",
    )


FINDINGS = (Column("LEVEL"), Column("WHERE"), Column("WHAT"))


@verb(
    "fsck",
    examples="""
    spoolmw-ctl fsck
    spoolmw-ctl fsck --json | jq 'select(.level == "bad")'
    """,
)
@click.pass_context
def fsck_verb(ctx: click.Context, session: Session) -> None:
    """Compare the journal with the folders; change nothing. Exit code 1 when something is wrong.

    The daemon may run; what is under way while fsck looks is no finding.
    """
    records = _run_daemon(session, "--fsck")
    bad = [record for record in records if record.get("level") == "bad"]
    if session.screen.json:
        for record in records:
            session.screen.record(record)
    elif records:
        rows = [(r.get("level", ""), r.get("where", ""), r.get("what", "")) for r in records]
        session.screen.table(FINDINGS, rows)
    if not bad:
        session.screen.say("The journal and the folders agree.", style="green")
    ctx.exit(1 if bad else 0)


@verb("rebuild", examples="spoolmw-ctl rebuild --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rebuild_verb(session: Session, *, yes: bool) -> None:
    """Make a new journal from what lies in the spool; the daemon must be stopped.

    The old journal is moved aside, never deleted. Accepted tasks are queued again, staged
    results are delivered, and what was delivered before is not run again.
    """
    if not yes and not click.confirm("Make a new journal from the spool?", err=True):
        raise JournalCorrupt("Nothing was done.", why="You did not say yes.")
    records = _run_daemon(session, "--rebuild")
    for record in records:
        if session.screen.json:
            session.screen.record(record)
        else:
            session.screen.facts((str(key), str(value)) for key, value in record.items())
