"""Writes the body of a result file: magic line, header, value. The daemon adds the trailer.

Used by the worker for what ends in it, and by the runner for a worker that died or was stopped.
Nothing is synced here: the daemon's next sync covers the folder before it commits the report.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from . import wire

MAGIC = b"SPOOLMW-RESULT 1\n"
TAIL_BYTES = 8 << 10  #: of stdout and stderr kept in the header
MAX_MESSAGE = 400  #: characters of a report's one-line message
MAX_TEXT = 64 << 10  #: characters of an exception's message and traceback, each
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
#: Errors of the system that say something of what the task asked for, not of this machine.
_THE_TASKS_OWN = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
_THE_TASKS_OWN |= {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.E2BIG}
_SMALL_BYTES = 4 << 10  #: a value up to this length is copied behind its header
_MOST_INLINED_BYTES = 16 << 10  #: a report has to fit into a packet
_MOST_PIECES = 512  #: for one writev
#: The digest of nothing.
EMPTY = hashlib.sha256(b"").hexdigest()
_PYTHON = "{}.{}.{}".format(*sys.version_info[:3])
_HOST = os.uname().nodename

Value = Union[bytes, bytearray, memoryview]
_SUCCESS = {"outcome": "success", "cause": "finished"}
#: What is told of a success, and of nothing else.
_PLAIN_REPORT = {"attempt", "token", "started", "ended", "cpu_s", "memory_bytes", "outcome"}
_PLAIN_REPORT |= {"cause", "slot", "body_bytes", "digest"}
_quoted = json.encoder.encode_basestring_ascii
_HERE = f'"python":{_quoted(_PYTHON)},"host":{_quoted(_HOST)}'


class Ended:
    """How an attempt ended. What is not set has the value of a plain success without a value."""

    outcome = "success"
    cause = "finished"
    blame = ""
    message = ""
    exit_code: Optional[int] = None
    signal = 0
    exception: Optional[Dict[str, str]] = None
    codec = ""
    value: Sequence[Value] = ()  #: in pieces, so that no large one is copied
    stdout_tail = ""
    stderr_tail = ""
    files: Optional[List[Dict[str, Any]]] = None
    is_brief = False  #: see `surroundings.BRIEF_S`
    counts = True  #: a loss is one of the three that make it the task's fault
    cpu_s = 0.0
    memory_bytes = 0


def failed(
    cause: str, message: str, *, exit_code: Optional[int] = None, number: int = 0
) -> Ended:
    """An end that is the task's own fault."""
    ended = Ended()
    ended.outcome = "error"
    ended.cause = cause
    ended.blame = "task"
    ended.message = message
    ended.exit_code = exit_code
    ended.signal = number
    return ended


def lost(cause: str, message: str, *, number: int = 0, counts: bool = True) -> Ended:
    """An end that is not (proven to be) the task's fault; no result is written."""
    ended = Ended()
    ended.outcome = "lost"
    ended.cause = cause
    ended.blame = "host"
    ended.counts = counts
    ended.message = message
    ended.signal = number
    return ended


def refused(message: str) -> Ended:
    """This machine cannot run it now (a full disk, no more processes): the task is innocent."""
    ended = lost("launch", message, counts=False)
    ended.blame = "agent"
    return ended


def could_not(error: OSError, what: str) -> Ended:
    """What an error of the system means: something that is missing is the task's own matter."""
    text = f"{what}: {error.strerror}"
    if error.errno in _THE_TASKS_OWN:
        return failed("launch", text)
    return refused(text)


def write(path: str, name: str, attempt: str, ended: Ended) -> Tuple[int, str]:
    """Write the result's body to `path`; returns its length and its digest."""
    head, value, size = _parts(name, attempt, ended)
    if size <= _SMALL_BYTES:
        head, value = head + b"".join(value), []  # one piece costs less than two
    fd = os.open(path, _FLAGS, 0o666)
    try:
        sent = os.write(fd, head)
        if value or sent < len(head):
            _write_all(fd, [memoryview(head)[sent:], *value])
    finally:
        os.close(fd)
    digest = hashlib.sha256(head)
    for piece in value:
        digest.update(piece)
    return len(head) + sum(map(len, value)), digest.hexdigest()


def inlined(name: str, attempt: str, ended: Ended) -> Optional[bytes]:
    """The result's body, where it is so small that it may travel inside its report; else None."""
    if sum(map(len, ended.value)) > _SMALL_BYTES:
        return None
    head, value, _ = _parts(name, attempt, ended)
    body = head + b"".join(value)
    return body if len(body) <= _MOST_INLINED_BYTES else None


def _parts(name: str, attempt: str, ended: Ended) -> Tuple[bytes, List[memoryview], int]:
    """What stands before the value, the value in pieces, and its length."""
    value = [memoryview(piece).cast("B") for piece in ended.value]
    size = sum(map(len, value))
    return b"%s%s\n" % (MAGIC, _header(name, attempt, ended, size)), value, size


