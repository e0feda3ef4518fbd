from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attempts import Bench
from tests.support.batchjob import BatchSystem, executing


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The spool at home."""
    return Bench(tmp_path / "home")


@pytest.fixture
def system(tmp_path: Path, bench: Bench) -> Iterator[BatchSystem]:
    """A batch system whose hosts share nothing with the spool."""
    with executing(tmp_path, bench) as made:
        yield made
