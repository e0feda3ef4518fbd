"""What a host's keeper says, event by event: checked, written to the spool, told to the daemon."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

from spoolmw.agents.carrier import claims, taking
from spoolmw.agents.carrier.book import Book, Given
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.agents.carrier.giving import Giver
from spoolmw.agents.carrier.trouble import HostTrouble, trouble
from spoolmw.runner import wire
from spoolmw.runner.checkpoint import Damaged

Tell = Callable[..., None]
_MOST_TAIL_BYTES = 1 << 20
_LARGE_BYTES = 64 << 20  #: of a result; the disk is not looked at for a smaller one
_SPARE_BYTES = 1 << 30  #: that a large one leaves on the spool's disk


class Hearing:
    """Hears one connection. What is no event of a keeper's raises Garbage."""

    def __init__(self, root: str, book: Book, giver: Giver, tell: Tell) -> None:
        self._root = root
        self._book = book
        self._giver = giver
        self._tell = tell
        self._taker: taking.Taker | None = None
        self._finish: Callable[[], None] = lambda: None

    def abandon(self) -> None:
        """The connection is gone: what came in part goes too."""
        if self._taker is not None:
            self._taker.abandon()
            self._taker = None

    def hear(self, kind: int, payload: bytes) -> None:
        """One frame. Raises Garbage, HostTrouble, OSError."""
        if kind == wire.BYTES:
            if self._taker is None:
                raise Garbage("bytes that nobody announced")
            taking.feed(self._taker, payload)
            self._look_for_end()
            return
        told = tree(payload)
        event = told.get("event")
        if event == "pong":
            return
        if self._taker is not None:
            raise Garbage(f"{event} before all bytes had come")
        act = _ACTS.get(event) if isinstance(event, str) else None
        if act is None:
            raise Garbage(f"an event {str(event)[:40]!r}")
        act(self, told)

    def _await(self, taker: taking.Taker, finish: Callable[[], None]) -> None:
        """The bytes that come next are for `taker`; then comes `finish`."""
        self._taker = taker
        self._finish = finish
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._taker is not None and not self._taker.left:
            self._taker = None
            self._finish()

    # -- events

    def _ended(self, told: dict[str, Any]) -> None:
        """Reports, and behind them their results."""
        entries = claims.entries("ended", told)
        if sum(each["body_bytes"] for each in entries) != claims.size(told):
            raise Garbage("results of other lengths than were announced")
        pairs: list[tuple[dict[str, Any], Given | None]] = []
        unknown: list[str] = []
        room = self._room(claims.size(told))
        homeless: list[dict[str, Any]] = []
        for each in entries:
            given = self._book.get(each["attempt"])
            if given is None:
                unknown.append(each["attempt"])
            elif given.token != each["token"]:
                raise Garbage(f"a report of {each['attempt']} with another's token")
            is_news = given is not None and not given.is_told
            has_room = each["body_bytes"] <= room
            if is_news and not has_room:
                homeless.append(_homeless(each))
            pairs.append((each, given if is_news and has_room else None))
        if len({each["attempt"] for each in entries}) < len(entries):
            raise Garbage("two reports of one attempt")
        bodies = taking.Bodies(f"{self._root}/stage", pairs)
        self._await(bodies, lambda: self._have_ended(bodies, homeless, unknown))

    def _room(self, wanted: int) -> int:
        """Bytes that one result may have: what is large leaves the disk some room."""
        if wanted < _LARGE_BYTES:
            return _LARGE_BYTES
        return shutil.disk_usage(f"{self._root}/stage").free - _SPARE_BYTES

    def _have_ended(
        self, bodies: taking.Bodies, homeless: list[dict[str, Any]], unknown: list[str]
    ) -> None:
        damaged = [_damaged(each) for each in bodies.spoilt]
        lost = [*damaged, *homeless]
        for each in lost:
            taking.discard(f"{self._root}/stage/{each['attempt']}")
        for each in (*bodies.good, *lost):
            given = self._book.get(each["attempt"])
            if given is not None:
                given.is_told = True
            for place in each.pop("missing", ()):
                self._giver.forget(place)
        if bodies.good or lost:
            self._tell({"event": "ended", "attempts": [*bodies.good, *lost]})
        if unknown:
            self._tell({"event": "unknown", "attempts": unknown})
        if damaged:
            raise Garbage(f"the result of {damaged[0]['attempt']} has another digest")

    def _files(self, told: dict[str, Any]) -> None:
        """The files of an attempt whose report comes next."""
        attempt = claims.attempt_name(told.get("attempt"))
        files = claims.files(told, width=3)
        given = self._book.get(attempt)
        if given is not None and claims.size(told) > 2 * given.output_bytes + (64 << 20):
            raise Garbage(f"{attempt} has more output than it may")
        folder = f"{self._root}/stage/{attempt}.files"
        wanted = given is not None and not given.is_told
        self._await(taking.Folder(folder, files, wanted=wanted), lambda: None)

    def _checkpointed(self, told: dict[str, Any]) -> None:
        """A checkpoint comes home, and is told of when it is here.

        Disks lose bytes: who has a damaged one is no liar. It need not be told again.
        """
        entries = claims.entries("checkpointed", told)
        if len(entries) != 1:
            raise Garbage("a checkpoint of several attempts")
        known = self._book.get(entries[0]["attempt"]) is not None
        files = claims.files(told, width=2)
        saved = taking.Saved(f"{self._root}/checkpoints", entries[0], files, known)

        def finish() -> None:
            try:
                saved.finish()
            except Damaged as error:
                self._tell({"event": "damaged", "checkpoints": [saved.key], "why": str(error)})
                return
            if known:
                self._giver.saved(*entries[0]["attempt"].split(".")[:2])
                self._tell({"event": "checkpointed", "attempts": entries})

        self._await(saved, finish)

    def _tail(self, told: dict[str, Any]) -> None:
        """What an attempt printed, on its way to who asked."""
        size = claims.size(told)
        if size > _MOST_TAIL_BYTES:
            raise Garbage("a tail longer than was asked for")
        gathered = _Gathered(size)
        head = {"event": "tail", "ask": told.get("ask"), "bytes": size}
        self._await(gathered, lambda: self._tell(head, bytes(gathered.data)))

    def _news(self, told: dict[str, Any]) -> None:
        event = told["event"]
        known = [
            each for each in claims.entries(event, told) if self._book.get(each["attempt"])
        ]
        if known:
            self._tell({"event": event, "attempts": known})

    def _stopped(self, told: dict[str, Any]) -> None:
        names = claims.names(told)
        self._book.stopped(names)
        self._tell({"event": "stopped", "attempts": names})

    def _refused(self, told: dict[str, Any]) -> None:
        """Files that the host could not take; attempts that need them are lost by its runner."""
        if "places" not in told:
            raise refusal(told)
        for each in told["places"] if isinstance(told["places"], list) else ():
            if isinstance(each, list) and each and isinstance(each[0], str):
                self._giver.forget(each[0])

    def _replaced(self, _told: dict[str, Any]) -> None:
        raise trouble(
            "link",
            "another daemon has taken over this host's keeper",
            why="it serves the same spool and agent",
            fix="let one daemon serve a spool",
        )

    def _error(self, told: dict[str, Any]) -> None:
        raise refusal(told)

    def _runner(self, told: dict[str, Any]) -> None:
        """The host's runner died, or is there again."""
        why = str(told.get("why", ""))[:500]
        self._tell({"event": "runner", "up": told.get("up") is True, "why": why})

    def _draining(self, told: dict[str, Any]) -> None:
        """It takes nothing more: what surrounds it is about to end."""
        self._tell({"event": "draining", "why": str(told.get("why", ""))[:500]})

    def _all_told(self, _told: dict[str, Any]) -> None:
        """What the host has is told: the newest checkpoints of what it lost are here too."""
        self._tell({"event": "told"})

    def _passed_over(self, _told: dict[str, Any]) -> None:
        """Nothing hangs on it."""


