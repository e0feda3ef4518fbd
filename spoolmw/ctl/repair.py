"""The verbs `fsck` and `rebuild`: the daemon's own program does it, one place knows how."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click

from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.errors import BadSpool, SpoolmwError

#: Exit codes of `spoolmwd`.
ALL_WELL, PROBLEMS, BUSY = 0, 1, 75


def _run_daemon(session: Session, option: str) -> dict[str, Any]:
    """The report of `spoolmwd OPTION --json`; when it ends badly, what it said as an error."""
    command = [sys.executable, "-m", "spoolmw.daemon.main", "--spool", str(session.layout.root)]
    if session.given_config:
        command += ["--config", session.given_config]
    done = subprocess.run(
        [*command, option, "--json"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode not in (ALL_WELL, PROBLEMS) or not done.stdout:
        raise _failed(option, done.returncode, done.stderr.decode(errors="replace"))
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _failed(option: str, code: int, stderr: str) -> SpoolmwError:
    said = [line for line in stderr.splitlines() if line.strip()][-8:]
    fix = "Stop the daemon first." if code == BUSY else "See to what it says, then try again."
    return BadSpool(f"spoolmwd {option} ended with code {code}.", why="\n".join(said), fix=fix)


def _show(session: Session, report: dict[str, Any]) -> int:
    """Print a report; 1 when it holds problems."""
    problems = report.get("problems") or []
    if session.screen.json:
        session.screen.record(report)
        return PROBLEMS if problems else ALL_WELL
    session.screen.facts(
        (name.replace("_", " "), str(value))
        for name, value in report.items()
        if name != "problems"
    )
    for problem in problems:
        session.screen.line(f"problem: {problem}", style="red")
    return PROBLEMS if problems else ALL_WELL


@verb(
    "fsck",
    examples="""
    spoolmw-ctl fsck
    spoolmw-ctl fsck --json | jq -r '.problems[]'
    """,
)
def fsck_verb(session: Session) -> int:
    """Compare the journal with the folders; change nothing.

    Exit code 1 when something is wrong. The daemon may run; what is under way while fsck
    looks is no problem.
    """
    code = _show(session, _run_daemon(session, "--fsck"))
    if not code:
        session.screen.say("The journal and the folders agree.", style="green")
    return code


@verb("rebuild", examples="systemctl stop spoolmwd && spoolmw-ctl rebuild --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rebuild_verb(session: Session, *, yes: bool) -> int:
    """Make a new journal from what lies in the spool.

    The daemon must be stopped. The old journal is moved aside, never deleted. Accepted
    tasks are queued again, decided results are delivered, and what was delivered before is
    not run again.
    """
    if not yes and not click.confirm("Make a new journal from the spool?", err=True):
        session.screen.say("Nothing was done.")
        return PROBLEMS
    return _show(session, _run_daemon(session, "--rebuild"))
