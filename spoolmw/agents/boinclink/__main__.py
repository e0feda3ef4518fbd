"""`python -m spoolmw.agents.boinclink PPID FD`: the project of one agent, for as long as there is a daemon.

While it cannot be served (the port is taken, a file cannot be read), why is told, and it is tried
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys
from typing import Any

from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.boinclink.office import Office
from spoolmw.agents.boinclink.post import Mail
from spoolmw.agents.boinclink.project import Project
from spoolmw.agents.boinclink.records import RecordsTrouble
from spoolmw.agents.carrier import serving
from spoolmw.agents.carrier.frames import DaemonSide
from spoolmw.errors import SpoolmwError

_BEAT_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  #: before another try; doubles


class BoincLink:
    """One agent's link."""

    def __init__(self, daemon: DaemonSide) -> None:
        self._early: list[list[Any]] = []
        self._brief = self._briefing(daemon)
        self._office: Office | None = None
        self._failures = 0
        self._hurried = asyncio.Event()
        self._is_over = asyncio.Event()
        self._mail = Mail(daemon, self._hear, self._is_over.set)

    def _briefing(self, daemon: DaemonSide) -> Brief:
        brief = None
        while brief is None:
            for told in daemon.hear(60.0):
                if told["do"] == "brief":
                    brief = Brief.of(told["brief"])
                elif told["do"] == "adopt":
                    self._early.append(told["work"])
        return brief

    async def run(self) -> None:
        """Serve until the daemon is gone, or something of ours is broken."""
        while self._office is None and not self._is_over.is_set():
            try:
                self._office = await self._open()
            except (OSError, ValueError, RecordsTrouble, SpoolmwError) as error:
                await self._rest(error)
        if self._office is not None:
            waits = [
                asyncio.create_task(each.wait())
                for each in (self._is_over, self._office.failed)
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            await self._office.close()

    async def _open(self) -> Office:
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, Project.open, self._brief)
        while not opening.done():  # it may have to pack a Python first
            self._mail.tell({"event": "beat"})
            await asyncio.wait([opening], timeout=_BEAT_S)
        project = await opening
        try:
            office = Office(project, self._mail)
            await office.open(self._early)
        except BaseException:
            await project.close()
            raise
        return office

    async def _rest(self, error: Exception) -> None:
        """Say why there is no server, and wait before the next try."""
        self._failures += 1
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (self._failures - 1))
        why = (
            f"clients cannot be served at {self._brief.listen}: {' '.join(str(error).split())}"
        )
        facts = {"what": why, "why": "", "fix": "", "failures": self._failures}
        told = {"event": "down", **facts, "paused": False, "garbage": False, "again_s": pause_s}
        self._mail.tell(told)
        until = asyncio.get_running_loop().time() + pause_s
        self._hurried.clear()
        while (left := until - asyncio.get_running_loop().time()) > 0:
            if self._hurried.is_set() or self._is_over.is_set():
                return
            self._mail.tell({"event": "beat"})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), min(left, _BEAT_S))

    def _hear(self, told: dict[str, Any]) -> None:
        if told["do"] == "hurry":
            self._hurried.set()
        if self._office is not None:
            self._office.hear(told)
        elif told["do"] == "adopt":
            self._early.append(told["work"])
        elif told["do"] in ("stop", "release"):
            self._forget(set(told["attempts"]))
            if told["do"] == "stop":
                self._mail.tell({"event": "stopped", "attempts": told["attempts"]})

    def _forget(self, attempts: set[str]) -> None:
        """What is not wanted any more is not adopted when there is a server."""
        self._early = [
            [
                [kind, [each for each in packets if each.partition("\n")[0] not in attempts]]
                for kind, packets in work
            ]
            for work in self._early
        ]


def _serve(sock: socket.socket) -> None:
    async def serve() -> None:
        await BoincLink(DaemonSide(sock)).run()

    asyncio.run(serve())


def _prepare() -> None:
    """Room for many connections; and strangers' errors are no news for our log."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    _prepare()
    sys.exit(serving.main(sys.argv[1:], _serve))
