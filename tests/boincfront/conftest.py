from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boinclab import Lab


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One project for all tests of a module."""
    made = Lab(tmp_path_factory.mktemp("lab") / "spool")
    made.start()
    yield made
    made.close()


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    """The shared one; nothing of a test stays behind."""
    yield shared
    for name in list(shared.given):
        shared.stop(name)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A project of this test's own."""
    made = Lab(tmp_path / "spool")
    made.start()
    yield made
    made.close()
