"""Writes the daemon's part of a result file: its last line, or all of it where no attempt did.

Both are pure functions of a committed `Task`: whoever writes them again writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted

from spoolmw.format.votes import class_letters
from spoolmw.model.attempt import Ran
from spoolmw.model.replica import Ballot, Replica
from spoolmw.model.task import Ending, Tally, Task, TaskState

VERSION = 1
MAGIC = b"SPOOLMW-RESULT 1\n"
#: What stands in the trailer of a result that came from a host nobody vouches for, and in what it
#: tells of an attempt there: who reads it decodes the `safe` codec only. Left out, it is trusted.
UNTRUSTED = ', "trusted": false'

_OUTCOMES = {
    TaskState.DONE: "success",
    TaskState.FAILED: "error",
    TaskState.CANCELLED: "stopped",
}


def trailer_line(task: Task) -> bytes:
    """The last line of the result of `task`, which has an ending; with its newline."""
    ending = _ending(task)
    digest = ending.digest
    if ending.staged is None and not digest:
        digest = hashlib.sha256(daemon_body(task)).hexdigest()
    spec = task.spec
    # `_value_` is the documented field behind `value`, without a call to a descriptor.
    copy = f', "copy_of": "{ending.copy_of}"' if ending.copy_of else ""
    if not ending.trusted:
        copy += UNTRUSTED
    return (
        f'{{"trailer": {VERSION}, "id": "{task.id}", "name": {_quoted(spec.name)}, '
        f'"key": {_text(spec.key)}, "box": {_text(task.box)}, '
        f'"result": {_quoted(task.result_name)}, "state": "{ending.state._value_}", '
        f'"cause": "{ending.cause._value_}", "blame": "{ending.blame._value_}", '
        f'"message": {_text(ending.message)}, "digest": "{digest}"{copy}, '
        f'"submitted_at": {_time(task.submitted_at)}, '
        f'"attempts": [{", ".join([_attempt(ran) for ran in task.history])}]'
        f"{'' if task.ballot is None else _votes(task.ballot)}}}\n"
    ).encode()


def _votes(ballot: Ballot) -> str:
    """Who returned what, and what came of it: only of a task with redundancy."""
    classes = class_letters(ballot)
    replicas = ", ".join([_replica(each, classes) for each in ballot.replicas])
    return f', "quorum": {ballot.wish.quorum}, "replicas": [{replicas}]'


def _replica(replica: Replica, classes: Mapping[int, str]) -> str:
    spot = replica.spot
    host, machine = (spot.host, spot.machine) if spot is not None else ("", "")
    return (
        f'{{"replica": {replica.number}, "state": "{replica.state._value_}", '
        f'"verdict": "{replica.verdict._value_}", "class": "{classes.get(replica.number, "")}", '
        f'"host": {_text(host)}, "machine": {_text(machine)}, "digest": "{replica.digest}", '
        f'"message": {_text(replica.message)}, '
        f'"attempts": [{", ".join([_attempt(ran) for ran in replica.history])}]}}'
    )


def _attempt(ran: Ran) -> str:
    started, ended = ran.started_at, ran.ended_at
    seconds = ended - started if ended > started > 0 else 0.0
    code = "" if ran.exit_code is None else f', "exit_code": {ran.exit_code}'
    return (
        f'{{"attempt": {ran.attempt}, "agent": {_quoted(ran.agent)}, '
        f'"host": {_text(ran.host)}, "slot": {_text(ran.slot)}, '
        f'"outcome": "{ran.outcome._value_}", "cause": "{ran.cause._value_}", '
        f'"blame": "{ran.blame._value_}", "message": {_text(ran.message)}{code}, '
        f'"started": {_time(started)}, "ended": {_time(ended)}, "seconds": {seconds:.6f}, '
        f'"cpu_s": {ran.cpu_s:.6f}, "memory_bytes": {ran.memory_bytes}'
        f"{'' if ran.trusted else UNTRUSTED}}}"
    )


def _text(text: str) -> str:
    return _quoted(text) if text else '""'


_MILLIS = [f"{number:03d}" for number in range(1000)]
#: Seconds that were written before: the times of one tick lie close together.
_seconds: dict[int, str] = {}


def _time(seconds: float) -> str:
    """A time as JSON: ISO 8601 in UTC with milliseconds; null for none."""
    if not 0 < seconds < 1e11:
        return "null"
    whole = int(seconds)
    text = _seconds.get(whole)
    if text is None:
        if len(_seconds) >= 1000:
            _seconds.clear()
        text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _seconds[whole] = text
    return f'"{text}.{_MILLIS[int((seconds - whole) * 1000)]}Z"'


def daemon_body(task: Task) -> bytes:
    """Header without a value, for a task whose last attempt left no result file."""
    ending = _ending(task)
    header: dict[str, object] = {
        "task": task.id,
        "name": task.spec.name,
        "attempt": task.attempt,
        "outcome": _OUTCOMES[ending.state],
        "cause": ending.cause.value,
        "message": ending.message,
        "exit_code": None,
        "signal": None,
        "exception": None,
        "codec": "",
        "bytes": 0,
        "sha256": "",
        "stdout_tail": "",
        "stderr_tail": "",
        "files": [],
        "python": "",
        "host": "",
    }
    if task.tally is not None:
        header["elements"] = elements_of(task.tally)
    return MAGIC + json.dumps(header).encode() + b"\n"


def elements_of(tally: Tally) -> dict[str, int]:
    """How many elements of an array ended how; those that never were made are `skipped`."""
    return {
        "total": tally.total,
        "done": tally.done,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
        "skipped": tally.skipped,
    }


def _ending(task: Task) -> Ending:
    assert task.ending is not None, "only a task with an ending is delivered"
    return task.ending
