"""A daemon that is not root, on a spool that others can reach, with a group and without."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, end
from tests.threats.people import DAEMON, GROUP_NAME, becoming

AGENT = '[agents.local]\nkind = "local"\nslots = 2\n'


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A folder of the daemon's user that everybody may look into (pytest's own ones are closed)."""
    folder = Path(tempfile.mkdtemp(prefix="spoolmw-threats-"))
    os.chown(folder, DAEMON.uid, DAEMON.gid)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab(open_home: Path) -> Iterator[Daemon]:
    """A daemon with a user of its own that takes the files of a group's members."""
    config = f'[intake]\nsettle_s = 0.2\ngroup = "{GROUP_NAME}"\n{AGENT}'
    yield from _serving(Daemon(open_home, config=config))


@pytest.fixture
def private(open_home: Path) -> Iterator[Daemon]:
    """A daemon with a user of its own that takes nobody else's files."""
    yield from _serving(Daemon(open_home, config=f"[intake]\nsettle_s = 0.2\n{AGENT}"))


def _serving(daemon: Daemon) -> Iterator[Daemon]:
    daemon.prefix = becoming(DAEMON)
    try:
        yield daemon.start()
    finally:
        end(daemon)
