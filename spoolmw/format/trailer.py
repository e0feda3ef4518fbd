"""Writes the daemon's part of a result file: its last line, or all of it where no attempt did.

Both are pure functions of a committed `Task`: whoever writes them again writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted

from spoolmw.format.resultfile import MAGIC
from spoolmw.model.task import Cause, Ending, Ran, Task, TaskState

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
    copy = f', "copy_of": "{ending.copy_of}"' if ending.copy_of else ""
    return (
        f'{{"trailer": 1, "id": "{task.id}", "name": {_quoted(spec.name)}, '
        f'"key": {_quoted(spec.key)}, "box": {_quoted(task.box)}, '
        f'"result": {_quoted(task.result_name)}, "state": "{ending.state.value}", '
        f'"cause": "{ending.cause.value}", "blame": "{ending.blame.value}", '
        f'"message": {_quoted(ending.message)}, "digest": "{digest}"{copy}, '
        f'"submitted_at": {_time(task.submitted_at)}, '
        f'"attempts": [{", ".join(map(_attempt, task.history))}]}}\n'
    ).encode()


def _attempt(ran: Ran) -> str:
    started, ended = ran.started_at, ran.ended_at
    seconds = ended - started if ended > started > 0 else 0.0
    code = "" if ran.exit_code is None else f', "exit_code": {ran.exit_code}'
    return (
        f'{{"attempt": {ran.attempt}, "agent": {_quoted(ran.agent)}, '
        f'"host": {_quoted(ran.host)}, "slot": {_quoted(ran.slot)}, '
        f'"outcome": "{ran.outcome.value}", "cause": "{ran.cause.value}", '
        f'"blame": "{ran.blame.value}", "message": {_quoted(ran.message)}{code}, '
        f'"started": {_time(started)}, "ended": {_time(ended)}, "seconds": {seconds:.6f}, '
        f'"cpu_s": {ran.cpu_s:.6f}, "memory_bytes": {ran.memory_bytes}}}'
    )


#: The second that was written last; most times of one tick lie in the same one.
_last_second = (-1, "")


def _time(seconds: float) -> str:
    """A time as JSON: ISO 8601 in UTC with milliseconds; null for none."""
    global _last_second  # noqa: PLW0603  # a cache of one, the same whoever fills it
    if not 0 < seconds < 1e11:
        return "null"
    whole = int(seconds)
    known, text = _last_second
    if known != whole:
        text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _last_second = (whole, text)
    return f'"{text}.{int((seconds - whole) * 1000):03d}Z"'


def daemon_body(task: Task) -> bytes:
    """Header without a value, for a task whose last attempt left no result file."""
    ending = _ending(task)
    header = {
        "task": task.id,
        "name": task.spec.name,
        "attempt": task.attempt,
        "outcome": "error" if ending.cause is Cause.VANISHED else _OUTCOMES[ending.state],
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
    return MAGIC + json.dumps(header).encode() + b"\n"


def _ending(task: Task) -> Ending:
    assert task.ending is not None, "only a task with an ending is delivered"
    return task.ending
