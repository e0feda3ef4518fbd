"""The small workload of the kill sweep, and the client that submits it: a program `(HOME, early|late)`.

All three forms of drops are in it, a task that fails, a twin by key, a name that is taken, a call
that takes the value of another, one that runs after a task that fails, and an array. The
client writes a line before and a line after each submission into `client.log`: a submission
whose second line is there was acknowledged. A client that was killed is simply run again; it
goes on with what was not acknowledged.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spoolmw import Spool
from spoolmw.client.submitter import Submitter
from tests.support.waiting import wait_until

LOG = "client.log"
RUNS = "runs.log"  #: TASK ATTEMPT of every start of an attempt
OVERLAPS = "overlaps.log"  #: attempts that ran beside another one of their task
LOCKS = "locks"

#: Another result stood at this name before the sweep: it must stay as it is.
TAKEN = "taken.sh"
TAKEN_TEXT = b"the result of somebody else\n"
WORDS = "one two three\nfour five\n"

_SHELL_RUN = (
    "exec 9>{home}/locks/$SPOOLMW_TASK\n"
    'flock -n 9 || echo "$SPOOLMW_TASK" >>{home}/overlaps.log\n'
    'echo "$SPOOLMW_TASK $SPOOLMW_ATTEMPT" >>{home}/runs.log\n'
)
_SCRIPT = "#!/bin/sh\n#SPOOLMW name = {name}\n" + _SHELL_RUN
_TOML = """\
name = "{name}"
[run]
command = ["/bin/sh", "count.sh"]
[files]
inputs = ["count.sh", "words.txt"]
outputs = ["*.count"]
"""


@dataclass(frozen=True)
class Item:
    """One submission, and what must come of it."""

    name: str
    put: Callable[[Item, Path], str]  #: submits it; returns the task's id where that is known
    state: str = "done"
    value: object = None  #: of a call
    stdout: str | None = None  #: of a command
    files: tuple[tuple[str, str], ...] = ()  #: further files of a command: (name, content)
    error: str = ""  #: the type of the exception of a failed call
    late: bool = False  #: submitted while the daemon runs
    is_twin: bool = False  #: with another one's key
    takes: bool = False  #: the value of another one
    of: str = ""  #: the array that it is an element of, and submitted with


# -- what runs


def note_run(home: str) -> int:
    """Tell that an attempt starts; the lock that proves it alone is held until the fd is closed."""
    task = os.environ["SPOOLMW_TASK"]
    fd = os.open(f"{home}/{LOCKS}/{task}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        append(f"{home}/{OVERLAPS}", task)
    append(f"{home}/{RUNS}", f"{task} {os.environ['SPOOLMW_ATTEMPT']}")
    return fd


def append(path: str, line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


def calculate(number: int, home: str) -> list[object]:
    """A call that succeeds after a moment."""
    lock = note_run(home)
    time.sleep(0.005)
    os.close(lock)
    return [number, number * number, "ä" * number]


def fail(home: str) -> None:
    """A call that raises."""
    os.close(note_run(home))
    raise ValueError("this one is meant to fail")


def extend(values: list[object], home: str) -> list[object]:
    """A call that takes another one's value."""
    os.close(note_run(home))
    return [*values, "and more"]


# -- how it is submitted


def call(item: Item, home: Path) -> str:
    number = int(item.name.rpartition("-")[2])
    return str(_spool(home, item.name).submit(calculate, number, str(home)).id)


def failing_call(item: Item, home: Path) -> str:
    return str(_spool(home, item.name).submit(fail, str(home)).id)


def twin(item: Item, home: Path) -> str:
    spool = _spool(home, item.name, key="the same")
    return str(spool.submit(calculate, 7, str(home)).id)


def taking_call(item: Item, home: Path) -> str:
    """With a task of its own before it, whose value it takes."""
    first = _spool(home, "before").submit(calculate, 4, str(home))
    return str(_spool(home, item.name).submit(extend, first, str(home)).id)


def call_after_a_failure(item: Item, home: Path) -> str:
    first = _spool(home, "fails before").submit(fail, str(home))
    return str(_spool(home, item.name).submit(extend, [first], str(home)).id)


def command(item: Item, home: Path) -> str:
    source = home / "given.txt"
    source.write_text(WORDS, encoding="utf-8")
    spool = _spool(home, item.name, box="lab")
    shell = _SHELL_RUN.format(home=home) + "cat given.txt\n"
    return str(spool.command(["/bin/sh", "-c", shell], inputs={"given.txt": source}).id)


def script(item: Item, home: Path) -> str:
    text = _SCRIPT.format(name=item.name, home=home) + "echo said\necho made >made.txt\n"
    _drop(home, f"{item.name}.sh", text)
    return ""


