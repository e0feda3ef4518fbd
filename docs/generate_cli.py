"""Writes docs/cli.md from the program itself; with `--check` only says whether it is stale.

Run from the project's root: `python docs/generate_cli.py [--check]`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from spoolmw.ctl.main import SECTIONS, program
from spoolmw.ctl.verb import Verb

PAGE = Path(__file__).with_name("cli.md")

HEAD = """\
# The command line

<!-- Written by docs/generate_cli.py from the program. Do not edit: `make docs` does. -->

```
spoolmw-ctl [--spool DIR] [--config FILE] VERB [OPTIONS] [TASK...]
```

{intro}

Every verb takes `--json` (JSON Lines with stable keys) and `--spool`, before the verb or
behind it. Data goes to stdout, remarks and errors to stderr. Text that came from outside is
escaped on a terminal.

| exit code | meaning |
|---|---|
| 0 | all is well; `wait`: all tasks succeeded |
| 1 | it failed or is unknown; a task failed (`wait`, `result`); `doctor`, `fsck`: not well |
| 2 | the daemon does not answer, spool or configuration cannot be used, or wrong usage |
| 124 | `wait`: time-out |
| 130 | interrupted |
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD.format(intro=_text(program))]
    for title, verbs in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for name in verbs:
            parts += _verb_page(name, program.get_command(click.Context(program), name))
    return "\n".join(parts).rstrip() + "\n"


def _verb_page(name: str, command: click.Command | None) -> Iterator[str]:
    assert isinstance(command, Verb), f"{name} is no verb"
    assert command.examples, f"{name} has no example"
    usage = " ".join(["spoolmw-ctl", name, *_usage(command)])
    yield f"### {name}\n\n```\n{usage}\n```\n\n{_text(command)}\n"
    if rows := list(_options(command)):
        yield "| option | |\n|---|---|\n" + "\n".join(rows) + "\n"
    yield "```sh\n" + "\n".join(command.examples) + "\n```\n"
    if isinstance(command, click.Group):
        for sub in command.list_commands(click.Context(command)):
            yield from _verb_page(
                f"{name} {sub}", command.get_command(click.Context(command), sub)
            )


def _text(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _usage(command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        subs = command.list_commands(click.Context(command))
        yield f"[{' | '.join(subs)}] ..."
        return
    if any(isinstance(param, click.Option) for param in command.params):
        yield "[OPTIONS]"
    for param in command.params:
        if isinstance(param, click.Argument):
            yield param.make_metavar(click.Context(command))


def _options(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    for param in command.params:
        if isinstance(param, click.Option) and param.name not in ("json", "spool"):
            record = param.get_help_record(context)
            if record is not None:
                names, help_text = (part.replace("|", "\\|") for part in record)
                yield f"| `{names}` | {help_text} |"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; 1 when it is stale."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/cli.md is stale. To do: python docs/generate_cli.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
