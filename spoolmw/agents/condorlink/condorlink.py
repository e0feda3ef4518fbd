"""Serves one agent, as long as there is a daemon: sitting after sitting, with pauses between them.

Rule: it holds nothing. What it knows can be had again from the daemon, the queue and the folders,
so it may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from typing import Any

from spoolmw.agents.carrier.frames import DaemonSide
from spoolmw.agents.condorlink.brief import JOBS, Brief
from spoolmw.agents.condorlink.jobs import Jobs
from spoolmw.agents.condorlink.keeping import Keeper
from spoolmw.agents.condorlink.schedd import ScheddTrouble
from spoolmw.agents.condorlink.sitting import Sitting
from spoolmw.errors import AgentError

BEAT_S = 2.0  #: between two signs of life
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0  #: before the schedd is tried again; doubles
_HEALTHY_S = 10.0


class CondorLink:
    """One agent's link, served by the thread that calls `run`."""

    def __init__(self, sock: socket.socket) -> None:
        self._daemon = DaemonSide(sock)
        self._number = 0  #: of connections
        self._failures = 0
        self._is_hurried = False
        self._early: list[list[Any]] = []
        self._beat_at = 0.0
        self._remarked = ""
        brief = None
        while brief is None:
            for told in self._daemon.hear(60.0):
                if told["do"] == "brief":
                    brief = Brief.of(told["brief"])
                elif told["do"] == "adopt":
                    self._early.append(told["work"])
        self._brief = brief
        self._jobs = Jobs(brief.home / JOBS)
        self._keeper = Keeper(brief, self.beat)
        for work in self._early:
            self._jobs.enter(work, are_new=False)

    def run(self) -> None:
        """Serve until the daemon is gone, which raises wire.Closed."""
        while True:
            began = time.monotonic()
            try:
                self._number += 1
                Sitting(self, self._brief, self._jobs, self._keeper, self._number).run()
            except ScheddTrouble as trouble:
                why = str(trouble)
            except (AgentError, OSError) as error:
                why = f"{error}"
            if time.monotonic() - began > _HEALTHY_S:
                self._failures = 0
            self._failures += 1
            self._rest(why)

    def hear(self, timeout_s: float) -> list[dict[str, Any]]:
        """What the daemon says; what counts at any time is noted."""
        frames = self._daemon.hear(timeout_s)
        for told in frames:
            if told["do"] == "hurry":
                self._is_hurried = True
        return frames

    def tell(self, tree: dict[str, Any]) -> None:
        self._daemon.tell(tree)

    def remark(self, text: str) -> None:
        """Something for the daemon's log; once in a row, as some things are tried for ever."""
        if text != self._remarked:
            self._remarked = text
            self._daemon.tell({"event": "log", "text": text})

    def beat(self) -> None:
        """Say that this process lives, now and then."""
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + BEAT_S
            self._daemon.tell({"event": "beat"})

    def _rest(self, why: str) -> None:
        """Say why there is no schedd, and wait before the next try."""
        whole = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (self._failures - 1))
        pause_s = whole * random.uniform(0.7, 1.0)  # noqa: S311  # spreads many, no secret
        self._daemon.tell(
            {
                "event": "down",
                "what": why,
                "why": "",
                "fix": "",
                "failures": self._failures,
                "paused": False,
                "garbage": False,
                "again_s": pause_s,
            }
        )
        self._salvage()
        self._is_hurried = False
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not self._is_hurried:
            self.beat()
            for told in self.hear(min(BEAT_S, until - time.monotonic())):
                self._note(told)

    def _salvage(self) -> None:
        """Without a schedd its files may still be there, with what jobs saved last."""
        for job in self._jobs:
            if not job.is_told:
                with contextlib.suppress(OSError):
                    for event, entry in self._keeper.salvage(job):
                        self._daemon.tell({"event": event, "attempts": [entry]})

    def _note(self, told: dict[str, Any]) -> None:
        """Orders that come while there is no schedd."""
        if told["do"] == "stop":
            for job in filter(None, map(self._jobs.get, told["attempts"])):
                job.is_stopping, job.is_wanted = True, bool(told.get("wanted"))
        elif told["do"] == "release":
            for job in filter(None, map(self._jobs.get, told["attempts"])):
                if job.is_told:
                    self._jobs.drop(job)
