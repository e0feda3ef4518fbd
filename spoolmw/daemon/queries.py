"""The verbs of the control socket that only read: answered from the journal, beside the reactor.

They run in the control server's thread on a read-only connection, so a long listing never
holds up a decision. What they show is what was committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from spoolmw import __version__
from spoolmw.daemon.control import VERSION, Request
from spoolmw.errors import SpoolmwError, UnknownTask
from spoolmw.spooldir.layout import Layout
from spoolmw.store.reports import Reports

MAX_ROWS = 10_000

Args = dict[str, object]


class Queries:
    """`handle` answers a request if it is one of ours, and says so."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._reports: Reports | None = None
        self._verbs: dict[str, Callable[[Args], object]] = {
            "ping": lambda _: {"pid": os.getpid(), "version": __version__, "protocol": VERSION},
            "show": self._show,
            "find": self._find,
            "stats": lambda _: self._open().stats(),
            "hosts": lambda _: {"hosts": self._open().hosts()},
            "votes": self._votes,
        }

    def handle(self, request: Request) -> bool:
        """Answer `request` and return True, or return False: it is the reactor's."""
        verb = self._verbs.get(request.verb)
        if verb is None:
            return False
        try:
            request.reply(verb(request.args))
        except SpoolmwError as error:
            request.reply(error)
        except (OSError, ValueError, OverflowError) as error:
            request.reply(SpoolmwError(f"{request.verb} failed: {error}"))
        return True

    def _open(self) -> Reports:
        if self._reports is None:
            self._reports = Reports.open(self._layout)
        return self._reports

    def _show(self, args: Args) -> object:
        task_id = str(args.get("id", ""))
        found = self._open().task(task_id)
        if found is None:
            raise UnknownTask(f"no task has the id {task_id}")
        return found

    def _votes(self, args: Args) -> object:
        found = self._show(args)
        assert isinstance(found, dict)
        if "votes" not in found:
            raise SpoolmwError(
                f"Task {found['id']} has no vote.", why="it did not ask for redundancy"
            )
        return {key: found[key] for key in ("id", "name", "state", "votes")}

    def _find(self, args: Args) -> object:
        limit = args.get("limit")
        rows = min(max(limit, 0), MAX_ROWS) if isinstance(limit, int) else MAX_ROWS
        found = self._open().tasks(
            state=_text(args, "state"),
            box=_text(args, "box"),
            name=_text(args, "name"),
            key=_text(args, "key"),
            limit=rows,
        )
        return {"tasks": list(found)}


def _text(args: Args, key: str) -> str | None:
    value = args.get(key)
    return None if value is None else str(value)
