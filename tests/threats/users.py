"""Several users of one machine: the daemon's, a member of the configured group, and a stranger.

Users that every Debian has play the parts; only root can become them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spoolmw.ctl.main import VERBS, program
from tests.support.daemon import Daemon, end
from tests.support.people import Person, becoming

GROUP, GROUP_NAME = 60, "games"
DAEMON = Person(9, GROUP)  # news
SUPERUSER = Person(0, 0)
MEMBER = Person(5, GROUP)  # games
STRANGER = Person(7, 7)  # lp

#: Marks tests that need several users: skipped where they cannot be had, failed in CI.
needs_users = pytest.mark.skipif(
    (os.geteuid() != 0 or shutil.which("setpriv") is None) and "CI" not in os.environ,
    reason="only root can become other users (with setpriv)",
)


@contextlib.contextmanager
def acting_as(person: Person) -> Iterator[None]:
    """Touch files and connect as `person` until the end of the block; the umask is the usual 022."""
    groups, mask = os.getgroups(), os.umask(0o022)
    os.setgroups([person.gid])
    os.setegid(person.gid)
    os.seteuid(person.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.umask(mask)


def ctl_as(person: Person, daemon: Daemon, *args: str) -> Result:
    """Run spoolmw-ctl on the daemon's spool as `person`, with no right beyond."""
    for module in VERBS.values():  # this Python may lie in somebody's closed home
        importlib.import_module(f"spoolmw.ctl.{module}")
    with acting_as(person):
        return CliRunner().invoke(program, ["--spool", str(daemon.spool), *args])


@contextlib.contextmanager
def serving(*, group: str = GROUP_NAME, person: Person = DAEMON) -> Iterator[Daemon]:
    """A daemon of `person`, on a spool that others can reach; with a group or without."""
    home = Path(tempfile.mkdtemp(prefix="spoolmw-threats-"))  # pytest's own folders are closed
    os.chown(home, person.uid, person.gid)
    home.chmod(0o755)
    shared = f'group = "{group}"\n' if group else ""
    agent = '[agents.local]\nkind = "local"\nslots = 2\n[daemon]\ngrace = 0\n'
    daemon = Daemon(home, config=f"[intake]\nsettle_s = 0.2\n{shared}{agent}")
    if person != SUPERUSER:
        daemon.prefix = becoming(person)
    try:
        yield daemon.start()
    finally:
        end(daemon)
        shutil.rmtree(home, ignore_errors=True)
