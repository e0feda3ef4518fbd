"""An open journal on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.store.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "spoolmw.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal.open(path)
    yield made
    made.close()
