"""What a host was given and has not been released from: attempts, their tokens, their files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from spoolmw.runner.order import DEFAULT_OUTPUT_BYTES, split


@dataclass(slots=True)
class Given:
    """One attempt in a host's hands."""

    attempt: str
    token: str
    path: str  #: of the task's file, relative to the spool
    kind: dict[str, Any] = field(default_factory=dict)
    holds_file: bool = False  #: it counts as a user of its file on the host
    is_told: bool = False  #: its report went to the daemon; the same again is not looked at

    @property
    def output_bytes(self) -> int:
        """Its limit for stdout, stderr and outputs together."""
        return int(self.kind.get("output", DEFAULT_OUTPUT_BYTES))


class Book:
    """Knows the attempts of one host. Used by two threads: each method is one step."""

    def __init__(self) -> None:
        self._given: dict[str, Given] = {}
        self._users: Counter[str] = Counter()  #: of the files that the host holds

    def __len__(self) -> int:
        return len(self._given)

    def get(self, attempt: object) -> Given | None:
        return self._given.get(attempt) if isinstance(attempt, str) else None

    def enter(self, work: list[Any]) -> Iterator[Given]:
        """The attempts of a launch frame's work; one that is known already comes as it is."""
        for kind, packets in work:
            for packet in packets:
                attempt, token, path = packet.split("\n", 3)[:3]
                known = self._given.get(attempt)
                if known is None:
                    known = Given(attempt, token, split(path)[0], kind)
                    self._given[attempt] = known
                yield known

    def places(self, given: Given) -> bool:
        """Count an attempt as a user of its task's file; True when the file must go first."""
        if given.holds_file:
            return False
        given.holds_file = True
        self._users[given.path] += 1
        return self._users[given.path] == 1

    def stopped(self, attempts: Iterable[str]) -> None:
        """These have ended without a report: the host keeps their files no longer."""
        for each in attempts:
            given = self._given.get(each)
            if given is not None:
                self._let_file_go(given)

    def file_is_gone(self, path: str) -> None:
        """The host has not this task's file: it goes again with the next attempt."""
        self._users.pop(path, None)
        for each in list(self._given.values()):
            if each.path == path:
                each.holds_file = False

    def strike(self, attempts: Iterable[str]) -> None:
        """These are released: nothing that a host says of them counts any more."""
        for each in attempts:
            given = self._given.pop(each, None)
            if given is not None:
                self._let_file_go(given)

    def new_connection(self) -> None:
        """What the host holds is not certain any more; task files are sent again."""
        self._users.clear()
        for each in list(self._given.values()):
            each.holds_file = False

    def _let_file_go(self, given: Given) -> None:
        if given.holds_file:
            given.holds_file = False
            self._users[given.path] -= 1
            if not self._users[given.path]:
                del self._users[given.path]
