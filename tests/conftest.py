"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, end


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running daemon with the default configuration, but two slots and a short settling time."""
    made = Daemon(
        tmp_path, config='[intake]\nsettle_s = 0.2\n[agents.local]\nkind = "local"\nslots = 2\n'
    )
    try:
        yield made.start()
    finally:
        end(made)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged may hold halves of surrogate pairs, which no other process can be sent."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode())
        for name, text in report.sections
    ]
    return report
