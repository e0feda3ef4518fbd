"""Reads the commonest result, one success at the first attempt, without a JSON decoder.

It knows exactly the lines that worker and daemon write for it, and says None of every other:
whoever gets None reads the file with `resultfile.parse`, which judges what is damaged.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from spoolmw.format.trailer import MAGIC

_TEXT = rb'"[ !#-\[\]-~]*"'  #: without anything that is escaped
_WHOLE = rb"(?:0|[1-9][0-9]{0,15})"
_NUMBER = _WHOLE + rb"\.[0-9]+"
_TIME = rb'(?:null|"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")'

_HEADER = re.compile(
    re.escape(MAGIC) + rb'\{"task":"[0-9a-f]{32}","name":%(text)s,"attempt":%(whole)s,'
    rb'"outcome":"success","cause":"finished","codec":"(safe|pickle)",'
    rb'"bytes":(%(whole)s),"sha256":"[0-9a-f]{64}",'
    rb'"stdout_tail":%(text)s,"stderr_tail":%(text)s,"python":%(text)s,"host":%(text)s\}\n'
    % {b"text": _TEXT, b"whole": _WHOLE}
)
_TRAILER = re.compile(
    rb'\n\{"trailer": 1, "id": "([0-9a-f]{32})", "name": %(text)s, "key": %(text)s, '
    rb'"box": %(text)s, "result": %(text)s, "state": "done", "cause": %(text)s, '
    rb'"blame": %(text)s, "message": %(text)s, "digest": "([0-9a-f]{64})", '
    rb'"submitted_at": %(time)s, "attempts": \[\{"attempt": %(whole)s, "agent": %(text)s, '
    rb'"host": %(text)s, "slot": %(text)s, "outcome": %(text)s, "cause": %(text)s, '
    rb'"blame": %(text)s, "message": %(text)s, "started": %(time)s, "ended": %(time)s, '
    rb'"seconds": %(number)s, "cpu_s": %(number)s, "memory_bytes": %(whole)s\}\]\}\n'
    % {b"text": _TEXT, b"whole": _WHOLE, b"number": _NUMBER, b"time": _TIME}
)


class PlainResult(NamedTuple):
    """A whole result of a call that succeeded; its digest was checked."""

    owner: str  #: the id of its task
    codec: str
    value: memoryview


def read_plain(data: bytes) -> PlainResult | None:
    """The result in `data`, None where it is not a plain success that is whole."""
    header = _HEADER.match(data)
    if header is None:
        return None
    start = header.end()
    end = start + int(header[2])
    trailer = _TRAILER.fullmatch(data, end)
    if trailer is None:
        return None
    view = memoryview(data)
    if hashlib.sha256(view[:end]).hexdigest().encode() != trailer[2]:
        return None
    return PlainResult(trailer[1].decode(), header[1].decode(), view[start:end])
