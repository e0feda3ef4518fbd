"""What a host may claim: each field of what it says, checked; what is not known is left out.

Behind this nobody checks again, so a host can tell the daemon wrong numbers, but never a wrong
type, an endless text, or a name that leads out of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.runner.outputs import MOST_FILES, MOST_NAME_BYTES, MOST_PARTS

MOST_BODY_BYTES = 64 << 30  #: of one result
_MOST_TEXT = 2000
_MOST_S = 1e11  #: of a time: what is later has no date
_ATTEMPT = re.compile(r"[0-9a-f]{32}\.\d{1,9}\.\d{1,9}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", re.ASCII)

Check = Callable[[Any], Any]


class Garbage(Exception):
    """A host said what none of our keepers says; the text says what."""


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise Garbage("a text was expected")
    return raw[:_MOST_TEXT]


def _like(pattern: re.Pattern[str], what: str) -> Check:
    def check(raw: Any) -> str:
        if not isinstance(raw, str) or not pattern.fullmatch(raw):
            raise Garbage(f"{str(raw)[:80]!r} is no {what}")
        return raw

    return check


def _whole(most: int) -> Check:
    def check(raw: Any) -> int:
        if type(raw) is not int or not 0 <= raw <= most:
            raise Garbage(f"{str(raw)[:80]} is no number from 0 to {most}")
        return raw

    return check


def _number(raw: Any) -> float:
    if type(raw) not in (int, float) or not 0 <= raw < _MOST_S:
        raise Garbage(f"{str(raw)[:80]} is no time")
    return float(raw)


def _word(words: set[str]) -> Check:
    def check(raw: Any) -> str:
        if not isinstance(raw, str) or raw not in words:
            raise Garbage(f"{str(raw)[:80]!r} is none of {', '.join(sorted(words))}")
        return raw

    return check


def _yes_or_no(raw: Any) -> bool:
    return raw is True


def _code(raw: Any) -> int | None:
    if raw is None:
        return None
    if type(raw) is not int or abs(raw) > 1 << 31:
        raise Garbage(f"{str(raw)[:80]} is no exit code")
    return raw


def _texts(raw: Any) -> list[str]:
    if not isinstance(raw, list) or len(raw) > MOST_FILES:
        raise Garbage("a list of texts was expected")
    return [_text(each) for each in raw]


def _saved(raw: Any) -> list[Any]:
    if not isinstance(raw, list) or len(raw) != 4:
        raise Garbage("a checkpoint is told with four numbers")
    return [_count(raw[0]), _count(raw[1]), _number(raw[2]), _size(raw[3])]


_size = _whole(MOST_BODY_BYTES)
_count = _whole(10**9)
attempt_name = _like(_ATTEMPT, "attempt")
digest = _like(_DIGEST, "digest")

#: Fields of an entry by the event that it stands in; those of NEEDED must be there.
FIELDS: Mapping[str, Mapping[str, Check]] = {
    "ended": {
        "attempt": attempt_name,
        "token": _like(_TOKEN, "token"),
        "started": _number,
        "ended": _number,
        "cpu_s": _number,
        "memory_bytes": _whole(1 << 60),
        "outcome": _word({each.value for each in Outcome if each is not Outcome.STOPPED}),
        "cause": _word({each.value for each in Cause}),
        "blame": _word({each.value for each in Blame}),
        "message": _text,
        "exit_code": _code,
        "counts": _yes_or_no,
        "files": _yes_or_no,
        "slot": _text,
        "body_bytes": _size,
        "digest": digest,
        "missing": _texts,
    },
    "started": {
        "attempt": attempt_name,
        "slot": _like(_SLOT, "slot"),
        "pid": _whole(1 << 31),
        "started": _number,
    },
    "usage": {"attempt": attempt_name, "cpu_s": _number, "memory_bytes": _whole(1 << 60)},
    "resumed": {"attempt": attempt_name, "message": _text, "saved": _saved},
    "checkpointed": {
        "attempt": attempt_name,
        "sequence": _count,
        "bytes": _size,
        "saved_at": _number,
    },
    "progress": {"attempt": attempt_name, "fraction": _number, "text": _text},
}
_OPTIONAL = {"blame", "message", "exit_code", "counts", "files", "slot", "body_bytes", "digest"}
_OPTIONAL |= {"saved", "missing"}


def entries(event: str, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of one event. Raises Garbage."""
    raw = told.get("attempts")
    if not isinstance(raw, list) or len(raw) > 1 << 16:
        raise Garbage(f"{event} without a list of attempts")
    return [_entry(event, each) for each in raw]


