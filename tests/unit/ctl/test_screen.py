"""What reaches a terminal or a pipe."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from spoolmw.ctl.screen import Column, Screen
from spoolmw.errors import NotServed

EVIL = "a\x1b[2Jb\u202ec\nd"
COLUMNS = (Column("NAME"), Column("N", right=True), Column("STATE", states=True))


def a_screen(*, terminal: bool, width: int = 40) -> tuple[Screen, io.StringIO]:
    written = io.StringIO()
    console = Console(
        file=written,
        force_terminal=terminal,
        width=width,
        color_system=None,
        markup=False,
        _environ={"TERM": "xterm"},  # a dumb terminal would have a width of its own
    )
    return Screen(out=console, err=console), written


@pytest.mark.parametrize("terminal", [True, False])
def test_text_from_outside_cannot_steer_a_terminal(terminal: bool) -> None:
    screen, written = a_screen(terminal=terminal)
    screen.line(EVIL)
    screen.say(EVIL)
    screen.facts([("name", EVIL)])
    assert not set(written.getvalue()) & {"\x1b", "\u202e"}


def test_markup_in_a_name_is_no_markup() -> None:
    screen, written = a_screen(terminal=True)
    screen.line("[bold]x[/bold] :smile:")
    assert written.getvalue() == "[bold]x[/bold] :smile:\n"


def test_json_is_ascii_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(json=True).record({"name": EVIL})
    line = capsys.readouterr().out
    assert line.isascii()
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert json.loads(line) == {"name": EVIL}


def test_a_table_in_a_pipe_is_whole_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().table(COLUMNS, [("x" * 300, "7", "done"), (EVIL, "1000", "failed")])
    title, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["x" * 300, "7", "done"]
    assert title.index("STATE") == first.index("done") == second.index("failed")
    assert "\x1b" not in second


def test_a_table_on_a_terminal_fits_it() -> None:
    screen, written = a_screen(terminal=True, width=30)
    screen.table(COLUMNS, [("x" * 300, "7", "done")])
    assert all(len(line) <= 30 for line in written.getvalue().splitlines())


def test_an_error_says_what_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotServed("It does not answer.", why="It is down.", fix="Start it.")
    Screen().error(error)
    assert capsys.readouterr().err.splitlines() == [
        "It does not answer.",
        "Why: It is down.",
        "To do: Start it.",
    ]
    Screen(json=True).error(error)
    told = json.loads(capsys.readouterr().err)
    assert told["error"]["fix"] == "Start it."
