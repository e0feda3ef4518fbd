"""What was measured, and how it is shown: a table for people, JSON Lines for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Measure:
    """One number. `goal` says what it should be; `met` is None where there is no goal."""

    workload: str
    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None


def at_least(workload: str, name: str, value: float, unit: str, goal: float) -> Measure:
    return Measure(workload, name, value, unit, f">= {goal:g}", value >= goal)


def at_most(workload: str, name: str, value: float, unit: str, goal: float) -> Measure:
    return Measure(workload, name, value, unit, f"<= {goal:g}", value <= goal)


class Report:
    """Takes measures as they come. JSON goes out at once, the table at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._chatter = Console(stderr=True)
        self._measures: list[Measure] = []

    def say(self, text: str) -> None:
        """Tell a waiting person what goes on."""
        self._chatter.print(text, style="dim", highlight=False)

    def add(self, *measures: Measure) -> None:
        self._measures += measures
        for measure in measures:
            if self._json:
                sys.stdout.write(
                    json.dumps({**asdict(measure), "name": measure.name.strip()}) + "\n"
                )
                sys.stdout.flush()
            else:
                self.say(f"  {measure.workload} {measure.name}: {_number(measure)}")

    def close(self, ground: str) -> None:
        """Print the table and where it was measured."""
        if self._json:
            return
        table = Table(title="spoolmw, everything durable", caption=f"measured on {ground}")
        for column in ("", "what", "value", "goal", " "):
            justify: Literal["left", "right"] = "right" if column == "value" else "left"
            table.add_column(column, justify=justify, no_wrap=True)
        for measure in self._measures:
            mark = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[measure.met]
            row = (measure.workload, measure.name, _number(measure), measure.goal, mark)
            table.add_row(*row)
        Console().print(table)


def _number(measure: Measure) -> str:
    digits = 0 if measure.value >= 100 else 2
    return f"{measure.value:,.{digits}f} {measure.unit}"
