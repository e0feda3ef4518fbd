"""Turns the vote on a task, its replicas and the records of hosts into rows of the journal and back.

What was asked for (the wish, the retries) stands in the task's header. A replica's attempts that
may yet report keep their tokens here: the process that proves to be one of them may run on
another machine and outlive the daemon.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from spoolmw.model.host import HostRecord
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Class, Phase, Replica, ReplicaState, Spot, Verdict
from spoolmw.model.spec import Spec
from spoolmw.model.task import Task
from spoolmw.store.sql import QUERIES
from spoolmw.store.texts import (
    history_of,
    history_text,
    lease_of,
    lease_text,
    saved_of,
    saved_text,
)

Row = tuple[Any, ...]

#: Fields of a ballot that stand elsewhere: in the header, or in rows of their own.
_ELSEWHERE: Final = frozenset({"task", "wish", "retry", "replicas"})
_FIELDS: Final = tuple(each.name for each in fields(Ballot) if each.name not in _ELSEWHERE)
_BLANK: Final = Ballot(task=TaskId(""), wish=Redundancy())


def ballot_text(ballot: Ballot) -> str:
    """How far a vote is, as a JSON object without what is as at its beginning."""
    tree: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(ballot, name)
        if value != getattr(_BLANK, name):
            tree[name] = value
    if "phase" in tree:
        tree["phase"] = ballot.phase.value
    if "classes" in tree:
        tree["classes"] = [[each.members, each.centre, each.near] for each in ballot.classes]
    return json.dumps(tree, separators=(",", ":"))


def ballot_of(text: str, task: TaskId, spec: Spec, replicas: Iterable[Sequence[Any]]) -> Ballot:
    """The vote that `ballot_text` wrote, with the rows of its replicas in their order."""
    tree = json.loads(text)
    tree["phase"] = Phase(tree.get("phase", Phase.OPEN.value))
    tree["asked"] = tuple(tree.get("asked", ()))
    tree["classes"] = tuple(
        Class(tuple(members), centre, tuple(near))
        for members, centre, near in tree.get("classes", ())
    )
    return Ballot(
        task=task,
        wish=spec.redundancy,
        retry=spec.retry,
        replicas=tuple(replica_of(row, task) for row in replicas),
        **tree,
    )


def put_vote(conn: sqlite3.Connection, before: Task | None, after: Task) -> None:
    """Write how far the vote on a task is, if it has one, and those replicas that changed.

    The vote of a new task stands in its row already.
    """
    old = before.ballot if before is not None else None
    new = after.ballot
    if new is None or new is old:
        return
    known = old.replicas if old is not None else ()
    if before is not None:
        conn.execute(QUERIES["update_ballot"], (ballot_text(new), after.seq))
    rows = [
        replica_row(after.seq, each)
        for each in new.replicas
        if each.number >= len(known) or known[each.number] is not each
    ]
    conn.executemany(QUERIES["put_replica"], rows)
    if len(known) > len(new.replicas):
        conn.execute(QUERIES["drop_replicas"], (after.seq, len(new.replicas)))


def replica_row(seq: int, replica: Replica) -> Row:
    """The parameters of `put_replica`."""
    spot = replica.spot
    return (
        seq, replica.number, replica.state._value_, replica.attempt, lease_text(replica.lease),
        None if spot is None else json.dumps(astuple(spot)), replica.until,
        int(replica.overdue), replica.failures, replica.losses, replica.not_before,
        None if replica.staged is None else replica.staged.attempt, replica.body_bytes,
        replica.digest, int(replica.files), replica.verdict._value_, quoted(replica.message),
        history_text(replica.history), replica.memory_bytes,
        saved_text(replica.saved), replica.since,
    )  # fmt: skip


def replica_of(row: Sequence[Any], task: TaskId) -> Replica:
    """The replica of a row of `SELECT * FROM replicas`."""
    (
        _, number, state, attempt, lease, spot, until, overdue, failures, losses, not_before,
        staged, body_bytes, digest, files, verdict, message, history, memory_bytes, saved, since,
    ) = row  # fmt: skip
    return Replica(
        task=task,
        number=number,
        state=ReplicaState(state),
        attempt=attempt,
        lease=lease_of(lease) if lease else None,
        spot=_spot_of(*json.loads(spot)) if spot else None,
        until=until,
        overdue=bool(overdue),
        failures=failures,
        losses=losses,
        not_before=not_before,
        staged=None if staged is None else AttemptId(task, number, staged),
        body_bytes=body_bytes,
        digest=digest,
        files=bool(files),
        verdict=Verdict(verdict),
        message=json.loads(message),
        history=history_of(history) if history else (),
        memory_bytes=memory_bytes,
        saved=saved_of(saved) if saved else None,
        since=since,
    )


def _spot_of(machine: str, owner: str, slot: str, platform: str, host: str) -> Spot:
    return Spot(machine=machine, owner=owner, slot=slot, platform=platform, host=host)


def host_row(record: HostRecord) -> Row:
    """The parameters of `put_host`."""
    return astuple(record)


def host_of(row: Sequence[Any]) -> HostRecord:
    """The record of a row of `SELECT * FROM hosts`."""
    names = (each.name for each in fields(HostRecord))
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    values["paused_by_hand"] = bool(values["paused_by_hand"])
    return HostRecord(**values)
