from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attempts import Bench
from tests.support.boincslot import Host


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The spool at home."""
    return Bench(tmp_path / "home")


@pytest.fixture
def host(tmp_path: Path, bench: Bench) -> Iterator[Host]:
    """A host with a BOINC client."""
    made = Host(tmp_path / "boinc", bench)
    yield made
    made.end()
