"""What the report of a client means that a result did not end well: as the ledger is told. No I/O.

The client's exit codes: lib/error_numbers.h and lib/common_defs.h of BOINC.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from spoolmw.agents.boinclink.request import Report
from spoolmw.runner import results

#: What a client calls the state of a result.
STATE_DOWNLOADING, STATE_COMPUTE_ERROR, STATE_OK, STATE_ABORTED = 1, 3, 5, 6
#: Why a client ended what was fine; nobody's fault.
_NOBODYS = {
    200: "it had not begun at its deadline",
    202: "the project did not want it any more",
}
_ABORTS = {
    **_NOBODYS,
    201: "the client ended it",
    203: "its user aborted it",
}
_LIMITS = {
    196: "it used more disk than it may",
    197: "it took longer than it may",
    198: "it used more memory than it may",
}
_LAUNCH = {
    -119: "a file did not arrive as it was sent",
    -120: "the signature of a file is wrong",
    -186: "a file could not be fetched",
    -185: "the result could not be started",
    -226: "it was started too often",
}
_TAIL = 600  #: characters of what it printed


class Misfortune(NamedTuple):
    """A result without a parcel."""

    cause: str
    message: str
    counts: bool  #: the program ran and brought it about
    is_hosts: bool  #: the host shall get less

    def told(self) -> str:
        return json.dumps({"cause": self.cause, "message": self.message, "counts": self.counts})


def is_good(report: Report) -> bool:
    """Whether the client says that all went well: there should be a parcel."""
    return report.state == STATE_OK and report.exit_status == 0


def misfortune(report: Report) -> Misfortune:
    """What went wrong."""
    code = report.exit_status
    if report.state == STATE_ABORTED or code in _ABORTS:
        why = _ABORTS.get(code, "its client aborted it")
        is_hosts = code not in _NOBODYS
        return Misfortune("vanished", _text(why, report), counts=False, is_hosts=is_hosts)
    if code in _LIMITS:
        return Misfortune("vanished", _text(_LIMITS[code], report), counts=True, is_hosts=True)
    ran = report.state not in (0, STATE_DOWNLOADING, 2) and report.elapsed_s > 0
    if code in _LAUNCH or not ran:
        why = _LAUNCH.get(code, f"it could not be started (code {code})")
        return Misfortune("launch", _text(why, report), counts=False, is_hosts=True)
    why = f"the program ended with code {code}"
    return Misfortune("vanished", _text(why, report), counts=True, is_hosts=True)


def lost(token: str, started: float, now: float, what: dict[str, Any]) -> dict[str, Any]:
    """An end without a result, as the ledger knows it."""
    return {
        "token": token,
        "started": started,
        "ended": max(started, now),
        "cpu_s": 0.0,
        "memory_bytes": 0,
        "outcome": "lost",
        "cause": what["cause"],
        "blame": what.get("blame", "host"),
        "message": results.one_line(what["message"]),
        "counts": bool(what.get("counts", False)),
        "slot": "",
    }


def _text(why: str, report: Report) -> str:
    tail = " ".join(report.stderr.split())[-_TAIL:]
    return f"the BOINC client says: {why}{': ' if tail else ''}{tail}"
