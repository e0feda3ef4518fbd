"""The verb `submit`: makes a task of a command line or of a file, and prints its id.

Rule: what is wrong with it is told here, before anything is dropped.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from spoolmw.client.spool import Spool
from spoolmw.ctl.session import Session
from spoolmw.ctl.submit_file import submit_file
from spoolmw.ctl.verb import verb
from spoolmw.ctl.wait import PATIENCE_S, Wait
from spoolmw.errors import BadTaskFile

_TASK_SUFFIXES = (".task", ".toml")


def _options(function: Any) -> Any:
    for option in reversed(
        (
            click.option("--name", "-n", help="Its name; default: the program's."),
            click.option("--key", help="The same key is the same task: it runs once."),
            click.option("--box", "-b", default="", help="The box to drop it into."),
            click.option("--priority", "-p", type=int, help="Higher ones run first."),
            click.option(
                "--input", "-i", "inputs", multiple=True, help="A file it reads; repeat."
            ),
            click.option(
                "--output",
                "-o",
                "outputs",
                multiple=True,
                help="A pattern of files it makes; repeat.",
            ),
            click.option(
                "--env", "-e", multiple=True, metavar="NAME=VALUE", help="A variable; repeat."
            ),
            click.option("--time", "-t", help='Wall time of an attempt: "90s", "6h".'),
            click.option("--memory", "-m", help='Memory of an attempt: "2GB".'),
            click.option("--cpus", "-c", type=click.IntRange(1), help="Cores it uses."),
            click.option("--gpus", "-g", type=click.IntRange(0), help="Whole devices it uses."),
            click.option(
                "--retries",
                "-r",
                type=click.IntRange(0),
                help="Further attempts when it fails.",
            ),
            click.option("--agent", "agents", multiple=True, help="Where it may run; repeat."),
            click.option(
                "--wait", "-w", is_flag=True, help="Wait until it has ended (see `wait`)."
            ),
        )
    ):
        function = option(function)
    return function


@verb(
    "submit",
    examples="""
    spoolmw-ctl submit -- ./fold --seed 17
    spoolmw-ctl submit -i data.npz -o '*.csv' --time 6h --memory 2GB -- ./fold data.npz
    spoolmw-ctl submit job.sh
    spoolmw-ctl submit --box urgent count.toml
    spoolmw-ctl wait $(spoolmw-ctl submit -- ./fold)
    """,
    options_first=True,
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_options
def submit_verb(
    session: Session, *, command: tuple[str, ...], wait: bool, **wishes: Any
) -> int:
    """Drop a command or a task file, and print the task's id.

    A single word that names a script, a *.toml or a *.task is such a file; all else is a
    command. Works while the daemon is down. The program itself is taken along where it is
    given as a relative path; other files are named with --input. Options come before the
    command.
    """
    given = {name: value for name, value in wishes.items() if value not in (None, (), "")}
    file = _as_file(command)
    if file is not None:
        record = _from_file(session, file, given)
    else:
        record = _from_command(session, list(command), given)
    if session.screen.json:
        session.screen.record(record)
    else:
        session.screen.line(record["id"])
    if not wait:
        return 0
    waiting = Wait(session, [record["id"]], quiet=session.screen.json)
    return waiting.run(timeout_s=None, first=False, patience_s=PATIENCE_S)


def _as_file(command: tuple[str, ...]) -> Path | None:
    """The task file that a single word names; None: it is a command."""
    path = Path(command[0])
    if len(command) > 1:
        return None
    if path.suffix in _TASK_SUFFIXES:
        return path
    try:
        with path.open("rb") as file:
            return path if file.read(2) == b"#!" else None
    except OSError:
        return None


def _from_file(session: Session, file: Path, given: Mapping[str, Any]) -> dict[str, str]:
    if others := [f"--{name}" for name in given if name != "box"]:
        raise BadTaskFile(
            f"{', '.join(others)} cannot be used with a file.",
            why="The file says itself what it asks for.",
            fix="Write it there: `#SPOOLMW time = 6h` in a script, a key in a *.toml.",
        )
    return submit_file(session.layout, file, box=given.get("box", ""))


def _from_command(
    session: Session, command: list[str], given: dict[str, Any]
) -> dict[str, str]:
    inputs = _with_program(session, command, list(given.pop("inputs", ())))
    outputs = list(given.pop("outputs", ()))
    if "env" in given:
        given["env"] = dict(map(_variable, given["env"]))
    if "agents" in given:
        given["agents"] = list(given["agents"])
    spool = Spool(session.layout.root).options(**given)
    task = spool.command(command, inputs=inputs, outputs=outputs)
    box = given.get("box", "")
    return {"id": task.id, "name": task.name, "box": box, "result": str(task.path)}


def _with_program(session: Session, command: list[str], inputs: list[str]) -> list[str]:
    """The inputs, and the program where it is a relative path."""
    program = command[0]
    if "/" not in program and Path(program).is_file() and shutil.which(program) is None:
        raise BadTaskFile(
            f"{program} is not a program of $PATH.",
            why="There is a file of this name here, but a command needs its path.",
            fix=f"Write ./{program}. Options of submit come before it.",
        )
    known = {str(Path(name)) for name in inputs}
    if "/" in program and not Path(program).is_absolute() and str(Path(program)) not in known:
        if Path(program).is_file():
            return [program, *inputs]
        session.screen.say(
            f"There is no file {program} here; the task will look for it in vain."
        )
    return inputs


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--env takes NAME=VALUE, not {text!r}.")
    return name, value