def failing_script(item: Item, home: Path) -> str:
    _drop(
        home, f"{item.name}.sh", _SCRIPT.format(name=item.name, home=home) + "echo no\nexit 3\n"
    )
    return ""


def array(item: Item, home: Path) -> str:
    text = _SCRIPT.replace("\n", "\n#SPOOLMW array = 1-3\n", 1)
    text = text.format(name=item.name, home=home) + "echo $SPOOLMW_ARRAY_INDEX\n"
    _drop(home, f"{item.name}.sh", text)
    return ""


def with_its_array(item: Item, home: Path) -> str:
    return ""


def taken_name(item: Item, home: Path) -> str:
    _drop(home, TAKEN, _SCRIPT.format(name=item.name, home=home) + "echo mine\n")
    return ""


def toml(item: Item, home: Path) -> str:
    shell = _SHELL_RUN.format(home=home) + "wc -w <words.txt | tr -d ' ' >words.count\n"
    name = f"{item.name}.toml"
    _drop(
        home,
        name,
        _TOML.format(name=item.name),
        box="words",
        inputs=(("count.sh", shell), ("words.txt", WORDS)),
    )
    return ""


def _spool(home: Path, name: str, **wishes: str) -> Submitter:
    """The helper. It leaves the results where they are: taking them is the consumer's part."""
    return Spool(home / "spool").options(name=name, keep=True, **wishes)


def _drop(
    home: Path, name: str, text: str, *, box: str = "", inputs: tuple[tuple[str, str], ...] = ()
) -> None:
    """As a careful user does by hand: the inputs first, then the file by a rename."""
    folder = home / "spool" / "incoming" / box
    folder.mkdir(exist_ok=True)
    if inputs:
        beside = folder / f"{name}.in"
        beside.mkdir(exist_ok=True)
        for input_name, content in inputs:
            half = beside / f"{input_name}.part"
            half.write_text(content, encoding="utf-8")
            half.rename(beside / input_name)
    half = home / "spool" / "tmp" / f"{name}.part"
    half.write_text(text, encoding="utf-8")
    half.rename(folder / name)


SEVEN = [7, 49, "ä" * 7]

ITEMS = (
    Item("call-1", call, value=[1, 1, "ä"]),
    Item("call-2", call, value=[2, 4, "ää"]),
    Item("fails", failing_call, state="failed", error="ValueError"),
    Item("twin-first", twin, value=SEVEN, is_twin=True),
    Item("twin-second", twin, value=SEVEN, is_twin=True),
    Item("takes", taking_call, value=[4, 16, "ä" * 4, "and more"], takes=True),
    Item("never", call_after_a_failure, state="failed"),
    Item("script", script, stdout="said\n", files=(("made.txt", "made\n"),)),
    Item("taken", taken_name, stdout="mine\n"),
    Item("sweep", array),
    *(Item(f"sweep.{n}", with_its_array, stdout=f"{n}\n", of="sweep") for n in (1, 2, 3)),
    Item("count", toml, stdout="", files=(("words.count", "5\n"),)),
    Item("call-3", call, value=[3, 9, "äää"], late=True),
    Item("exits", failing_script, state="failed", stdout="no\n", late=True),
    Item("command", command, stdout=WORDS, late=True),
)


# -- the client


def acknowledged(home: Path) -> dict[str, list[tuple[str, str]]]:
    """What the client's log says: for each item, its lines as (word, task id)."""
    found: dict[str, list[tuple[str, str]]] = {}
    path = home / LOG
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        word, name, task_id = json.loads(line)
        found.setdefault(name, []).append((word, task_id))
    return found


def missing(home: Path, part: str) -> list[Item]:
    """What of the `early` or `late` part is not acknowledged yet."""
    known = acknowledged(home)
    return [
        item
        for item in ITEMS
        if item.late is (part == "late") and "done" not in dict(known.get(item.name, ()))
    ]


def submit(home: Path, part: str) -> None:
    """Submit what is missing of one part."""
    for item in missing(home, part):
        append(str(home / LOG), json.dumps(["will", item.name, ""]))
        task_id = item.put(item, home)
        append(str(home / LOG), json.dumps(["done", item.name, task_id]))


def submit_late(home: Path) -> None:
    """The late ones, once a daemon has begun to take the early ones; without one, after a while."""
    incoming = home / "spool" / "incoming" / "script.sh"
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not incoming.exists(), timeout_s=1.0)
    submit(home, "late")


if __name__ == "__main__":
    if sys.argv[2] == "late":
        submit_late(Path(sys.argv[1]))
    else:
        submit(Path(sys.argv[1]), "early")
