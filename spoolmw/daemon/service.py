"""The daemon's life: signals, the loop of ticks, the end in time.

SIGTERM or SIGINT stops intake and dispatch, gives what runs `[daemon] grace`, records the rest
for the next start; a second one ends at once. SIGHUP reads the configuration again, or keeps
the old one and says why.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

from spoolmw.agents.registry import check_sections
from spoolmw.config import Config
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.parts import Parts
from spoolmw.errors import BadConfig, SpoolmwError

LAST_TICKS = 20  #: rounds at the end: late reports, their commit, their delivery, its commit


class Service:
    """Runs the reactor of `parts` until it is told to stop, or, with `drain`, until all is done."""

    def __init__(self, parts: Parts, *, drain: bool = False) -> None:
        self._parts = parts
        self._reactor = parts.reactor
        self._drain = drain
        self._stops = 0
        self._reload = False

    def run(self) -> None:
        """Serve. Returns when stopped or drained; the caller closes the parts."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        parts = self._parts
        parts.start()
        parts.serve(reload=self._reread, stop=self.stop)
        parts.notifier.send("READY=1")
        log.info("ready %s", fields(spool=parts.layout.root, open=len(self._reactor.table)))
        while not self._stops and not (self._drain and self._is_drained()):
            self._round()
        self._end()

    def _is_drained(self) -> bool:
        return self._reactor.idle()

    def _round(self) -> None:
        self._reactor.tick(self._reactor.timeout_s())
        if self._reload:
            self._reload = False
            self._reload_by_signal()
        self._parts.housekeeping.run(boot_s())
        self._parts.notifier.status(self._parts.status_line())

    # -- signals ---------------------------------------------------------------------------

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1
        self._parts.inbox.put(None)

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._parts.inbox.put(None)

    def stop(self) -> None:
        """End as after SIGTERM."""
        self._stops += 1

    def _reread(self) -> list[str]:
        """Take over a changed configuration. Raises SpoolmwError, and keeps the old one."""
        source = self._parts.config.source
        if source is not None and not os.path.lexists(source):
            raise BadConfig(
                f"The configuration {source} is gone.",
                why="the daemon was started with it, and a reload reads the same file",
                fix="put it back, or restart the daemon without it: then the defaults hold",
            )
        fresh = Config.find(self._parts.layout.root, source)
        check_sections(fresh.agents, self._parts.layout.root)  # else the next start fails
        changed = self._parts.reconfigure(fresh)
        log.info("reloaded %s", fields(changed=", ".join(changed) or "nothing"))
        return changed

    def _reload_by_signal(self) -> None:
        notifier = self._parts.notifier
        notifier.reloading()
        try:
            self._reread()
        except SpoolmwError as error:
            told = fields(what=error.what, why=error.why, fix=error.fix)
            log.error("reload refused, the old configuration stays %s", told)
        notifier.send("READY=1")

    # -- the end ---------------------------------------------------------------------------

    def _end(self) -> None:
        """Stop taking and starting, let what runs end within the grace, commit what came of it."""
        parts = self._parts
        parts.notifier.send("STOPPING=1")
        self._reactor.stopping = True
        grace_s = 0.0 if self._stops > 1 else parts.config.daemon.grace_s
        log.info("stopping %s", fields(grace_s=grace_s, open=len(self._reactor.table)))
        closers = [
            threading.Thread(target=agent.close, args=(grace_s,), name=f"close-{name}")
            for name, agent in parts.agents.items()
        ]
        for closer in closers:
            closer.start()
        deadline = boot_s() + grace_s + parts.STOP_SLACK_S
        while any(closer.is_alive() for closer in closers) and boot_s() < deadline:
            self._reactor.tick(0.05)
            if self._stops > 1 and grace_s:
                grace_s = 0.0
                deadline = boot_s() + parts.STOP_SLACK_S
                parts.hurry()
        for _ in range(LAST_TICKS):
            self._reactor.tick(0.01)
            if not self._reactor.owes():
                break
        log.info("stopped %s", fields(open=len(self._reactor.table)))
        logging.shutdown()
