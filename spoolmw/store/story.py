"""Tells the facts of the journal in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fact = Mapping[str, Any]


def told(
    fact: Fact, wall: float, state: str, attempts: Mapping[tuple[int, int], Mapping[str, Any]]
) -> dict[str, Any]:
    """One fact as a record: `at`, `event`, `text`, the state after its tick, and its own keys.

    `attempts` are the task's ended attempts by replica and number; what they tell is not
    repeated in facts.
    """
    name = str(fact["fact"])
    own = {key: value for key, value in fact.items() if key not in ("fact", "at")}
    ran = attempts.get((own.get("replica", 0), own.get("attempt", 0)), {})
    at = float(fact.get("at") or wall)
    tell = TELLERS.get(name)
    text = tell(own, ran) if tell is not None else ""
    return {"at": at, "event": name, "text": text, "state": state, **own}


def _submitted(fact: Fact, ran: Fact) -> str:
    array = f"an array of {fact['elements']} elements" if fact.get("elements") else ""
    twin = f"waits for task {fact['twin']}, which has its key" if fact.get("twin") else ""
    after = f"runs after {', '.join(fact['after'])}" if fact.get("after") else ""
    return "; ".join(part for part in (array, twin, after) if part)


def _attempt(fact: Fact) -> str:
    """Which attempt, of a task with redundancy also whose."""
    of = f"replica {fact['replica']}, " if "replica" in fact else ""
    return f"{of}attempt {fact['attempt']}"


def _assigned(fact: Fact, ran: Fact) -> str:
    return f"attempt {fact['attempt']} to {fact['agent']}"


def _started(fact: Fact, ran: Fact) -> str:
    place = ", ".join(str(part) for part in (fact.get("host"), fact.get("slot")) if part)
    return f"{_attempt(fact)} runs{f' on {place}' if place else ''}"


def _resumed(fact: Fact, ran: Fact) -> str:
    says = f" ({fact['message']})" if fact.get("message") else ""
    if "from" not in fact:
        return f"{_attempt(fact)} began anew{says}"
    return f"{_attempt(fact)} went on from checkpoint {fact['from']}{says}"


def _checkpointed(fact: Fact, ran: Fact) -> str:
    size = f"{fact['bytes'] / 1e6:.3g} MB"
    return f"{_attempt(fact)} saved checkpoint {fact['sequence']}, {size}"


def _reported(fact: Fact, ran: Fact) -> str:
    took = ""
    if ran.get("started_at") and ran.get("ended_at"):
        took = f" after {ran['ended_at'] - ran['started_at']:.3g} s"
    host = f" on {ran['host']}" if ran.get("host") else ""
    says = f": {fact['message']}" if fact.get("message") else ""
    how = "succeeded" if fact["outcome"] == "success" else f"failed ({fact['cause']})"
    return f"{_attempt(fact)} {how}{took}{host}{says}"


def _lost(fact: Fact, ran: Fact) -> str:
    says = f": {fact['message']}" if fact.get("message") else ""
    host = f" on {fact['host']}" if fact.get("host") else ""
    return f"{_attempt(fact)} was lost ({fact['cause']}){host}{says}"


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


def _placed(fact: Fact, ran: Fact) -> str:
    on = f" on {fact['host']}" if fact.get("host") else ""
    return f"{_attempt(fact)} to {fact['agent']}{on}"


def _deadline_passed(fact: Fact, ran: Fact) -> str:
    return f"{_attempt(fact)} has not reported in time"


def _compared_late(fact: Fact, ran: Fact) -> str:
    return f"{_attempt(fact)} reported after the delivery: {fact['verdict']}"


def _judged(fact: Fact, ran: Fact) -> str:
    classes = [f"replicas {_listed(each)} agree" for each in fact["classes"] if len(each) > 1]
    classes += [f"replica {each[0]} stands alone" for each in fact["classes"] if len(each) == 1]
    classes += [f"replica {number} returned no result: {why}" for number, why in fact["unfit"]]
    return "; ".join(classes)


def _listed(numbers: list[int]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def _judging_failed(fact: Fact, ran: Fact) -> str:
    again = "; it may be tried again" if fact["again"] else ""
    return f"the comparison came to nothing: {fact['message']}{again}"


def _accepted(fact: Fact, ran: Fact) -> str:
    return f"the result of replica {fact['replica']} {_by(fact, ran)}".rstrip()


def _granted(fact: Fact, ran: Fact) -> str:
    return f"{fact['replicas']} replicas more {_by(fact, ran)}".rstrip()


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
    "placed": _placed,
    "deadline_passed": _deadline_passed,
    "compared_late": _compared_late,
    "judged": _judged,
    "judging_failed": _judging_failed,
    "accepted": _accepted,
    "granted": _granted,
    "given_up": _by,
}
