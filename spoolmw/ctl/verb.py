"""How a verb is declared: its examples, and the options that every verb takes.

Rule 1: every verb has an example. Rule 2: every verb has `--json` and `--spool`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from spoolmw.ctl.session import Session

F = TypeVar("F", bound=Callable[..., Any])


class Verb(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own."""
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  as click calls it
    if value:
        ctx.ensure_object(Session).screen.json = True


def _set_spool(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).given_spool = value


def shared_options(function: F) -> F:
    """Add what may stand before the verb or behind it."""
    for option in (
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_json,
            help="Print JSON Lines with stable keys.",
        ),
        click.option(
            "--spool",
            metavar="DIR",
            expose_value=False,
            is_eager=True,
            callback=_set_spool,
            help="The spool's folder.",
        ),
    ):
        function = option(function)
    return function


def verb(
    name: str, *, examples: str, options_first: bool = False
) -> Callable[[Callable[..., int | None]], Verb]:
    """Make a function a verb: its docstring is the help, what it returns the exit code.

    With `options_first` everything from the first argument on is an argument.
    """
    settings = {"allow_interspersed_args": not options_first}

    def wrap(function: Callable[..., int | None]) -> Verb:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            ctx = click.get_current_context()
            if code := function(ctx.ensure_object(Session), **given):
                ctx.exit(code)

        make = click.command(name, cls=Verb, examples=examples, context_settings=settings)
        return make(shared_options(run))

    return wrap
