"""Where output goes: data on stdout, chatter on stderr, JSON Lines when asked for.

Rule 1: everything that came from outside passes `escape` before it reaches a terminal.
Rule 2: nothing is cut when stdout is not a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spoolmw.ctl.words import STATE_STYLES
from spoolmw.errors import SpoolmwError
from spoolmw.format.names import escape


class Column(NamedTuple):
    """A column of a table; `states` colours its cells as states."""

    title: str
    right: bool = False
    states: bool = False


def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


@dataclass
class Screen:
    """Writes for people, or with `json` for programs."""

    json: bool = False
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def record(self, data: Mapping[str, object]) -> None:
        """Write one line of JSON; pure ASCII, so no terminal can be fooled by it."""
        sys.stdout.write(json.dumps(data, default=str) + "\n")
        sys.stdout.flush()

    def line(self, text: str = "", *, style: str = "") -> None:
        """Write one line of data."""
        self.out.print(Text(escape(text), style=style))

    def say(self, text: str, *, style: str = "") -> None:
        """Write a remark to stderr, where it is in no program's way."""
        for part in text.splitlines():
            self.err.print(Text(escape(part), style=style))

    def error(self, error: SpoolmwError) -> None:
        """Say what went wrong, why, and what to do."""
        if self.json:
            told = {"what": error.what, "why": error.why, "fix": error.fix}
            sys.stderr.write(json.dumps({"error": told}) + "\n")
            return
        self.say(error.what, style="bold red")
        if error.why:
            self.say(f"Why: {error.why}")
        if error.fix:
            self.say(f"To do: {error.fix}")

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write `name  value` lines; rows without a value are left out."""
        kept = [(name, value) for name, value in rows if value]
        width = max((len(name) for name, _ in kept), default=0)
        for name, value in kept:
            first, *rest = value.splitlines() or [""]
            self.out.print(Text.assemble((f"{name:<{width}}  ", "dim"), escape(first)))
            for part in rest:
                self.out.print(Text(" " * (width + 2) + escape(part)))

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Write rows under their titles: coloured and fitted on a terminal, whole elsewhere."""
        if self.out.is_terminal:
            self.out.print(rich_table(columns, rows), soft_wrap=False)
            return
        cells = [[c.title for c in columns], *([escape(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
        for row in cells:
            parts = (
                cell.rjust(width) if column.right else cell.ljust(width)
                for cell, width, column in zip(row, widths, columns, strict=True)
            )
            sys.stdout.write("  ".join(parts).rstrip() + "\n")


def rich_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    """The same rows as a rich table, for terminals and the live view."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="ellipsis",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*map(_cell, columns, row))
    return table


def _cell(column: Column, cell: str) -> Text:
    style = STATE_STYLES.get(cell, "") if column.states else ""
    return Text(escape(cell), style=style)
