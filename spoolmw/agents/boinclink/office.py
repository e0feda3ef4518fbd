"""Serves one project for one daemon: takes its orders, and tells it what became of them.

What is told, besides what every link tells: `started` with host, machine, owner and platform of the
attempt; `ended` with dead = False for what was not reported in time: the report may come yet, and
is told, too; `misfits`, why attempts wait for ever; `hosts`, for people.

Rule 1: an attempt that was not sent stands nowhere but here: the daemon tells it again to whoever
comes next. What was sent stands in the records, before its host hears of it.
Rule 2: what is told again and again must be harmless: the same end, until it is released.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterable
from typing import Any

from spoolmw.agents.boinclink import reports, standing
from spoolmw.agents.boinclink.front import Front
from spoolmw.agents.boinclink.holdings import Job
from spoolmw.agents.boinclink.landing import Landed
from spoolmw.agents.boinclink.project import Outbox, Post, Project
from spoolmw.agents.boinclink.records import FAILED, REPORTED, SENT, Row
from spoolmw.agents.boinclink.scheduler import Scheduler
from spoolmw.errors import SpoolmwError

SESSION = 1  #: there is one, from listening to the end of this process
_ALIVE = "alive"  #: a file that is touched while there is a server
_TICK_S = 2.0
_TELL_S = 15.0  #: between two looks at what fits nobody, and at the hosts
_AGAIN_S = 5.0  #: before what found no room is tried again


class Office:
    """One project. All of it belongs to the loop's thread."""

    def __init__(self, project: Project, post: Post) -> None:
        self._project = project
        self._post = post
        self._alive = project.brief.home / _ALIVE
        self._outbox = Outbox(project.records, post)
        self._front = Front(project, Scheduler(project, self._outbox, self._land_soon))
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_misfits: dict[str, str] = {}
        self._told_hosts: list[Any] = []
        self._look_at = 0.0
        self._bundles_wanted: set[str] = set()  #: platforms
        self.failed = asyncio.Event()  #: an error of ours: this process should end

    async def open(self, work: Iterable[list[Any]]) -> int:
        """Listen; `work` is what the daemon had given to who was here before. Returns the port.
        Raises OSError, RecordsTrouble."""
        brief = self._project.brief
        self._project.accounts.look()
        for each in work:
            for _ in self._project.holdings.enter(each):
                pass
        host, _, port = brief.listen.rpartition(":")
        listening = await self._front.listen(host.strip("[]"), int(port))
        try:
            await self._forgive()
        except BaseException:
            await self._front.close()
            raise
        self._begin()
        self._spawn(self._outbox.pump())
        self._spawn(self._tick())
        return listening

    async def _forgive(self) -> None:
        """Put deadlines off by the time in which there was no server. Raises RecordsTrouble."""
        with contextlib.suppress(FileNotFoundError):
            alive = os.stat(self._alive).st_mtime
            self._project.holdings.put_off(alive, time.time())
            await self._project.records.settled()
        self._alive.touch(mode=0o600)

    async def close(self) -> None:
        await self._front.close()
        for each in list(self._tasks):
            each.cancel()
        await self._project.close()

    # -- what the daemon says

    def hear(self, told: dict[str, Any]) -> None:
        """One frame."""
        match told["do"]:
            case "adopt":
                self._launch(told["work"])
            case "launch" if told.get("session") == SESSION:
                self._launch(told["work"])
            case "stop":
                for each in told["attempts"]:
                    self._project.holdings.forget(each)
                self._post.tell({"event": "stopped", "attempts": list(told["attempts"])})
                self._sweep()
            case "release":
                for each in told["attempts"]:
                    self._project.holdings.forget(each)
                self._sweep()
            case _:
                pass

    def _launch(self, work: list[Any]) -> None:
        for job in self._project.holdings.enter(work):
            row = self._project.holdings.rows.get(job.attempt)
            if row is not None:
                self._resume(job, row)

    # -- the start

    def _begin(self) -> None:
        """Say what there is, and go on with it."""
        project, holdings = self._project, self._project.holdings
        names = {"live": list(holdings.jobs), "outbox": [], "died": []}
        self._post.tell({"event": "hello", "session": SESSION, "machine": "", **names})
        self._post.tell({"event": "told"})
        for row in list(holdings.rows.values()):
            job = holdings.jobs.get(row.attempt)
            if job is None:
                holdings.forget(row.attempt)
            else:
                self._resume(job, row)
        for each in project.callers.hosts.values():
            if each.needs_bundle:
                self._bundle_soon(each.platform)
        project.uploads.sweep(holdings.rows.keys())
        holdings.left()

    def _resume(self, job: Job, row: Row) -> None:
        """An attempt that was sent by who was here before."""
        project = self._project
        owner = project.owner_of(row)
        self._outbox.put(project.desk.started(row, owner))
        if row.is_unwanted:  # its host may have been told to end it
            what = {"cause": "vanished", "message": "it was stopped before", "counts": False}
            job.is_told = True
            self._outbox.put(project.desk.lost(row, owner, what, time.time()))
        elif row.state == REPORTED:
            self._outbox.put(lambda: self._land_soon(row.attempt))
        elif row.state == FAILED:
            job.is_told = True
            what = json.loads(row.report)
            self._outbox.put(project.desk.lost(row, owner, what, time.time()))

    # -- what came home

    def _land_soon(self, attempt: str) -> None:
        self._spawn(self._land(attempt))

    async def _land(self, attempt: str) -> None:
        """Bring what a host uploaded into the spool, and tell it."""
        project = self._project
        job, row = project.holdings.jobs.get(attempt), project.holdings.rows.get(attempt)
        if job is None or row is None or job.is_landing or job.is_told:
            return
        job.is_landing = True
        loop = asyncio.get_running_loop()
        upload = project.uploads.path(attempt)
        try:
            landed = await loop.run_in_executor(
                project.heavy, project.lander.land, job.given, upload, row.most_bytes
            )
        except OSError:  # no room: it lies there, and comes later
            loop.call_later(_AGAIN_S, self._land_soon, attempt)
            return
        finally:
            job.is_landing = False
        if project.holdings.jobs.get(attempt) is not job:  # stopped meanwhile
            await loop.run_in_executor(project.heavy, project.lander.discard, attempt)
            return
        job.is_told = True
        self._tell_landed(job, row, landed)

    def _tell_landed(self, job: Job, row: Row, landed: Landed) -> None:
        desk, now = self._project.desk, time.time()
        owner = self._project.owner_of(row)
        is_news = landed.lacks_python and self._learn_of_python(job, row)
        if not is_news:
            is_good = not (landed.is_hosts or landed.lacks_python)
            desk.learn(row, now, is_good=is_good)
        if landed.entry is None:
            what = landed.lost or {}
            self._outbox.put(desk.lost(row, owner, what, now))
            return
        for event, entries in landed.news:
            self._outbox.put(*((event, each) for each in entries))
        self._outbox.put(desk.landed(row, owner, landed.entry, now))

    def _learn_of_python(self, job: Job, row: Row) -> bool:
        """Its host has no Python that fits."""
        wanted = "" if job.given.kind.get("command") else str(job.given.kind.get("python", ""))
        project = self._project
        host = project.callers.hosts.get(row.host)
        platform = host.platform if host is not None else ""
        travels = project.application.python_for(platform)
        helps = bool(travels) and wanted in ("", travels) and project.brief.bundle != "never"
        if helps:
            self._bundle_soon(platform)
        return project.desk.lacks(row, wanted, time.time(), a_bundle_helps=helps)

    def _bundle_soon(self, platform: str) -> None:
        if platform not in self._bundles_wanted:
            self._bundles_wanted.add(platform)
            self._spawn(self._bundle(platform))

    async def _bundle(self, platform: str) -> None:
        """Have a Python for hosts without one."""
        application = self._project.application
        loop = asyncio.get_running_loop()
        try:
            python = await loop.run_in_executor(
                self._project.heavy, application.pack_bundle, platform
            )
            application.bundle(python)
        except (OSError, SpoolmwError) as error:
            self._bundles_wanted.discard(platform)
            text = " ".join(f"no Python can be sent along: {error}".split())
            self._post.tell({"event": "log", "text": text})
        else:
            self._front.published()

    # -- by the clock

    async def _tick(self) -> None:
        while True:
            self._post.tell({"event": "beat"})
            now = time.time()
            for row in self._project.holdings.overdue(now):
                told = self._project.desk.overdue(row, self._project.owner_of(row), now)
                if told is not None:
                    self._outbox.put(told)
            self._project.accounts.look()
            self._project.records.look()
            self._revoke(now)
            self._sweep()
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _TELL_S
                self._tell_standing()
                with contextlib.suppress(OSError):
                    self._alive.touch()
            await asyncio.sleep(_TICK_S)

    def _revoke(self, now: float) -> None:
        """What hosts have whose account is no good any more is lost."""
        project = self._project
        for account in project.accounts.newly_revoked():
            for host in [
                e for e in project.callers.hosts.values() if e.account == account.name
            ]:
                for row in project.holdings.at(host.id):
                    self._lose(row, f"the account {account.name} of its host was revoked", now)

    def _lose(self, row: Row, why: str, now: float) -> None:
        project = self._project
        job = project.holdings.jobs.get(row.attempt)
        if job is None or job.is_told or row.state != SENT:
            return
        what = reports.Misfortune("connection", why, counts=False, is_hosts=False)
        project.holdings.ended(row, FAILED, what.told())
        job.is_told = True
        self._outbox.put(project.desk.lost(row, project.owner_of(row), what._asdict(), now))

    def _tell_standing(self) -> None:
        """What fits nobody, and who is there, if that is news."""
        project = self._project
        now = time.time()
        misfits = project.holdings.lines.misfits(standing.lately(project, now))
        if misfits != self._told_misfits:
            self._told_misfits = misfits
            self._post.tell({"event": "misfits", "attempts": misfits})
        told = standing.hosts_told(project, now)
        if told != self._told_hosts:
            self._told_hosts = told
            self._post.tell({"event": "hosts", "hosts": told})

    # -- pieces

    def _sweep(self) -> None:
        """Remove uploads that are not needed any more."""
        left = self._project.holdings.left()
        if left:
            self._project.disk.submit(self._remove, left)

    def _remove(self, attempts: list[str]) -> None:
        for each in attempts:
            self._project.uploads.remove(each)

    def _spawn(self, what: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """An error of ours ends this process: the daemon starts another, which reads what there is."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a task of the link failed", "exception": task.exception()}
            )
            self.failed.set()
