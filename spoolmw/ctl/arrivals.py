"""Follows names from the moment that a file was dropped until they are tasks of the journal.

A file in `incoming/` comes first: `wait job.sh` after `cp job.sh` means the file that was just
dropped, not yesterday's task of the same name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from spoolmw.ctl.drops import Dropped, find_dropped
from spoolmw.ctl.picks import id_in, known_id, unknown
from spoolmw.ctl.session import Session
from spoolmw.format.ids import made_at
from spoolmw.store.reports import Reports

#: Seconds for which a file may be nowhere, between leaving `incoming/` and being a task: one
#: that was seen, one that a name with an id tells of, and any other.
SEEN_S, NAMED_S, NOWHERE_S = 60.0, 10.0, 2.0
#: An id's time is cut to milliseconds.
CLOCK_S = 0.001


class Arrivals:
    """The names that are not known as tasks yet; false when there are none."""

    def __init__(self, session: Session, words: Iterable[str]) -> None:
        self._session = session
        #: name -> when its file was first seen in `incoming/` (wall clock; 0: it was not).
        self._expected = dict.fromkeys(words, 0.0)
        self._nowhere: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._expected)

    def expect(self, word: str) -> None:
        """Look for this one too."""
        self._expected.setdefault(word, 0.0)

    def nowhere(self) -> list[str]:
        """The names of which nothing is known: no task, and no file was seen."""
        return [word for word in self._nowhere if self._expected.get(word) == 0.0]

    def look(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The ids of names that have become tasks, and records of the files that were refused."""
        arrived: list[str] = []
        refused: list[dict[str, Any]] = []
        if not self._expected:
            return arrived, refused
        with self._session.reports() as reports:
            for word in list(self._expected):
                self._look_at(reports, word, arrived, refused)
        return arrived, refused

    def _look_at(
        self,
        reports: Reports,
        word: str,
        arrived: list[str],
        refused: list[dict[str, Any]],
    ) -> None:
        file = find_dropped(self._session.layout, word)
        if file is not None and not file.refused:
            if file.task_id and not id_in(word):  # from now on this one of all of that name
                del self._expected[word]
                word = file.task_id
                self.expect(word)
            self._expected[word] = self._expected[word] or time.time()
            self._nowhere.pop(word, None)
            return
        # An id in the name was made before the file was there.
        since = 0.0 if id_in(word) else max(0.0, self._expected[word] - CLOCK_S)
        task_id = known_id(self._session, reports, word, newest=True, since=since)
        if file is not None and (task_id is None or _came_at(file) > made_at(task_id)):
            refused.append(_refused(file))
        elif task_id is not None:
            arrived.append(task_id)
        elif self._is_on_its_way(word):
            return
        else:
            raise unknown(word)
        del self._expected[word]

    def _is_on_its_way(self, word: str) -> bool:
        """True until it has been nowhere for too long."""
        now = time.monotonic()
        seen_s = SEEN_S if self._expected[word] else 0.0
        patience_s = max(seen_s, NAMED_S if id_in(word) else NOWHERE_S)
        return now - self._nowhere.setdefault(word, now) < patience_s


def _came_at(file: Dropped) -> float:
    """When it was dropped, as far as that is known (wall clock)."""
    return made_at(file.task_id) if file.task_id else file.changed_at


def _refused(file: Dropped) -> dict[str, Any]:
    return {
        "id": file.task_id,
        "name": file.called,
        "box": file.box,
        "state": "rejected",
        "message": " ".join(file.reason.split("\n")).strip(),
    }
