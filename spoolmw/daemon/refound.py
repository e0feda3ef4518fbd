"""Finds in `stage/` what replicas returned for a task of which no journal knows.

Rule 1: a result counts only when it is whole by its own digests and tells of a success.
Rule 2: whose vote it is must be certain. Only a header says it, so all agents must be trusted
(another's host could speak in a trusted one's name), and it must name a host that is reached now,
one of this name. Everything else is computed once more.
Rule 3: verdicts are not kept: results are compared anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from spoolmw.daemon.clock import boot_s
from spoolmw.errors import BadResultFile
from spoolmw.format import resultfile
from spoolmw.format.trailer import MAGIC
from spoolmw.model.attempt import Blame, Cause, Outcome, Ran
from spoolmw.model.events import Reported
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.replica import Replica, Spot
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.closing import grown
from spoolmw.spooldir.layout import Layout

_NAME: Final = re.compile(r"[0-9a-f]{32}\.\d{1,3}\.\d{1,9}", re.ASCII)
_PIECE: Final = 1 << 20
Hosts = Mapping[str, tuple[AgentName, Spot]]
_LOST: Final = "the journal was lost; its result was found again"


class Found(NamedTuple):
    """A whole result that a replica staged."""

    attempt: AttemptId
    agent: AgentName  #: one that reaches its host
    spot: Spot
    body_bytes: int
    digest: str
    files: bool


class Refound:
    """What lies in `stage/` at a start; `spots` are the hosts that the agents reach, if all are trusted."""

    def __init__(self, layout: Layout, spots: Iterable[tuple[AgentName, Spot]]) -> None:
        self._hosts = _by_name(spots)
        self._there: dict[str, list[Path]] = {}
        for path in sorted(layout.stage.iterdir()):
            if _NAME.fullmatch(path.name):
                self._there.setdefault(path.name.partition(".")[0], []).append(path)

    def with_results(self, task: Task) -> tuple[Task, list[Reported]]:
        """The task with what is known of its replicas, and the reports that are to be told of them.

        Raises OSError.
        """
        ballot = task.ballot
        if ballot is None or task.state is not TaskState.QUEUED:
            return task, []
        paths = self._there.get(task.id, ())
        every = [each for path in paths if (each := _found(path, self._hosts)) is not None]
        every.sort(key=lambda each: each.attempt)
        newest = {each.attempt.replica: each for each in every}
        wanted = {at: each for at, each in newest.items() if at < ballot.wish.limit}
        if not wanted:
            return task, []
        secret = secrets.token_hex(16)
        ballot = grown(ballot, max(0, max(wanted) + 1 - len(ballot.replicas)))
        replicas = tuple(_returning(each, wanted, secret) for each in ballot.replicas)
        task = replace(task, ballot=replace(ballot, replicas=replicas))
        return task, [_report(wanted[number], secret) for number in sorted(wanted)]


def _by_name(spots: Iterable[tuple[AgentName, Spot]]) -> Hosts:
    """The hosts by their names; a name that two machines have says nothing."""
    found: dict[str, tuple[AgentName, Spot]] = {}
    torn: set[str] = set()
    for agent, spot in spots:
        _, other = found.setdefault(spot.host, (agent, spot))
        if other.machine != spot.machine or not spot.machine:
            torn.add(spot.host)
    return {name: here for name, here in found.items() if name not in torn}


def _returning(replica: Replica, found: Mapping[int, Found], secret: str) -> Replica:
    """The replica as one whose attempt was given up and may yet report, with this token."""
    if (result := found.get(replica.number)) is None:
        return replica
    attempt = result.attempt.attempt
    ran = Ran(
        attempt=attempt,
        agent=result.agent,
        outcome=Outcome.LOST,
        cause=Cause.CONNECTION,
        blame=Blame.NONE,
        message=_LOST,
        host=result.spot.host,
        token=secret,
    )
    return replace(
        replica, attempt=max(replica.attempt, attempt), spot=result.spot, history=(ran,)
    )


def _report(found: Found, secret: str) -> Reported:
    return Reported(
        at=boot_s(),
        attempt=found.attempt,
        token=secret,
        outcome=Outcome.SUCCESS,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        body_bytes=found.body_bytes,
        digest=found.digest,
        files=found.files,
        host=found.spot.host,
    )


def _found(path: Path, hosts: Hosts) -> Found | None:
    """The result at `path`; None where it is none, or nobody knows for certain whose."""
    task, replica, number = path.name.split(".")
    attempt = AttemptId(TaskId(task), int(replica), int(number))
    try:
        header = resultfile.read_head(path)
        here = hosts.get(str(header.get("host", "")))
        if here is None or not _is_of(header, attempt):
            return None
        size, digest = _verified(path, header)
    except BadResultFile:
        return None
    files = path.with_name(f"{path.name}.files").is_dir()
    return Found(attempt, *here, size, digest, files)


def _is_of(header: Mapping[str, Any], attempt: AttemptId) -> bool:
    return (
        header.get("outcome") == "success"
        and header.get("task") == attempt.task
        and header.get("attempt") == attempt.attempt
    )


def _verified(path: os.PathLike[str], header: Mapping[str, Any]) -> tuple[int, str]:
    """Length and digest of the body, read piece by piece; BadResultFile unless it is whole."""
    left = header.get("bytes", 0)
    with open(path, "rb") as file:
        head = file.readline() + file.readline()
        body, value = hashlib.sha256(head), hashlib.sha256()
        length = len(head)
        is_number = type(left) is int and left >= 0
        while is_number and left and (piece := file.read(min(left, _PIECE))):
            body.update(piece)
            value.update(piece)
            length, left = length + len(piece), left - len(piece)
    whole = is_number and not left and head.startswith(MAGIC)
    if not whole or (header.get("bytes") and value.hexdigest() != header.get("sha256")):
        raise BadResultFile(f"{os.fspath(path)} is not whole")
    return length, body.hexdigest()
