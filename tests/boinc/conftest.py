"""A daemon with an agent of kind boinc for a module's tests, and a loop in which fake hosts live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.boincsite import Crowd, Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with Crowd() as made:
        yield made
