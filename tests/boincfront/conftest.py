from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boinclab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project that is served."""
    made = Lab(tmp_path / "spool")
    made.start()
    yield made
    made.close()
