"""The one true reason that a task waits, also with the daemon down or before it is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spoolmw.ctl.drops import Dropped, find_dropped
from spoolmw.ctl.picks import unknown
from spoolmw.ctl.session import Session
from spoolmw.ctl.words import FINAL_STATES, clock
from spoolmw.errors import NotServed


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one task is where it is, in one line."""

    id: str
    name: str
    state: str
    text: str

    def record(self) -> dict[str, str]:
        """As `--json` prints it."""
        record = asdict(self)
        record["reason"] = record.pop("text")
        return record


def reason_for(session: Session, task_id: str) -> Reason:
    """Why this task is where it is; the running daemon knows best what it waits for."""
    with session.reports() as reports:
        task = reports.task(task_id)
    if task is None:
        return _of_a_file(session, task_id)
    if task["state"] in FINAL_STATES:
        return _reason(task, _ended(task))
    try:
        answer = session.control().request("why", {"id": task_id})
    except NotServed:
        return _reason(task, _without_daemon(task))
    return Reason(task_id, task["name"], answer["state"], answer["reason"])


def _reason(task: Mapping[str, Any], text: str) -> Reason:
    return Reason(task["id"], task["name"], task["state"], text)


def _ended(task: Mapping[str, Any]) -> str:
    when = f" at {clock(task['ended_at'])}" if task.get("ended_at") else ""
    message = str(task.get("message") or "").split("\n", 1)[0]
    says = f": {message}" if message else "."
    return f"It does not wait: it ended as {task['state']}{when}{says}"


def _without_daemon(task: Mapping[str, Any]) -> str:
    held = " It is also held by the user." if task["state"] == "held" else ""
    return f"The daemon does not run; nothing happens until it is started.{held}"


def _of_a_file(session: Session, task_id: str) -> Reason:
    file = find_dropped(session.layout, task_id)
    if file is None:
        raise unknown(task_id)
    state = "rejected" if file.refused else "dropped"
    return Reason(task_id, file.name.removesuffix(".task"), state, _of_file(session, file))


def _of_file(session: Session, file: Dropped) -> str:
    if file.refused:
        return " ".join(file.reason.split("\n")).strip() or file.text
    if file.closed_to:
        return f"{file.text} {file.fix}"
    try:
        status = session.control().request("status", {})
    except NotServed:
        return "Its file lies in incoming/ and the daemon does not run."
    if not status["intake"]["open"]:
        return f"Its file lies in incoming/; the intake is closed: {status['intake']['reason']}"
    return "Its file lies in incoming/; the daemon takes files in turn and will come to it."
