"""The schedd, asked and told: the only calls of HTCondor's package that go over the network.

Each may block for its own time-out of some 20 s, and holds the interpreter meanwhile: nothing
else runs in this process then. Whoever started it kills it when that takes too long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import classad2
import htcondor2

from spoolmw.agents.condorlink import describe
from spoolmw.agents.condorlink.eventnews import JobId, place
from spoolmw.agents.condorlink.holds import SPOOLING
from spoolmw.agents.condorlink.reconcile import Seen, Status

_MOST_AT_ONCE = 500  #: jobs in one order to the schedd
_MOVING = ("TransferringInput", "TransferringOutput")
_WANTED = [
    *(
        "ClusterId",
        "ProcId",
        "JobStatus",
        "RemoteHost",
        "LastRemoteHost",
        "JobCurrentStartDate",
        "UserLog",
    ),
    *("CurrentHosts", "CheckpointNumber", "NumShadowStarts"),
    *("StatsLifetimeStarter", *_MOVING),
    *("HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RemoveReason"),
    *(describe.ATTEMPT, describe.TOKEN),
]
_KEEPS_NONE = "undefined in remote configuration"  #: a schedd says so that keeps no history
#: What HTCondor's package raises.
_ERRORS = (
    *(htcondor2.HTCondorException, classad2.ClassAdException),
    *(OSError, ValueError, KeyError, RuntimeError, TypeError),
)


class Met(NamedTuple):
    """What a schedd said when it was asked who we are."""

    name: str
    version: str
    user: str  #: whom it takes us for
    method: str  #: by which it was found out
    is_welcome: bool  #: we may submit


class ScheddTrouble(Exception):
    """The schedd does not answer, or refuses; the text says what it was about and why."""


class Schedd:
    """One schedd, and of its jobs those of one spool and agent."""

    def __init__(self, name: str, collector: str, spool_id: str) -> None:
        self._name = name
        self._collector = collector
        self._ours = describe.ours(spool_id)
        self._schedd: Any = None
        self._found: Any = None  #: its own ad

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"schedd {self._name}" if self._name else "the schedd of this machine"

    def connect(self) -> None:
        """Find out where it is. Raises ScheddTrouble."""

        def find() -> Any:
            pool = self._pool()
            kind = htcondor2.DaemonType.Schedd
            found = pool.locate(kind, self._name) if self._name else pool.locate(kind)
            self._found = found
            return htcondor2.Schedd(found)

        self._schedd = self._try("cannot be found", find)

    def folder(self) -> str:
        """Where it keeps jobs' files, its SPOOL; empty when it does not say."""
        with contextlib.suppress(*_ERRORS):
            return str(htcondor2.RemoteParam(self._found)["SPOOL"])
        return ""

    def meet(self) -> Met:
        """Ask it whom it takes us for. Raises ScheddTrouble."""
        said = self._try("does not answer", lambda: htcondor2.ping(self._found, "WRITE"))
        version = str(self._found.get("CondorVersion", "")).split()
        return Met(
            str(self._found.get("Name", "")),
            version[1] if len(version) > 1 else "",
            str(said.get("MyRemoteUserName", "")),
            str(said.get("AuthMethods", "")),
            said.get("AuthorizationSucceeded") is True,
        )

    def submit(self, group: describe.Group, *, spool: bool) -> list[JobId]:
        """Put these jobs into its queue, all or none; their ids, in order. Raises ScheddTrouble."""

        def send() -> list[JobId]:
            told = htcondor2.Submit(dict(group.lines))
            done = self._schedd.submit(told, itemdata=iter(group.items), spool=spool)
            if spool:
                self._schedd.spool(done)
            first = done.first_proc()
            return [(done.cluster(), first + number) for number in range(done.num_procs())]

        sent: list[JobId] = self._try("takes no jobs", send)
        return sent

    def jobs(self) -> list[Seen]:
        """All of ours in its queue. Raises ScheddTrouble."""
        ads = self._try("does not answer", lambda: self._schedd.query(self._ours, _WANTED))
        return [each for each in map(_seen, ads) if each is not None]

    def slots(self, constraint: str) -> int:
        """How many slots of the pool are like that. Raises ScheddTrouble."""

        def ask() -> int:
            collector = self._pool()
            found = collector.query(htcondor2.AdType.Startd, constraint, ["Machine"])
            return len(found)

        count: int = self._try("has a collector that does not answer", ask)
        return count

    def _pool(self) -> Any:
        return (
            htcondor2.Collector(self._collector) if self._collector else htcondor2.Collector()
        )

    def ads(self, names: Sequence[str]) -> list[Any]:
        """These attributes of all of ours in its queue. Raises ScheddTrouble."""
        return list(
            self._try("does not answer", lambda: self._schedd.query(self._ours, list(names)))
        )

    def history(self, attempts: Sequence[str]) -> list[Seen]:
        """Of jobs that left the queue what is known: nothing, where its administrator has it keep
        no history. Raises ScheddTrouble."""
        found: list[Seen] = []
        for part in _parts(attempts):
            names = ",".join(part)
            wanted = f"{self._ours} && stringListMember({describe.ATTEMPT}, {describe.quoted(names)})"
            ask = self._asking(wanted, len(part))
            try:
                ads = self._try("tells no history", ask)
            except ScheddTrouble as trouble:
                if _KEEPS_NONE in str(trouble):
                    return []
                raise
            found += [each for each in map(_seen, ads) if each]
        return found

    def _asking(self, wanted: str, count: int) -> Callable[[], Any]:
        return lambda: self._schedd.history(wanted, _WANTED, match=count)

    def remove(self, jobs: Sequence[JobId], why: str) -> bool:
        """Take jobs out of its queue; whether all were there. Raises ScheddTrouble."""
        are_there = True
        for part in _parts([f"{cluster}.{proc}" for cluster, proc in jobs]):
            told = self._try("removes no jobs", self._removing(part, why))
            are_there = are_there and told is not None and told["TotalSuccess"] == len(part)
        return are_there

    def drop(self) -> None:
        """Take all of ours out of its queue, and do not wait for anybody. Raises ScheddTrouble."""
        for action in (htcondor2.JobAction.Remove, htcondor2.JobAction.RemoveX):
            self._try("removes no jobs", self._dropping(action))

    def _dropping(self, action: Any) -> Callable[[], Any]:
        return lambda: self._schedd.act(action, self._ours, reason=("the test is over", 0))

    def forget(self, jobs: Sequence[JobId], why: str) -> None:
        """Take jobs out of its queue that run nowhere, and what it keeps of them."""
        self.remove(jobs, why)
        for part in _parts([f"{cluster}.{proc}" for cluster, proc in jobs]):
            self._try("forgets no jobs", self._removing(part, why, is_over=True))

    def _removing(
        self, jobs: list[str], why: str, *, is_over: bool = False
    ) -> Callable[[], Any]:
        # A reason that is no tuple is dropped on the way (25.14.1).
        act = htcondor2.JobAction.RemoveX if is_over else htcondor2.JobAction.Remove
        return lambda: self._schedd.act(act, jobs, reason=(why, 0))

    def fetch(self, job: JobId) -> None:
        """Have what a job made brought here from a schedd elsewhere. Raises ScheddTrouble."""
        self._try("gives nothing back", lambda: self._schedd.retrieve([f"{job[0]}.{job[1]}"]))

    def _try(self, what: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except _ERRORS as error:
            text = " ".join(f"{error}".split())[:400] or type(error).__name__
            raise ScheddTrouble(f"{self.label} {what}: {text}") from error


def _parts(names: Sequence[str]) -> Iterable[list[str]]:
    return (list(names[at : at + _MOST_AT_ONCE]) for at in range(0, len(names), _MOST_AT_ONCE))


def _seen(ad: Mapping[str, Any]) -> Seen | None:
    """A job ad; None for what cannot be one of ours."""
    attempt, token = ad.get(describe.ATTEMPT), ad.get(describe.TOKEN)
    if not isinstance(attempt, str) or not isinstance(token, str):
        return None
    host, slot = place(str(ad.get("RemoteHost") or ad.get("LastRemoteHost") or ""))
    code = int(ad.get("HoldReasonCode") or 0)
    return Seen(
        (int(ad["ClusterId"]), int(ad["ProcId"])),
        attempt,
        token,
        Status(int(ad["JobStatus"])),
        host=host,
        slot=slot,
        started_at=float(ad.get("JobCurrentStartDate") or 0),
        hold_code=code,
        hold_subcode=int(ad.get("HoldReasonSubCode") or 0),
        text=str(ad.get("HoldReason") or ad.get("RemoveReason") or ""),
        sign=_whole(ad, "StatsLifetimeStarter", -1),
        is_moving=any(ad.get(key) is True for key in _MOVING),
        log=str(ad.get("UserLog") or ""),
        spooled=code != SPOOLING,
        is_on_host=bool(ad.get("CurrentHosts") or 0),
        kept=(_whole(ad, "CheckpointNumber", -1), _whole(ad, "NumShadowStarts", 0)),
    )


def _whole(ad: Mapping[str, Any], key: str, default: int) -> int:
    raw = ad.get(key)
    return raw if type(raw) is int else default
