"""Takes what a batch job brought back in `out/`, from a host that nobody trusts.

Rule 1: nothing gets its place in the spool before length and digest are right, and what the host
claims passes the same checks as over ssh (`carrier.claims`, `carrier.taking`).
Rule 2: the job's folder is only read: a daemon that dies meanwhile collects again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolmw.agents.batch.inside import IN_EACH_OTHERS_WAY, Inside, pour
from spoolmw.agents.carrier import claims, taking
from spoolmw.agents.carrier.book import Given
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.runner import endings, parcel, sandbox

_ALLOWED = {parcel.REPORT, parcel.RESULT, parcel.FILES, parcel.LOG, sandbox.TROUBLE}
_FACTS = ("host", "machine", "python", "platform")
_MOST_FACT = 200  #: characters
_MOST_TROUBLE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Collected:
    """What an attempt came to; its result and its files lie in `stage/`."""

    report: dict[str, Any]  #: for `Ledger.ended`
    news: list[tuple[str, list[dict[str, Any]]]]  #: for `Ledger.news`, before the report
    host: str
    machine: str
    python: str
    platform: str
    log: bytes  #: the end of what it printed


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job could run nothing, as its host says."""

    code: int
    what: str
    why: str
    fix: str
    host: str


def collect(out: Path, root: Path, given: Given) -> Collected:
    """Verify a job's `out/`, and put result and files into the spool's `stage/`.

    Raises Garbage for what none of our runners leaves (the attempt is lost, its host to blame);
    OSError when the spool itself cannot take it.
    """
    try:
        with Inside(out) as folder:
            strange = set(folder.names(most=100)) - _ALLOWED
            if strange:
                raise Garbage(f"{min(strange)[:80]!a} in what a job brought back")
            return _collect(folder, str(root), given)
    except BaseException as error:
        endings.remove_staged(given.attempt, str(root))
        if isinstance(error, IN_EACH_OTHERS_WAY):
            raise Garbage(f"output files in each other's way: {error.strerror}") from None
        raise


def refusal(out: Path) -> Refusal | None:
    """What a job without a report says of why; None: nothing, or nothing that can be read."""
    try:
        with Inside(out) as folder:
            told = _tree(folder, sandbox.TROUBLE, _MOST_TROUBLE_BYTES)
    except Garbage:
        return None
    code = told.get("code")
    text = {key: _line(told.get(key)) for key in ("what", "why", "fix", "host")}
    return Refusal(code if type(code) is int else 0, **text)


# -- what came back


def _collect(folder: Inside, root: str, given: Given) -> Collected:
    told = _tree(folder, parcel.REPORT, parcel.MOST_REPORT_BYTES)
    report = _report(told, given)
    facts = {key: _fact(told, key) for key in _FACTS}
    news = _news(told, given)
    has_files = report.get("files", False)
    if has_files != ("files" in told):
        raise Garbage("output files without a report of them, or the other way round")
    if has_files:
        _take_files(folder, told, root, given)
    elif parcel.FILES in folder.names(most=100):
        raise Garbage("output files that the report does not know")
    _take_result(folder, root, report, given)
    return Collected(report, news, log=_log(folder, told), **facts)


def _report(told: dict[str, Any], given: Given) -> dict[str, Any]:
    """The one entry that goes to the ledger."""
    if told.get("format") != sandbox.FORMAT:
        raise Garbage("a report of another format")
    report = claims.entries("ended", {"attempts": [told.get("report")]})[0]
    if report["attempt"] != given.attempt:
        raise Garbage(f"a report of {report['attempt']} from the job of {given.attempt}")
    if report["token"] != given.token:
        raise Garbage(f"a report of {given.attempt} with another's token")
    report.pop("missing", None)
    return report


def _news(told: dict[str, Any], given: Given) -> list[tuple[str, list[dict[str, Any]]]]:
    raw = told.get("news", [])
    if not isinstance(raw, list) or len(raw) > 2:
        raise Garbage("odd news")
    found: list[tuple[str, list[dict[str, Any]]]] = []
    for each in raw:
        event = each.get("event") if isinstance(each, dict) else None
        if event not in ("resumed", "progress"):
            raise Garbage("odd news")
        entries = claims.entries(event, each)
        if any(entry["attempt"] != given.attempt for entry in entries):
            raise Garbage("news of another attempt")
        found.append((event, entries))
    return found


def _take_result(folder: Inside, root: str, report: dict[str, Any], given: Given) -> None:
    bodies = taking.Bodies(f"{root}/stage", [(report, given)])
    try:
        if bodies.left:
            with folder.file(parcel.RESULT, most=bodies.left) as file:
                pour(file, bodies, bodies.left)
    except BaseException:
        bodies.abandon()
        raise
    if bodies.spoilt:
        raise Garbage("the result has another digest than its report says")


def _take_files(folder: Inside, told: dict[str, Any], root: str, given: Given) -> None:
    files = claims.files(told, width=3)
    digests = told.get("digests")
    if not isinstance(digests, list) or len(digests) != len(files):
        raise Garbage("output files without digests")
    if claims.size(told) > 2 * given.output_bytes + (64 << 20):
        raise Garbage(f"{given.attempt} has more output than it may")
    there = folder.names(parcel.FILES, most=len(files)) if files else []
    if there != sorted(map(str, range(len(files)))):
        raise Garbage("other output files than the report names")
    taker = taking.Folder(f"{root}/stage/{given.attempt}.files", files, wanted=True)
    for number, (_, _, size) in enumerate(files):
        with folder.file(f"{parcel.FILES}/{number}", most=size) as file:
            if pour(file, taker, size) != claims.digest(digests[number]):
                raise Garbage("an output file has another digest than the report says")


# -- pieces


def _tree(folder: Inside, name: str, most: int) -> dict[str, Any]:
    try:
        tree = json.loads(folder.whole(name, most=most))
    except (ValueError, RecursionError):
        raise Garbage(f"{name} is not JSON") from None
    if not isinstance(tree, dict):
        raise Garbage(f"{name} is no object")
    return tree


def _log(folder: Inside, told: dict[str, Any]) -> bytes:
    raw = told.get("log")
    if not isinstance(raw, list) or len(raw) != 2:
        raise Garbage("a report without a log")
    data = folder.whole(parcel.LOG, most=parcel.MOST_LOG_BYTES)
    if [len(data), hashlib.sha256(data).hexdigest()] != raw:
        raise Garbage("the log has another digest than the report says")
    return data


def _fact(told: dict[str, Any], key: str) -> str:
    if not isinstance(told.get(key), str):
        raise Garbage(f"a report without {key}")
    return _line(told[key])[:_MOST_FACT]


def _line(raw: object) -> str:
    return " ".join(raw.split())[:1000] if isinstance(raw, str) else ""