def _header(name: str, attempt: str, ended: Ended, size: int) -> bytes:
    """The header line. Its fixed part is written by hand: a JSON encoder takes four times as long."""
    task, _, number = attempt.split(".")
    rest = _rest(ended)
    return (
        f'{{"task":"{task}","name":{_quoted(name)},"attempt":{number},'
        f'"outcome":"{ended.outcome}","cause":"{ended.cause}","codec":"{ended.codec}",'
        f'"bytes":{size},"sha256":"{_digest(ended.value)}",'
        f'"stdout_tail":{_quoted(ended.stdout_tail)},"stderr_tail":{_quoted(ended.stderr_tail)},'
        f"{_HERE}{',' + wire.text(rest)[1:-1] if rest else ''}}}"
    ).encode("utf-8", "replace")


def _rest(ended: Ended) -> Dict[str, Any]:
    rest: Dict[str, Any] = {}
    if ended.message:
        rest["message"] = ended.message
    if ended.exit_code is not None:
        rest["exit_code"] = ended.exit_code
    if ended.signal:
        rest["signal"] = ended.signal
    if ended.exception is not None:
        rest["exception"] = ended.exception
    if ended.files is not None:
        rest["files"] = ended.files
    return rest


def _digest(value: Sequence[Value]) -> str:
    if not value:
        return EMPTY
    digest = hashlib.sha256(value[0])
    for piece in value[1:]:
        digest.update(piece)
    return digest.hexdigest()


def _write_all(fd: int, pieces: List[memoryview]) -> None:
    while pieces:
        sent = os.writev(fd, pieces[:_MOST_PIECES])
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces.pop(0))
        if pieces and sent:
            pieces[0] = pieces[0][sent:]


def report(
    attempt: str, token: str, ended: Ended, times: Tuple[float, float]
) -> Dict[str, Any]:
    """What the daemon is told of an end; what has its default is left out."""
    told: Dict[str, Any] = {
        "attempt": attempt,
        "token": token,
        "started": times[0],
        "ended": times[1],
        "cpu_s": ended.cpu_s,
        "memory_bytes": ended.memory_bytes,
        **verdict_of(ended),
    }
    if ended.exit_code is not None:
        told["exit_code"] = ended.exit_code
    if ended.files is not None:
        told["files"] = True
    return told


def encoded(report: Dict[str, Any]) -> bytes:
    """A report as JSON. That of a success is written by hand, as the header of its result is."""
    if report.keys() - {"body"} != _PLAIN_REPORT:
        return wire.encode(report)
    body = f',"body":"{report["body"]}"' if "body" in report else ""
    return (
        f'{{"attempt":{_quoted(report["attempt"])},"token":{_quoted(report["token"])},'
        f'"started":{report["started"]!r},"ended":{report["ended"]!r},'
        f'"cpu_s":{report["cpu_s"]!r},"memory_bytes":{report["memory_bytes"]},'
        f'"outcome":"{report["outcome"]}","cause":"{report["cause"]}",'
        f'"slot":{_quoted(report["slot"])},"body_bytes":{report["body_bytes"]},'
        f'"digest":"{report["digest"]}"{body}}}'
    ).encode()


def verdict_of(ended: Ended) -> Dict[str, Any]:
    """The part of a report that says how it ended, and through whose fault."""
    if ended.outcome == "success":
        return _SUCCESS
    told: Dict[str, Any] = {
        "outcome": ended.outcome,
        "cause": ended.cause,
        "blame": ended.blame,
        "message": one_line(ended.message),
    }
    if not ended.counts:
        told["counts"] = False
    return told


def one_line(text: str) -> str:
    """A text as the one line of a report, shortened in the middle when it is long."""
    line = " ".join(text.split())
    if len(line) <= MAX_MESSAGE:
        return line
    half = MAX_MESSAGE // 2 - 3
    return f"{line[:half]} ... {line[-half:]}"


def tail(path: str, limit: int = TAIL_BYTES) -> str:
    """The last bytes of a file as text; empty when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return tail_of(fd, limit)
    finally:
        os.close(fd)


def tail_of(fd: int, limit: int = TAIL_BYTES) -> str:
    """The last bytes of an open file as text, cut at a character."""
    size = os.fstat(fd).st_size
    data = os.pread(fd, limit, max(0, size - limit))
    if size > limit:
        data = data.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character that was cut
    return data.decode("utf-8", "replace")


def digest_of(path: str) -> Tuple[int, str]:
    """Length and digest of a file."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while True:
            data = file.read(1 << 20)
            if not data:
                return size, digest.hexdigest()
            digest.update(data)
            size += len(data)
