"""The verb `doctor`: checks the installation and says what to do about what is not well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from spoolmw.config import Config
from spoolmw.ctl import boinc_checks, machine_checks, spool_checks
from spoolmw.ctl.findings import Finding, bad, ok
from spoolmw.ctl.session import Session
from spoolmw.ctl.settings import checked
from spoolmw.ctl.verb import verb
from spoolmw.errors import BadConfig, BadSpool
from spoolmw.format.names import escape
from spoolmw.spooldir.layout import Layout

STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


@verb(
    "doctor",
    examples="""
    spoolmw-ctl doctor
    spoolmw-ctl doctor --json | jq 'select(.level != "ok")'
    """,
)
def doctor_verb(session: Session) -> int:
    """Check the installation and say what to mend.

    Looks at spool, disk, journal, daemon, BOINC's projects, Pythons, limits, clock and service.
    Each finding is ok, warn or bad, with what to do. Exit code 1 when one is bad. Nothing is
    changed.
    """
    worst = 0
    for finding in examine(session):
        worst |= finding.level == "bad"
        _show(session, finding)
    return 1 if worst else 0


def examine(session: Session) -> Iterator[Finding]:
    """Every finding, in the order in which one would mend them."""
    yield from machine_checks.check_python()
    try:
        layout = session.layout
    except BadSpool as error:
        yield bad("spool", " ".join([error.what, error.why]), error.fix)
        return
    config, finding = _config(session)
    yield finding
    yield from _of_the_spool(session, layout, config)
    yield from machine_checks.check_interpreters(config)
    yield from machine_checks.check_inotify()
    yield from machine_checks.check_limits()
    yield from machine_checks.check_clock(session)
    yield from machine_checks.check_service()


def _of_the_spool(session: Session, layout: Layout, config: Config | None) -> Iterator[Finding]:
    yield from spool_checks.check_folders(layout)
    yield from spool_checks.check_may_drop(layout)
    yield from spool_checks.check_file_system(layout)
    yield from spool_checks.check_disk(layout, config)
    yield from spool_checks.check_journal(session)
    yield from spool_checks.check_daemon(session)
    yield from spool_checks.check_rejected(layout)
    yield from boinc_checks.check_boinc(layout, config)


def _config(session: Session) -> tuple[Config | None, Finding]:
    try:
        config = checked(session)
    except BadConfig as error:
        says = f"{error.what} {error.why}".strip()
        return None, bad("configuration", says, error.fix)
    says = f"{config.source} is fine." if config.source else "No file; the defaults hold."
    return config, ok("configuration", says)


def _show(session: Session, finding: Finding) -> None:
    if session.screen.json:
        session.screen.record(asdict(finding))
        return
    session.screen.out.print(
        Text.assemble(
            (f"{finding.level:<5}", STYLES[finding.level]),
            (f"{finding.check:<14}", "bold"),
            escape(finding.says),
        )
    )
    if finding.fix:
        session.screen.out.print(Text(f"{'':<19}-> {escape(finding.fix)}"))
