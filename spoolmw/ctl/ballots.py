"""How the vote on a task reads in one line, and what can be done about one that came to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolmw.ctl.words import short

_WITH_RESULT = frozenset({"reported", "valid", "invalid"})
_NO_MORE = frozenset({"failed", "cancelled"})


def in_words(votes: Mapping[str, Any]) -> str:
    """`2 of 3 reported, quorum 2`, and what else there is to say."""
    states = [each["state"] for each in votes["replicas"]]
    reported = sum(state in _WITH_RESULT for state in states)
    failed = states.count("failed")
    wanted = sum(state not in _NO_MORE for state in states)
    parts = [
        f"{reported} of {wanted} reported",
        f"{failed} failed" if failed else "",
        f"quorum {votes['quorum']}",
        "alone on a host with a good record" if votes["alone"] else "",
    ]
    return ", ".join(part for part in parts if part)


def way_out(task: Mapping[str, Any]) -> str:
    """What somebody may do about a vote that was given up; empty where there is nothing to do."""
    votes = task.get("votes")
    if not votes or task["state"] != "failed" or votes["phase"] != "given up":
        return ""
    there = [str(each["replica"]) for each in votes["replicas"] if each["staged"]]
    accept = f"--accept {'|'.join(there)}, or " if there else ""
    return f"spoolmw-ctl adjudicate {short(task['id'])} {accept}--more N"