def _entry(event: str, raw: Any) -> dict[str, Any]:
    fields = FIELDS[event]
    if not isinstance(raw, dict):
        raise Garbage(f"{event} with an entry that is none")
    entry = {key: check(raw[key]) for key, check in fields.items() if key in raw}
    missing = fields.keys() - entry.keys() - _OPTIONAL
    if missing:
        raise Garbage(f"{event} without {', '.join(sorted(missing))}")
    if event == "ended" and entry["outcome"] in ("success", "error"):
        if not {"body_bytes", "digest"} <= entry.keys():
            raise Garbage("a report without a result")
    elif event == "ended":
        entry["body_bytes"] = 0
        entry["files"] = False
    elif event == "resumed":
        entry.setdefault("message", "")
    return entry


def names(told: Mapping[str, Any], key: str = "attempts") -> list[str]:
    """A list of attempts. Raises Garbage."""
    raw = told.get(key)
    if not isinstance(raw, list) or len(raw) > 1 << 20:
        raise Garbage(f"no list of {key}")
    return [attempt_name(each) for each in raw]


def size(told: Mapping[str, Any]) -> int:
    """How many bytes were announced. Raises Garbage."""
    return int(_size(told.get("bytes", 0)))


def files(told: Mapping[str, Any], *, width: int) -> list[list[Any]]:
    """A list of files: name, (mode,) bytes. Raises Garbage, also when the sum is another."""
    raw = told.get("files")
    if not isinstance(raw, list) or len(raw) > MOST_FILES:
        raise Garbage("no list of files, or too long a one")
    found: dict[str, list[Any]] = {}
    for each in raw:
        if not isinstance(each, list) or len(each) != width:
            raise Garbage("a file is told by its name and numbers")
        found[file_name(each[0])] = [each[0], *(_size(number) for number in each[1:])]
    if len(found) != len(raw) or sum(each[-1] for each in found.values()) != size(told):
        raise Garbage("the files have other bytes than were announced")
    return list(found.values())


def file_name(raw: Any) -> str:
    """A relative path that stays in its folder. Raises Garbage."""
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise Garbage("a file without a name")
    try:
        whole = raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Garbage(f"{raw[:80]!a} is no name of a file") from None
    parts = whole.split(b"/")
    too_long = len(whole) > MOST_NAME_BYTES or len(parts) > MOST_PARTS
    if too_long or any(len(part) > 255 for part in parts):
        raise Garbage(f"the name {raw[:80]!a}... is too long")
    if any(part in (b"", b".", b"..") for part in parts):
        raise Garbage(f"{raw[:80]!a} leads out of its folder")
    return raw


def hello(told: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a keeper's first frame. Raises Garbage."""
    pythons = told.get("pythons", {})
    if not isinstance(pythons, dict) or len(pythons) > 100:
        raise Garbage("a hello with odd pythons")
    inputs = told.get("inputs", [])
    if not isinstance(inputs, list):
        raise Garbage("a hello without a list of inputs")
    return {
        "cores": _whole(1 << 16)(told.get("cores")),
        "memory": _whole(1 << 60)(told.get("memory")),
        "host": _text(told.get("host")),
        "machine": _text(told.get("machine")),
        "python": _text(told.get("python")),
        "platform": _text(told.get("platform")),
        "clock": _number(told.get("clock")),
        "boot": _text(told.get("boot", "")),
        "keeper_pid": _whole(1 << 31)(told.get("keeper_pid", 0)),
        "live": names(told, "live"),
        "outbox": names(told, "outbox"),
        "died": names(told, "died") if "died" in told else [],
        "inputs": [digest(each) for each in inputs],
        "pythons": {_text(key): _text(path) for key, path in pythons.items()},
    }