_ACTS: dict[str, Callable[[Hearing, dict[str, Any]], None]] = {
    "ended": Hearing._ended,
    "files": Hearing._files,
    "checkpointed": Hearing._checkpointed,
    "tail": Hearing._tail,
    "started": Hearing._news,
    "usage": Hearing._news,
    "resumed": Hearing._news,
    "progress": Hearing._news,
    "stopped": Hearing._stopped,
    "refused": Hearing._refused,
    "replaced": Hearing._replaced,
    "error": Hearing._error,
    "hello": Hearing._passed_over,
    "ready": Hearing._passed_over,
    "told": Hearing._all_told,
    "runner": Hearing._runner,
    "draining": Hearing._draining,
}


class _Gathered:
    """Bytes that fit into memory."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.data = bytearray()

    def take(self, data: memoryview) -> None:
        self.data += data

    def abandon(self) -> None:
        self.data.clear()


def tree(payload: bytes) -> dict[str, Any]:
    """A header. Raises Garbage."""
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        raise Garbage("a header that is not JSON") from None
    if not isinstance(told, dict):
        raise Garbage("a header that is no object")
    return told


def _homeless(report: dict[str, Any]) -> dict[str, Any]:
    """What is said of an attempt whose result is larger than the room there is for it."""
    lost = {"outcome": "lost", "cause": "connection", "blame": "host", "counts": True}
    size = report["body_bytes"] / (1 << 30)
    message = f"the spool's disk has no room for its result of {size:.1f} GiB"
    return {**report, **lost, "body_bytes": 0, "files": False, "message": message}


def _damaged(report: dict[str, Any]) -> dict[str, Any]:
    """What is said of an attempt whose result is not what its host announced."""
    lost = {"outcome": "lost", "cause": "connection", "blame": "host", "counts": False}
    message = "the host sent a result with another digest than it announced"
    return {**report, **lost, "body_bytes": 0, "files": False, "message": message}


def refusal(told: dict[str, Any]) -> HostTrouble:
    """A keeper's own words on why it does not serve us."""
    text = {key: str(told.get(key, ""))[:500] for key in ("what", "why", "fix")}
    return trouble(
        "runner", text["what"] or "the keeper refuses us", why=text["why"], fix=text["fix"]
    )
