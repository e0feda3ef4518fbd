"""The program `spoolmw-ctl`: its verbs, and what its exit codes mean.

0 all is well; 1 what was asked for failed or is unknown; 2 the service or the spool cannot be
used (or the command line is wrong); 124 a time-out; 130 interrupted.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

from spoolmw import __version__
from spoolmw.ctl.screen import Screen
from spoolmw.ctl.session import Session
from spoolmw.ctl.streams import StreamLost, take_streams
from spoolmw.ctl.verb import shared_options
from spoolmw.errors import BadConfig, BadSpool, JournalCorrupt, NotServed, SpoolmwError
from spoolmw.spooldir.where import ASK_AS

#: The exit code after Ctrl-C.
INTERRUPTED = 130
#: The verbs by what they are for: verb -> the module of `spoolmw.ctl` that has it.
SECTIONS: dict[str, dict[str, str]] = {
    "Look": {
        "status": "status",
        "ls": "listing",
        "show": "show",
        "why": "show",
        "tree": "tree",
        "log": "log",
        "watch": "watch",
        "agents": "places",
        "hosts": "places",
        "votes": "votes",
    },
    "Submit and fetch": {"submit": "submit", "wait": "wait", "result": "result"},
    "Change tasks": {
        "cancel": "change",
        "hold": "change",
        "release": "change",
        "retry": "change",
        "prio": "change",
        "checkpoint": "checkpoint",
        "adjudicate": "votes",
    },
    "Run the service": {
        "pause": "traffic",
        "resume": "traffic",
        "drain": "traffic",
        "reload": "traffic",
        "prune": "prune",
        "fsck": "repair",
        "rebuild": "repair",
        "boinc": "boinc",
        "config": "settings",
        "doctor": "doctor",
        "completion": "completion",
    },
}
VERBS = {name: module for verbs in SECTIONS.values() for name, module in verbs.items()}


class Program(click.Group):
    """Loads a verb's module when the verb is used, and turns our errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of this name."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"spoolmw.ctl.{VERBS[cmd_name]}")
        command = getattr(module, f"{cmd_name}_verb")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments begin with; a misspelt one is told with the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if near := difflib.get_close_matches(args[0], VERBS, n=1):
                said = f"{error.format_message()} Did you mean {near[0]}?"
                raise click.UsageError(said, ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs under their sections."""
        for title, verbs in SECTIONS.items():
            rows = []
            for name in verbs:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name, command.get_short_help_str(limit=70)))
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; an error of ours is told and becomes the exit code."""
        try:
            return super().invoke(ctx)
        except SpoolmwError as error:
            ctx.ensure_object(Session).screen.error(error)
            ctx.exit(exit_code(error))
        except PermissionError as error:
            ctx.ensure_object(Session).screen.error(_closed(error))
            ctx.exit(2)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except click.Abort as error:  # of Ctrl-C at a question, or of no answer
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            click.echo(err=True)  # the shell goes on below the question
            ctx.exit(INTERRUPTED)


def exit_code(error: SpoolmwError) -> int:
    """2 when the service or the spool cannot be used, else 1."""
    return 2 if isinstance(error, (NotServed, BadSpool, BadConfig, JournalCorrupt)) else 1


def _closed(error: PermissionError) -> SpoolmwError:
    return SpoolmwError(
        f"{error.filename or 'A part of the spool'} is not open to this user.",
        why=error.strerror or "",
        fix=ASK_AS,
    )


def _set_config(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).given_config = value


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spoolmw-ctl")
@click.option(
    "--config",
    metavar="FILE",
    expose_value=False,
    callback=_set_config,
    help="The configuration; default: spoolmw.toml beside the spool.",
)
@shared_options
@click.pass_context
def program(ctx: click.Context) -> None:
    """Look at a spool, submit tasks, wait for them, and change what happens to them.

    The spool is --spool, else $SPOOLMW_SPOOL, else /var/spool/spoolmw where it exists,
    else ./spool. A TASK is an id, the beginning of one, a key or a name; `-` reads them from
    stdin. Looking works while the daemon is down; changing needs it.
    """
    ctx.ensure_object(Session)


def main() -> None:
    """Run the program (the console script's entry)."""
    take_streams()
    try:
        try:
            program.main(prog_name="spoolmw-ctl")
        finally:
            sys.stdout.flush()  # else the interpreter does, and tells of failure in its own way
    except StreamLost as error:
        Screen().error(error)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
