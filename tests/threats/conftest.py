"""One daemon for many attacks: it has to live through all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, end, take_away

CONFIG = """\
[intake]
settle_s = 0.2
scan_s = 0.3
max_task_bytes = "100kB"
[agents.local]
kind = "local"
slots = 2
"""


@contextmanager
def open_ground() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="spoolmw-threats-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that other users can reach."""
    with open_ground() as folder:
        yield folder


@pytest.fixture(scope="module")
def besieged() -> Iterator[Daemon]:
    """A daemon whose `incoming/` everybody may write to, as the sticky layout allows."""
    with open_ground() as home:
        (home / "spool" / "incoming").mkdir(parents=True)
        (home / "spool" / "incoming").chmod(0o1777)
        daemon = Daemon(home, config=CONFIG)
        try:
            yield daemon.start()
        finally:
            end(daemon)


@pytest.fixture
def daemon(besieged: Daemon) -> Iterator[Daemon]:
    """The besieged daemon; after the test the same process still serves."""
    yield besieged
    assert besieged.process is not None
    assert besieged.process.poll() is None, besieged.log_text()
    besieged.drop("canary.sh", "#!/bin/sh\necho alive\n")
    canary = besieged.result("canary.sh")
    assert (canary.with_suffix(".files") / "stdout").read_text() == "alive\n"
    take_away(canary)
    assert "Traceback" not in besieged.log_text()
