"""The pages about the spool and the journal keep up with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from spoolmw.model.events import Event
from spoolmw.spooldir.layout import README
from spoolmw.store.facts import WRITERS
from spoolmw.store.sql import QUERIES
from spoolmw.store.story import TELLERS

ROOT = Path(__file__).parents[3]


def test_the_readme_in_the_repository_is_the_one_that_a_spool_gets() -> None:
    assert (ROOT / "spool" / "README").read_text("utf-8") == README


def test_every_column_of_tasks_replicas_and_hosts_is_explained() -> None:
    page = (ROOT / "docs" / "journal.md").read_text("utf-8")
    columns = [
        column
        for table in ("tasks", "replicas", "hosts")
        for column in re.findall(
            r"^  ([a-z_0-9]+) +(?:TEXT|INTEGER|REAL)", QUERIES[f"create_{table}"], re.M
        )
    ]
    assert len(columns) > 60
    assert [column for column in columns if f"`{column}`" not in page] == []


def test_every_event_can_be_written_and_told() -> None:
    assert set(WRITERS) == set(get_args(Event))
    assert len(TELLERS) == len(WRITERS) - 1  # of a delivery there is nothing more to say
