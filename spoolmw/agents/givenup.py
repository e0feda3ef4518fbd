"""The attempts that were called lost while nobody knew whether they were. They may run on, and if
they report, that is told too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator

from spoolmw.model.agent import Launch

_MOST = 10_000


class GivenUp:
    """Of one host. Beyond `_MOST` the oldest are forgotten, and stopped as what nobody knows."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Launch] = OrderedDict()
        self._unwanted: set[str] = set()  #: those that are to be stopped if they still run

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[Launch]:
        return iter(self._all.values())

    def take(self, work: Iterable[Launch]) -> None:
        """These are called lost."""
        self._all.update({str(each.attempt): each for each in work})
        while len(self._all) > _MOST:
            self.forget(next(iter(self._all)))

    def forget(self, name: str) -> Launch | None:
        """Nobody waits for it any more; returns what it was, if anybody did."""
        self._unwanted.discard(name)
        return self._all.pop(name, None)

    def stop_later(self, name: str) -> bool:
        """Nobody wants it, but its host is away, and it may have ended, which would be told.

        Returns whether it is known here.
        """
        if name in self._all:
            self._unwanted.add(name)
        return name in self._all

    def is_wanted(self, name: str) -> bool:
        """Whether it may go on."""
        return name in self._all and name not in self._unwanted

    def vanished(self, held: Collection[str]) -> list[str]:
        """Those that their host does not speak of any more: they are dead, and forgotten."""
        gone = [name for name in self._all if name not in held]
        for name in gone:
            self.forget(name)
        return gone
