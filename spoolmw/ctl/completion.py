"""The verb `completion`: the shell code that completes verbs, options and ids of tasks."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.errors import SpoolmwError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_SPOOLMW_CTL_COMPLETE"


@verb(
    "completion",
    examples="""
    eval "$(spoolmw-ctl completion bash)"
    spoolmw-ctl completion zsh > ~/.zfunc/_spoolmw-ctl
    spoolmw-ctl completion fish > ~/.config/fish/completions/spoolmw-ctl.fish
    """,
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion_verb(session: Session, *, shell: str | None) -> None:
    """Print the code that teaches a shell to complete.

    Put it where your shell reads it. SHELL is bash, zsh or fish; without it the one that
    $SHELL names.
    """
    name = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119  a string
    kind = get_completion_class(name)
    if kind is None:
        raise SpoolmwError(
            "Which shell?",
            why=f"$SHELL is {os.environ.get('SHELL', 'not set')}.",
            fix=f"Name one: spoolmw-ctl completion {'|'.join(SHELLS)}",
        )
    root = click.get_current_context().find_root()
    source = kind(root.command, {}, "spoolmw-ctl", VARIABLE).source()
    if session.screen.json:
        session.screen.record({"shell": name, "source": source})
    else:
        click.echo(source)
