"""The attempts that a host was given and that have not ended, and what they still need here.

Rule: a task's file stays as long as an attempt that was launched with it is live or waits for
release; an element's file is its array's, so several may need the same one.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Sequence, Set

from . import order, results
from .hostfolder import ATTEMPT, place_of
from .packs import Packs


class Given:
    """One attempt that has not ended."""

    __slots__ = ("kind", "needs", "packet", "path", "started")

    def __init__(self, packet: str, kind: Dict[str, Any], needs: Sequence[str]) -> None:
        self.packet = packet
        self.kind = kind
        self.path = order.split(packet.split("\n", 2)[2])[0]
        self.needs = tuple(needs)  #: places beside its own file
        self.started: Dict[str, Any] = {}  #: as the runner told it

    def loss(self, cause: str, message: str, now: float, *, counts: bool) -> Dict[str, Any]:
        """The report of an attempt that is lost without the runner's saying so."""
        attempt, token = self.packet.split("\n", 2)[:2]
        ended = results.lost(cause, message, counts=counts)
        if cause == "launch":
            ended.blame = "agent"
        times = (self.started.get("started", now), now)
        told = results.report(attempt, token, ended, times)
        return {**told, "slot": self.started.get("slot", "")}


class Taken(NamedTuple):
    """What came of a launch."""

    groups: List[Any]  #: for the runner: [kind, [packet, ...]]
    again: List[str]  #: attempts that ended before
    missing: List[Dict[str, Any]]  #: losses: something that was put is not there


class Roster:
    """Who was given to this host."""

    def __init__(self, root: str, packs: Packs) -> None:
        self._root = root
        self._packs = packs
        self._live: Dict[str, Given] = {}
        self._paths: Dict[str, str] = {}
        self._users: Dict[str, Set[str]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._live

    def attempts(self) -> List[str]:
        return list(self._live)

    def take(self, told: Dict[str, Any], ended: Any, now: float) -> Taken:
        """Take a launch; `ended` has the attempts that wait for release.

        Raises ValueError, KeyError or TypeError for what is no launch; nothing was taken then.
        """
        needs: Dict[str, List[str]] = told.get("needs") or {}
        fresh: List[Given] = []
        taken = Taken([], [], [])
        for kind, packets in told["work"]:
            for packet in packets:
                name = _checked(packet)
                if name in ended:
                    taken.again.append(name)
                elif name not in self._live:
                    fresh.append(Given(packet, dict(kind), needs.get(name, ())))
        for given in fresh:
            gone = self._missing(given)
            if gone:
                what = f"{gone[0]} is not on the host (any more)"
                loss = given.loss("launch", what, now, counts=False)
                taken.missing.append({**loss, "missing": gone})
            else:
                self._add(given)
        taken.groups.extend(_groups(each for each in fresh if self._is_live(each)))
        return taken

    def all_again(self) -> List[Any]:
        """What a new runner is told: all that is live."""
        return _groups(self._live.values())

    def started(self, told: Dict[str, Any]) -> None:
        """The runner says that it runs."""
        given = self._live.get(told["attempt"])
        if given is not None:
            given.started = dict(told)

    def running(self) -> List[Dict[str, Any]]:
        """All that the runner said to run."""
        return [each.started for each in self._live.values() if each.started]

    def slot_of(self, attempt: str) -> str:
        """The worker that runs it, as far as it was told."""
        given = self._live.get(attempt)
        return str(given.started.get("slot", "")) if given else ""

    def ended(self, attempt: str) -> bool:
        """It is not live any more; False when it was not."""
        return self._live.pop(attempt, None) is not None

    def all_lost(self, ran: Set[str], message: str, now: float) -> List[Dict[str, Any]]:
        """The runner is gone: the losses of all that it held."""
        found = [
            each.loss("connection", message, now, counts=name in ran or bool(each.started))
            for name, each in self._live.items()
        ]
        self._live.clear()
        return found

    def let_go(self, attempt: str) -> str:
        """Nothing of an attempt is needed here any more; returns the file that nobody needs now."""
        self._live.pop(attempt, None)
        path = self._paths.pop(attempt, "")
        if not path:
            return ""
        users = self._users[path]
        users.discard(attempt)
        if users:
            return ""
        del self._users[path]
        return path

    def needed(self) -> Set[str]:
        """The places that live attempts need."""
        found = {place for each in self._live.values() for place in each.needs}
        return found | set(self._users)

    def has_replica(self, key: str) -> bool:
        """Whether an attempt of this replica ("TASK/REPLICA") is live."""
        begin = key.replace("/", ".") + "."
        return any(name.startswith(begin) for name in self._live)

    def _add(self, given: Given) -> None:
        name, token, rest = given.packet.split("\n", 2)
        if rest == given.path:
            given.packet = f"{name}\n{token}\n{self._packs.path_of(given.path)}"
        self._live[name] = given
        self._paths[name] = given.path
        self._users.setdefault(given.path, set()).add(name)

    def _is_live(self, given: Given) -> bool:
        return self._live.get(order.attempt_of(given.packet)) is given

    def _missing(self, given: Given) -> List[str]:
        places = (given.path, *given.needs)
        gone = [each for each in places if not self._is_here(each)]
        if not gone and not self._unpacked(given):
            gone = [given.path]
        return gone

    def _is_here(self, place: str) -> bool:
        return place in self._packs or os.path.exists(f"{self._root}/{place}")

    def _unpacked(self, given: Given) -> bool:
        """An element's array is a file of its own: it is read again and again."""
        try:
            if given.packet.endswith(f"\n{given.path}"):
                return True
            self._packs.unpack(given.path)
        except OSError:
            return False
        return True


def _checked(packet: Any) -> str:
    """The attempt of a packet that is whole."""
    name, token, rest = packet.split("\n", 2)
    if not ATTEMPT.fullmatch(name) or not token:
        raise ValueError(f"{name[:100]!r} is no attempt")
    if place_of(order.split(rest)[0]).kind != "active":
        raise ValueError(f"{name} has no task's file")
    return str(name)


def _groups(found: Any) -> List[Any]:
    """A launch's work: those that follow each other and need the same share their kind."""
    groups: List[Any] = []
    for each in found:
        if not groups or groups[-1][0] != each.kind:
            groups.append([each.kind, []])
        groups[-1][1].append(each.packet)
    return groups
