"""The verb `result`: what a task delivered, as a summary, as a stream or as files.

Rule: a pickle is only ever loaded when `--unpickle` says so; it may run any code.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from spoolmw.ctl.delivered import STREAMS, Delivery, delivery_of
from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.session import Session
from spoolmw.ctl.show import task_record
from spoolmw.ctl.targets import writing
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import STATE_STYLES, size
from spoolmw.errors import SpoolmwError
from spoolmw.format.call import load_value

#: Characters of a value that the summary shows.
SHOWN = 2000
#: Types that JSON says as they are.
_AS_JSON = (str, int, float, bool, type(None))


@verb(
    "result",
    examples="""
    spoolmw-ctl result fold-17
    spoolmw-ctl result --stdout fold-17 | grep energy
    spoolmw-ctl result --save out/ fold-17 fold-18
    spoolmw-ctl result --json fold-17 | jq .value
    """,
)
@click.argument("tasks", nargs=-1, required=True, type=TASK)
@click.option("--stdout", "stream", flag_value="stdout", help="Print what it wrote to stdout.")
@click.option("--stderr", "stream", flag_value="stderr", help="Print what it wrote to stderr.")
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Copy the result file and the output files into DIR.",
)
@click.option(
    "--unpickle", is_flag=True, help="Load pickled values too: this may run code of theirs."
)
def result_verb(
    session: Session,
    *,
    tasks: tuple[str, ...],
    stream: str | None,
    save: Path | None,
    unpickle: bool,
) -> int:
    """Print what tasks delivered. Exit code 1 when one of them did not succeed.

    The result files stay where they are. Works while the daemon is down.
    """
    good = True
    for task_id in pick(session, tasks, newest=True):
        task = task_record(session, task_id)
        delivery = delivery_of(session.layout, task)
        good = good and task["state"] == "done"
        if stream:
            _copy_out(session, delivery.output(stream))
        elif save is not None:
            _save(session, task, delivery, save)
        elif session.screen.json:
            session.screen.record(_record(task, delivery, unpickle=unpickle))
        else:
            _summary(session, task, delivery, unpickle=unpickle)
    return 0 if good else 1


def _copy_out(session: Session, data: bytes) -> None:
    """Bytes as they are into a pipe; on a terminal line by line, escaped."""
    if session.screen.out.is_terminal:
        for line in data.decode(errors="replace").splitlines():
            session.screen.line(line.expandtabs())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _value(delivery: Delivery, *, unpickle: bool) -> tuple[bool, Any]:
    """Whether the value could be read, and the value."""
    header, trusted = delivery.file.header, unpickle and _is_trusted(delivery)
    codec = header.get("codec") or ""
    if codec == "safe" or (codec == "pickle" and trusted):
        return True, load_value(header, bytes(delivery.file.value), trusted=trusted)
    return False, None


def _is_trusted(delivery: Delivery) -> bool:
    """Whether the daemon says that its agent is; a pickle from another one is never loaded."""
    return (delivery.file.trailer or {}).get("trusted", True) is True


def _record(task: Mapping[str, Any], delivery: Delivery, *, unpickle: bool) -> dict[str, Any]:
    header = delivery.file.header
    known, value = _value(delivery, unpickle=unpickle)
    record = {
        "id": task["id"],
        "name": task["name"],
        "state": task["state"],
        "path": str(delivery.path),
        "exit_code": header.get("exit_code"),
        "exception": header.get("exception"),
        "codec": header.get("codec") or "",
        "bytes": header.get("bytes") or 0,
        "value": value if known and _is_json(value) else None,
        "repr": repr(value) if known else None,
    }
    record |= {stream: delivery.output(stream).decode(errors="replace") for stream in STREAMS}
    record["files"] = [str(path) for path in _files(delivery)]
    return record


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return type(value) in _AS_JSON


def _files(delivery: Delivery) -> Iterator[Path]:
    """The declared or new files of a command, without its streams."""
    if delivery.has_files():
        for path in sorted(delivery.folder.rglob("*")):
            if path.is_file() and path.relative_to(delivery.folder).as_posix() not in STREAMS:
                yield path


def _summary(
    session: Session, task: Mapping[str, Any], delivery: Delivery, *, unpickle: bool
) -> None:
    header = delivery.file.header
    code = header.get("exit_code")
    exception = header.get("exception") or {}
    outputs = [
        f"{p.relative_to(delivery.folder)}  {size(p.stat().st_size)}" for p in _files(delivery)
    ]
    session.screen.line(f"{task['name']}: {task['state']}", style=STATE_STYLES[task["state"]])
    session.screen.facts(
        [
            ("result", str(delivery.path)),
            ("says", str(task.get("message") or "")),
            ("exit code", "" if code is None else str(code)),
            ("value", _value_text(delivery, unpickle=unpickle)),
            ("traceback", str(exception.get("traceback") or "")),
            ("files", "\n".join(outputs)),
            *((stream, _tail(delivery.output(stream))) for stream in STREAMS),
        ]
    )


def _value_text(delivery: Delivery, *, unpickle: bool) -> str:
    header = delivery.file.header
    codec = header.get("codec") or ""
    if not codec:
        return ""
    known, value = _value(delivery, unpickle=unpickle)
    if not known:
        told = size(header.get("bytes") or 0)
        if not _is_trusted(delivery):
            return f"a pickle of {told} from a host that is not trusted: nobody loads it"
        return f"a pickle of {told}; --unpickle loads it, if you trust who made it"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text):,} characters)"


def _tail(data: bytes, lines: int = 10) -> str:
    """The last lines, with what was left out said."""
    every = data.decode(errors="replace").splitlines()
    left_out = [f"... ({len(every) - lines} lines before; all: --stdout, --stderr)"]
    return "\n".join(every if len(every) <= lines else left_out + every[-lines:])


def _save(session: Session, task: Mapping[str, Any], delivery: Delivery, target: Path) -> None:
    with writing(target):
        copies = list(_copies(delivery, target))
    for copy in copies:
        if session.screen.json:
            session.screen.record({"id": task["id"], "name": task["name"], "saved": str(copy)})
        else:
            session.screen.line(str(copy))


def _copies(delivery: Delivery, target: Path) -> Iterator[Path]:
    target.mkdir(parents=True, exist_ok=True)
    copies = [(delivery.path, target / delivery.path.name)]
    if delivery.has_files():
        copies.append((delivery.folder, target / delivery.folder.name))
    for _, copy in copies:
        if copy.exists():
            raise SpoolmwError(
                f"{copy} exists already.",
                why="Nothing is ever overwritten.",
                fix="Name another folder, or move it away.",
            )
    for source, copy in copies:
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True)
        else:
            shutil.copyfile(source, copy)
        yield copy
