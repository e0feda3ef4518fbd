"""Commits that wait for company."""

from __future__ import annotations

import time

import pytest

from spoolmw.daemon.company import PAUSE_S, Company


@pytest.mark.parametrize(("under_way", "keep_apart"), [(0, False), (7, False), (8, True)])
def test_commits_keep_apart_only_while_plenty_is_under_way(
    under_way: int, keep_apart: bool
) -> None:
    company = Company()
    began = time.monotonic()
    for _ in range(20):
        company.wait(under_way)
        company.committed()
    assert (time.monotonic() - began > 19 * PAUSE_S) is keep_apart
