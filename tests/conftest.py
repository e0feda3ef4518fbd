"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from collections.abc import Iterator
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
