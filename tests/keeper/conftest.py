from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attempts import Bench
from tests.support.farhost import FarHost


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Makes the work, as it lies in the spool at home."""
    return Bench(tmp_path / "home")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FarHost]:
    tmp_path.chmod(0o700)
    made = FarHost(tmp_path)
    yield made
    made.end()
