"""The live view shows what is there, whatever tasks are called."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from spoolmw.ctl.watch_view import render
from spoolmw.ctl.words import STATES

TASK = {
    "id": "0" * 32, "name": "fold", "box": "b", "state": "running", "agent": "local",
    "slot": "1", "attempt": 2, "started_at": 1.0, "ended_at": 3.0, "message": "",
}  # fmt: skip


def a_view(**changed: Any) -> dict[str, Any]:
    tasks = dict.fromkeys(STATES, 0) | changed.pop("tasks", {})
    view = {
        "spool": "/spool", "daemon": {"pid": 1}, "tasks": tasks, "incoming": 0, "rejected": 0,
        "intake": {"open": True, "reason": ""}, "draining": False, "agents": [],
        "disk": {"free_bytes": 10**9}, "warnings": [], "open": 0, "ended": 0, "per_s": None,
        "eta_s": None, "running": [], "recent": [], "arrays": [], "unmade": 0,
    }  # fmt: skip
    return view | changed


def drawn(view: dict[str, Any]) -> str:
    written = io.StringIO()
    console = Console(file=written, width=100, force_terminal=True, color_system=None)
    console.print(render(view))
    return written.getvalue()


def test_nothing_to_do_is_said() -> None:
    text = drawn(a_view())
    assert "no tasks yet" in text
    assert "nothing open" in text


def test_progress_counts_what_was_open_and_what_came() -> None:
    text = drawn(a_view(open=30, ended=10, per_s=2.0, eta_s=15.0, tasks={"queued": 30}))
    for part in ("30 queued", "10 of 40", "2.0/s", "15.0 s to go"):
        assert part in text


def test_running_and_ended_tasks_are_listed() -> None:
    ended = TASK | {"name": "old", "state": "failed", "message": "exit code 3\nmore"}
    text = drawn(a_view(running=[TASK], recent=[ended]))
    assert "local 1" in text
    assert "exit code 3" in text
    assert "more" not in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"daemon": None}, "not running"),
        ({"intake": {"open": False, "reason": "the disk is full"}}, "the disk is full"),
        ({"draining": True}, "draining"),
        ({"warnings": ["the clock went back"]}, "the clock went back"),
    ],
)
def test_what_needs_attention_is_on_the_screen(changed: dict[str, Any], said: str) -> None:
    assert said in drawn(a_view(**changed))


def test_names_cannot_steer_the_terminal() -> None:
    evil = TASK | {"name": "\x1b[2J[bold]", "box": "\u202e"}
    text = drawn(a_view(running=[evil], recent=[evil]))
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "[bold]" in text
