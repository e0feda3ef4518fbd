"""Writes events as the story of a task tells them: one JSON list for each task and tick.

What the task's record keeps anyway (times and use of an attempt, its digest) is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from spoolmw.model.events import (
    Advanced,
    Assigned,
    Brought,
    Cancelled,
    Checkpointed,
    ComparedLate,
    Delivered,
    Event,
    Held,
    Lost,
    NameTaken,
    PredecessorsEnded,
    Released,
    Reported,
    Reprioritised,
    Resolved,
    Resumed,
    Retried,
    Started,
    Submitted,
    TwinEnded,
)
from spoolmw.model.task import Task
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
    Placed,
)

Told = Started | Resumed | Checkpointed | Reported | Lost | DeadlinePassed


def facts_text(events: Sequence[Event], after: Task) -> str:
    """The events that made `after`, as a JSON list of objects with a `fact` each."""
    if len(events) == 1:
        event = events[0]
        return f"[{WRITERS[type(event)](event, after)}]"
    return f"[{','.join([WRITERS[type(event)](event, after) for event in events])}]"


def _submitted(event: Submitted, after: Task) -> str:
    task = event.task
    text = '{"fact":"submitted"'
    if task.tally is not None:
        text += f',"elements":{task.tally.total}'
    if task.twin_of is not None:
        text += f',"twin":"{task.twin_of}"'
    if task.spec.after:
        text += f',"after":{json.dumps(task.spec.after)}'
    return text + "}"


def _assigned(event: Assigned, after: Task) -> str:
    return f'{{"fact":"assigned","agent":{quoted(event.agent)},"attempt":{after.attempt}}}'


def _which(event: Told, after: Task) -> str:
    """The attempt, of a task with redundancy with its replica."""
    if after.ballot is None:
        return f'"attempt":{event.attempt.attempt}'
    return f'"attempt":{event.attempt.attempt},"replica":{event.attempt.replica}'


def _started(event: Started, after: Task) -> str:
    return (
        f'{{"fact":"started",{_which(event, after)},"host":{quoted(event.host)},'
        f'"slot":{quoted(event.slot)},"at":{event.started_at!r}}}'
    )


def _resumed(event: Resumed, after: Task) -> str:
    text = f'{{"fact":"resumed",{_which(event, after)}'
    if event.saved is not None:
        text += f',"from":"{event.saved.attempt}-{event.saved.sequence}"'
        text += f',"bytes":{event.saved.size_bytes},"saved_at":{event.saved.saved_at!r}'
    if event.message:
        text += f',"message":{quoted(event.message)}'
    return text + "}"


def _checkpointed(event: Checkpointed, after: Task) -> str:
    return (
        f'{{"fact":"checkpointed",{_which(event, after)},'
        f'"sequence":{event.sequence},"bytes":{event.size_bytes},"at":{event.saved_at!r}}}'
    )


def _reported(event: Reported, after: Task) -> str:
    text = (
        f'{{"fact":"reported",{_which(event, after)},'
        f'"outcome":"{event.outcome._value_}","cause":"{event.cause._value_}"'
    )
    if event.message:
        text += f',"blame":"{event.blame._value_}","message":{quoted(event.message)}'
    return text + "}"


def _lost(event: Lost, after: Task) -> str:
    return (
        f'{{"fact":"lost",{_which(event, after)},"cause":"{event.cause._value_}",'
        f'"blame":"{event.blame._value_}","message":{quoted(event.message)},'
        f'"host":{quoted(event.host)}}}'
    )


def _twin_ended(event: TwinEnded, after: Task) -> str:
    copied = "true" if event.copied else "false"
    state = event.first.state._value_
    return (
        f'{{"fact":"twin_ended","first":"{event.first.id}","as":"{state}","copied":{copied}}}'
    )


def _resolved(event: Resolved, after: Task) -> str:
    return f'{{"fact":"resolved","predecessors":{json.dumps(event.predecessors)}}}'


def _predecessors_ended(event: PredecessorsEnded, after: Task) -> str:
    return f'{{"fact":"predecessors_ended","failed":{quoted(event.failed)}}}'


def _by(fact: str) -> Callable[[Any, Task], str]:
    def write(event: Cancelled | Held | Released | GivenUp, after: Task) -> str:
        return f'{{"fact":"{fact}","by":{quoted(event.by)}}}'

    return write


def _reprioritised(event: Reprioritised, after: Task) -> str:
    return f'{{"fact":"reprioritised","priority":{event.priority},"by":{quoted(event.by)}}}'


def _retried(event: Retried, after: Task) -> str:
    name, more = quoted(event.result_name), ',"fresh":true' if event.fresh else ""
    if after.tally is not None:
        more += f',"elements":{quoted(event.elements)}'
    return f'{{"fact":"retried","result_name":{name},"by":{quoted(event.by)}{more}}}'


def _brought(event: Brought, after: Task) -> str:
    saved = event.saved
    return (
        f'{{"fact":"brought","checkpoint":"{saved.attempt}-{saved.sequence}",'
        f'"bytes":{saved.size_bytes},"saved_at":{saved.saved_at!r},"by":{quoted(event.by)}}}'
    )


def _advanced(event: Advanced, after: Task) -> str:
    return f'{{"fact":"advanced","broken":{quoted(event.broken)}}}'


def _name_taken(event: NameTaken, after: Task) -> str:
    return f'{{"fact":"name_taken","result_name":{quoted(event.result_name)}}}'


def _delivered(event: Delivered, after: Task) -> str:
    return '{"fact":"delivered"}'


def _placed(event: Placed, after: Task) -> str:
    attempt = after.ballot.replicas[event.replica].attempt if after.ballot else 0
    host = event.spot.host or event.spot.machine
    return (
        f'{{"fact":"placed","replica":{event.replica},"attempt":{attempt},'
        f'"agent":{quoted(event.agent)},"host":{quoted(host)}}}'
    )


def _deadline_passed(event: DeadlinePassed, after: Task) -> str:
    return f'{{"fact":"deadline_passed",{_which(event, after)}}}'


def _judged(event: Judged, after: Task) -> str:
    found = {"fact": "judged", "round": event.round}
    classes = [each.members for each in event.classes]
    return json.dumps(found | {"classes": classes, "unfit": event.unfit}, separators=(",", ":"))


def _judging_failed(event: JudgingFailed, after: Task) -> str:
    again = "true" if event.transient else "false"
    return (
        f'{{"fact":"judging_failed","round":{event.round},'
        f'"message":{quoted(event.message)},"again":{again}}}'
    )


def _accepted(event: Accepted, after: Task) -> str:
    return f'{{"fact":"accepted","replica":{event.replica},"by":{quoted(event.by)}}}'


def _granted(event: Granted, after: Task) -> str:
    return f'{{"fact":"granted","replicas":{event.replicas},"by":{quoted(event.by)}}}'


def _compared_late(event: ComparedLate, after: Task) -> str:
    which = _which(event.report, after)
    return f'{{"fact":"compared_late",{which},"verdict":"{event.verdict._value_}"}}'


#: How each kind of event is written.
WRITERS: dict[type[Any], Callable[[Any, Task], str]] = {
    Submitted: _submitted,
    Assigned: _assigned,
    Started: _started,
    Resumed: _resumed,
    Checkpointed: _checkpointed,
    Reported: _reported,
    Lost: _lost,
    TwinEnded: _twin_ended,
    Resolved: _resolved,
    PredecessorsEnded: _predecessors_ended,
    Cancelled: _by("cancelled"),
    Held: _by("held"),
    Released: _by("released"),
    Reprioritised: _reprioritised,
    Retried: _retried,
    Brought: _brought,
    Advanced: _advanced,
    NameTaken: _name_taken,
    Delivered: _delivered,
    Placed: _placed,
    DeadlinePassed: _deadline_passed,
    Judged: _judged,
    JudgingFailed: _judging_failed,
    Accepted: _accepted,
    Granted: _granted,
    GivenUp: _by("given_up"),
    ComparedLate: _compared_late,
}
