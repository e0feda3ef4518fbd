"""Durations on the command line."""

from __future__ import annotations

from typing import Any

import click

from spoolmw.format.units import TIME_HINT, BadUnit, parse_duration


class Duration(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.1
    """`90s`, `6h`, `1h30m`, or a number of seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The duration in seconds."""
        try:
            return parse_duration(float(value) if _is_number(value) else value)
        except BadUnit as error:
            return self.fail(f"{error}; {TIME_HINT}", param, ctx)


def _is_number(value: object) -> bool:
    return not isinstance(value, str) or value.replace(".", "", 1).isdecimal()


DURATION = Duration()
