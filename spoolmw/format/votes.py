"""Tells the vote on a task: who returned what, which results equal each other, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolmw.model.redundancy import Validator
from spoolmw.model.replica import Ballot, Replica


def votes_record(ballot: Ballot) -> dict[str, Any]:
    """A vote as a record with stable keys; in `replicas` one record for each."""
    wish, classes = ballot.wish, class_letters(ballot)
    return {
        "phase": ballot.phase.value,
        "quorum": wish.quorum,
        "target": wish.target,
        "limit": wish.limit + ballot.extra,
        "max_errors": wish.max_errors + ballot.extra,
        "validator": validator_text(wish.validator),
        "distinct": wish.distinct,
        "adaptive": wish.adaptive,
        "alone": ballot.alone,
        "platform": ballot.platform,
        "round": ballot.round,
        "judging": list(ballot.asked),
        "judge_failures": ballot.judge_failures,
        "canonical": ballot.canonical,
        "message": ballot.message,
        "fault": ballot.fault,
        "replicas": [replica_record(each, classes) for each in ballot.replicas],
    }


def replica_record(replica: Replica, classes: Mapping[int, str]) -> dict[str, Any]:
    """One replica; `class` is the letter of those whose results equal its own, "" if not compared."""
    spot, last = replica.spot, replica.history[-1] if replica.history else None
    agent = replica.lease.agent if replica.lease else last.agent if last else ""
    return {
        "replica": replica.number,
        "state": replica.state.value,
        "verdict": replica.verdict.value,
        "class": classes.get(replica.number, ""),
        "agent": agent,
        "host": spot.host if spot else "",
        "machine": spot.machine if spot else "",
        "owner": spot.owner if spot else "",
        "platform": spot.platform if spot else "",
        "attempt": replica.attempt,
        "failures": replica.failures,
        "losses": replica.losses,
        "overdue": replica.overdue,
        "staged": str(replica.staged) if replica.staged else None,
        "digest": replica.digest,
        "message": replica.message,
    }


def class_letters(ballot: Ballot) -> dict[int, str]:
    """The class of each result that was compared: A, B and so on, as messages name them."""
    return {
        member: chr(ord("A") + number) if number < 26 else str(number + 1)
        for number, each in enumerate(ballot.classes)
        for member in each.members
    }


def validator_text(validator: Validator) -> str:
    """A validator as a header has it."""
    if validator.kind == "close":
        return f"close:rtol={validator.rtol!r},atol={validator.atol!r}"
    if validator.kind == "command":
        return f"command:{' '.join(validator.command)}"
    return validator.kind
