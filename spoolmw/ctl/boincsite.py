"""Which agent of kind boinc is meant, and in whose name its files are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from spoolmw.config import AgentConfig
from spoolmw.ctl.session import Session
from spoolmw.errors import BadConfig, SpoolmwError
from spoolmw.spooldir.layout import Layout

AGENT = click.option(
    "--agent", default="", metavar="NAME", help="Of several agents of kind boinc, which one."
)


def section_of(session: Session, name: str) -> AgentConfig:
    """The agent of kind boinc that is meant. Raises BadConfig, SpoolmwError."""
    known = {each.name: each for each in session.config().agents if each.kind == "boinc"}
    if not known:
        raise BadConfig(
            "There is no agent of kind boinc in the configuration.",
            why="accounts and keys are an agent's own",
            fix='write [agents.NAME] with kind = "boinc", see docs/configuration.md',
        )
    names = ", ".join(known)
    if name and name not in known:
        raise SpoolmwError(
            f"There is no agent {name!r} of kind boinc.", why=f"There are: {names}"
        )
    if not name and len(known) > 1:
        raise SpoolmwError(
            "There are several agents of kind boinc.",
            why=f"They are {names}.",
            fix="Say which one is meant: --agent NAME",
        )
    return known[name or next(iter(known))]


@contextmanager
def as_owner(layout: Layout) -> Iterator[None]:
    """Do this as the spool's owner, if we are root; say it well when we may not."""
    owner = layout.root.stat()
    is_root = os.geteuid() == 0 and owner.st_uid != 0
    group = os.getegid()
    try:
        if is_root:
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
        yield
    except PermissionError as error:
        raise SpoolmwError(
            f"{error.filename or layout.root} is not open to this user.",
            why="Accounts and keys are the daemon's own.",
            fix="Run it as the daemon's user (sudo -u) or as root.",
        ) from error
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(group)
