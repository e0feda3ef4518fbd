"""Tells the facts of the journal in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fact = Mapping[str, Any]


def told(
    fact: Fact, wall: float, state: str, attempts: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """One fact as a record: `at`, `event`, `text`, the state after its tick, and its own keys.

    `attempts` are the task's ended attempts by number; what they tell is not repeated in facts.
    """
    name = str(fact["fact"])
    own = {key: value for key, value in fact.items() if key not in ("fact", "at")}
    ran = attempts.get(own.get("attempt", 0), {})
    at = float(fact.get("at") or wall)
    tell = TELLERS.get(name)
    text = tell(own, ran) if tell is not None else ""
    return {"at": at, "event": name, "text": text, "state": state, **own}


def _submitted(fact: Fact, ran: Fact) -> str:
    array = f"an array of {fact['elements']} elements" if fact.get("elements") else ""
    twin = f"waits for task {fact['twin']}, which has its key" if fact.get("twin") else ""
    after = f"runs after {', '.join(fact['after'])}" if fact.get("after") else ""
    return "; ".join(part for part in (array, twin, after) if part)


def _assigned(fact: Fact, ran: Fact) -> str:
    return f"attempt {fact['attempt']} to {fact['agent']}"


def _started(fact: Fact, ran: Fact) -> str:
    place = ", ".join(str(part) for part in (fact.get("host"), fact.get("slot")) if part)
    return f"attempt {fact['attempt']} runs{f' on {place}' if place else ''}"


def _resumed(fact: Fact, ran: Fact) -> str:
    says = f" ({fact['message']})" if fact.get("message") else ""
    if "from" not in fact:
        return f"attempt {fact['attempt']} began anew{says}"
    return f"attempt {fact['attempt']} went on from checkpoint {fact['from']}{says}"


def _checkpointed(fact: Fact, ran: Fact) -> str:
    size = f"{fact['bytes'] / 1e6:.3g} MB"
    return f"attempt {fact['attempt']} saved checkpoint {fact['sequence']}, {size}"


def _reported(fact: Fact, ran: Fact) -> str:
    took = ""
    if ran.get("started_at") and ran.get("ended_at"):
        took = f" after {ran['ended_at'] - ran['started_at']:.3g} s"
    host = f" on {ran['host']}" if ran.get("host") else ""
    says = f": {fact['message']}" if fact.get("message") else ""
    how = "succeeded" if fact["outcome"] == "success" else f"failed ({fact['cause']})"
    return f"attempt {fact['attempt']} {how}{took}{host}{says}"


def _lost(fact: Fact, ran: Fact) -> str:
    says = f": {fact['message']}" if fact.get("message") else ""
    host = f" on {fact['host']}" if fact.get("host") else ""
    return f"attempt {fact['attempt']} was lost ({fact['cause']}){host}{says}"


def _twin_ended(fact: Fact, ran: Fact) -> str:
    gets = "its result was copied" if fact["copied"] else "there is no result to copy"
    return f"task {fact['first']} ended as {fact['as']}; {gets}"


def _resolved(fact: Fact, ran: Fact) -> str:
    known = [each for each in fact["predecessors"] if each]
    return f"it is known whom it waits for: {', '.join(known)}"


def _predecessors_ended(fact: Fact, ran: Fact) -> str:
    return str(fact["failed"]) or "all that it waited for succeeded"


def _by(fact: Fact, ran: Fact) -> str:
    return f"by {fact['by']}" if fact.get("by") else ""


def _reprioritised(fact: Fact, ran: Fact) -> str:
    return f"priority {fact['priority']} {_by(fact, ran)}".rstrip()


def _advanced(fact: Fact, ran: Fact) -> str:
    return str(fact.get("broken", ""))


def _renamed(fact: Fact, ran: Fact) -> str:
    return f"its result will be {fact['result_name']}.result {_by(fact, ran)}".rstrip()


def _retried(fact: Fact, ran: Fact) -> str:
    which = {
        "all": "all that did not succeed",
        "failed": "the failed ones",
        "none": "one by name",
    }
    elements = which.get(str(fact.get("elements", "")), "")
    told = f"{_renamed(fact, ran)}{f', elements: {elements}' if elements else ''}"
    return f"{'from the start; ' if fact.get('fresh') else ''}{told}"


def _brought(fact: Fact, ran: Fact) -> str:
    return f"checkpoint {fact['checkpoint']} {_by(fact, ran)}".rstrip()


#: How each fact is told.
TELLERS: dict[str, Callable[[Fact, Fact], str]] = {
    "submitted": _submitted,
    "assigned": _assigned,
    "started": _started,
    "resumed": _resumed,
    "checkpointed": _checkpointed,
    "reported": _reported,
    "lost": _lost,
    "twin_ended": _twin_ended,
    "resolved": _resolved,
    "predecessors_ended": _predecessors_ended,
    "cancelled": _by,
    "held": _by,
    "released": _by,
    "reprioritised": _reprioritised,
    "retried": _retried,
    "brought": _brought,
    "advanced": _advanced,
    "name_taken": _renamed,
}
