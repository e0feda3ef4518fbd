"""`hosts` shows of hosts that come by themselves also what the daemon knows of their calls."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from click.testing import CliRunner

from spoolmw.ctl import places
from spoolmw.ctl.main import program
from spoolmw.spooldir.layout import Layout
from spoolmw.store.journal import Journal


def a_caller(number: int, **changes: Any) -> dict[str, Any]:
    told = {
        "agent": "lab",
        "host": f"pc{number:02}-{number}",
        "machine": f"boinc lab/{number}",
        "account": "ann",
        "owner": "ann",
        "platform": "linux-x86_64",
        "cores": 4,
        "memory_bytes": 8_000_000_000,
        "seen_at": time.time() - 90,
        "has": 3,
        "rests_until": 0,
        "trusted": False,
    }
    return {**told, **changes}


@pytest.fixture
def callers(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the daemon says; the test fills it."""
    Journal.open(layout.journal).close()
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(places, "_callers", lambda _session: found)
    return found


def shown(layout: Layout, *words: str) -> str:
    done = CliRunner().invoke(program, ["--spool", str(layout.root), "hosts", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_host_that_called_is_shown_before_it_did_anything(
    layout: Layout, callers: list[dict[str, Any]]
) -> None:
    callers += [a_caller(1), a_caller(2, trusted=True, rests_until=time.time() + 7200)]
    head, first, second = shown(layout).splitlines()
    assert {"OWNER", "PLATFORM", "TRUST"} <= set(head.split())
    for part in ("pc01-1", "lab", "ann", "linux-x86_64", "ago", "no"):
        assert part in first
    assert "yes, rests " in second
    record = json.loads(shown(layout, "--json").splitlines()[0])
    assert (record["host"], record["attempts"], record["came"]["has"]) == ("pc01-1", 0, 3)


def test_what_it_did_and_what_it_has_are_one_row(callers: list[dict[str, Any]]) -> None:
    done = [{"agent": "lab", "host": "pc01-1", "attempts": 5, "record": None}]
    found = places._with_callers([*done], [a_caller(1)])
    assert [(each["host"], each["attempts"]) for each in found] == [("pc01-1", 5)]
    assert found[0]["came"]["owner"] == "ann"


def test_where_nobody_comes_by_himself_there_are_no_such_columns(
    layout: Layout, callers: list[dict[str, Any]]
) -> None:
    assert "No attempt has ended yet" in shown(layout)
