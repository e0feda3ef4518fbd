"""What HTCondor's reasons to hold a job mean for its attempt: cause, blame, and what to do.

Codes are those of HTCondor's manual ("Job ClassAd attributes", HoldReasonCode). No hold keeps a
task: its job is removed, and the attempt ends as the table says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

SPOOLING = 16  #: its input files are on their way to the schedd: nothing is wrong with it
_USER = 1
_RESOURCES = 34
_POLICIES = (3, 21, 26)  #: whoever wrote these says in words what was too much
_DURATIONS = (46, 47)
_MOST_TEXT = 300  #: characters of HTCondor's own words


class Held(NamedTuple):
    """How an attempt ends whose job was held."""

    cause: str
    blame: str  #: "task": it ends as an error, and [retry] decides; else it is lost
    message: str

    @property
    def is_the_tasks(self) -> bool:
        return self.blame == "task"


class _Meaning(NamedTuple):
    cause: str
    blame: str
    what: str
    fix: str


_HOST_FILES = "look at the files and the disk of the execute host named in the reason"
_SPOOL_FILES = "look whether the schedd's user may read and write the spool, and at its disk"
_POLICY = "ask the pool's administrators, or change [agents.NAME.submit]"
_CONDOR = "see the log of the schedd's shadow (ShadowLog)"

_TABLE: Mapping[int, _Meaning] = {
    _USER: _Meaning("held", "agent", "somebody held it", "ask who said condor_hold"),
    3: _Meaning("held", "agent", "its submit description's policy held it", _POLICY),
    4: _Meaning("held", "agent", "its credentials are not valid", "renew the credentials"),
    5: _Meaning("held", "agent", "its submit description's policy is undefined", _POLICY),
    6: _Meaning("launch", "host", "the execute host could not start it", _HOST_FILES),
    7: _Meaning("launch", "agent", "its standard output could not be opened", _SPOOL_FILES),
    8: _Meaning("launch", "agent", "its standard input could not be opened", _SPOOL_FILES),
    9: _Meaning("launch", "agent", "its standard output could not be opened", _SPOOL_FILES),
    10: _Meaning("launch", "agent", "its standard input could not be opened", _SPOOL_FILES),
    11: _Meaning("connection", "agent", "its files could not be carried", _CONDOR),
    12: _Meaning("connection", "host", "what it made could not be carried back", _HOST_FILES),
    13: _Meaning("launch", "agent", "its files could not be carried there", _SPOOL_FILES),
    14: _Meaning("launch", "agent", "its folder in the spool cannot be used", _SPOOL_FILES),
    15: _Meaning(
        "held", "agent", "it was submitted on hold", "take hold out of [agents.NAME.submit]"
    ),
    17: _Meaning("launch", "agent", "the schedd has no shadow for it", _CONDOR),
    18: _Meaning("connection", "agent", "its files could not be carried", _CONDOR),
    19: _Meaning("launch", "host", "a hook on the execute host refused it", _POLICY),
    20: _Meaning("held", "agent", "it missed its deferred time", _POLICY),
    21: _Meaning("held", "agent", "the execute host's policy held it", _POLICY),
    22: _Meaning("launch", "agent", "the event log cannot be written", _SPOOL_FILES),
    23: _Meaning("launch", "agent", "the schedd could not act as its owner", _POLICY),
    24: _Meaning("launch", "agent", "the schedd has no shadow for it", _CONDOR),
    25: _Meaning("held", "agent", "its cron lines are not valid", _POLICY),
    26: _Meaning("held", "agent", "the pool's policy held it (SYSTEM_PERIODIC_HOLD)", _POLICY),
    27: _Meaning("held", "agent", "the pool's policy is undefined for it", _POLICY),
    32: _Meaning(
        *("gone", "task", "its input files are more than the pool carries"),
        "make [files] inputs smaller, or let it run elsewhere with [place] agents",
    ),
    33: _Meaning(
        *("output", "task", "what it made is more than the pool carries"),
        "make less output, or let it run elsewhere with [place] agents",
    ),
    _RESOURCES: _Meaning("held", "agent", "it used more than its slot has", _POLICY),
    35: _Meaning("launch", "agent", "its container image is not valid", _POLICY),
    36: _Meaning("connection", "host", "it did not save its progress when it was asked to", ""),
    43: _Meaning("launch", "agent", "its pre script failed", _POLICY),
    44: _Meaning("held", "agent", "its post script failed", _POLICY),
    45: _Meaning("launch", "host", "the execute host's containers do not work", _POLICY),
    46: _Meaning("timeout", "agent", "the pool's time for it was over", _POLICY),
    47: _Meaning("timeout", "agent", "the pool's time for it was over", _POLICY),
    48: _Meaning("held", "agent", "a hook of the schedd held it", _POLICY),
    **dict.fromkeys(
        range(37, 43),
        _Meaning("launch", "agent", "its grid or cloud service refused it", _POLICY),
    ),
}
_UNKNOWN = _Meaning("held", "agent", "HTCondor held it", _POLICY)

#: By the word that HTCondor has for a resource, and the subcode of its own policies: what too much
#: of it means.
_TOO_MUCH: Mapping[str, tuple[int, _Meaning]] = {
    "cpu": (
        101,
        _Meaning(
            *("held", "task", "it used more cores than it had asked for"),
            "ask for more with [resources] cpus",
        ),
    ),
    "memory": (
        102,
        _Meaning(
            *("memory", "task", "it needed more memory than it had asked for"),
            "ask for more with [resources] memory, or [retry] memory",
        ),
    ),
    "disk": (
        104,
        _Meaning(
            *("output", "agent", "it needed more disk than its job had asked for"),
            "raise request_disk of the agent",
        ),
    ),
}


def meaning(code: int, subcode: int, reason: str, *, time_s: float = 0.0) -> Held:
    """What a hold means; `time_s` is the task's own limit, 0 for none."""
    means = _TABLE.get(code, _UNKNOWN)
    if code == _RESOURCES or code in _POLICIES:
        means = _of_resource(code, subcode, reason.lower()) or means
    if code in _DURATIONS and time_s:
        means = _Meaning(
            *("timeout", "task", f"it ran longer than its limit of {time_s:g} s"),
            "raise [limits] time",
        )
    text = " ".join(reason.split())[:_MOST_TEXT]
    words = [f"the pool held its job: {means.what}"]
    if text:
        words.append(f"HTCondor says ({code}/{subcode}): {text}")
    if means.fix:
        words.append(means.fix)
    return Held(means.cause, means.blame, "; ".join(words))


def _of_resource(code: int, subcode: int, said: str) -> _Meaning | None:
    """Older versions give no subcode; their words name the resource. A policy may have any
    subcode, so its words must name it too."""
    known = {number for number, _ in _TOO_MUCH.values()}
    for word, (number, means) in _TOO_MUCH.items():
        if code in _POLICIES:
            is_meant = word in said and (subcode == number or "exceed" in said)
        else:
            is_meant = subcode == number or (subcode not in known and word in said)
        if is_meant:
            return means
    return None


def is_held_for_nothing(code: int) -> bool:
    """Whether such a hold is a step on a job's way, and goes by itself."""
    return code == SPOOLING
