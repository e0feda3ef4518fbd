"""The time from finding the schedd to losing it: submits, follows the log, brings results home.

Rule 1: nothing is submitted before queue and history were compared with what the daemon waits for.
Rule 2: the log tells the news; the queue is asked once in a while, and whenever the log is odd.
Rule 3: no job leaves the queue before what it saved is in the spool, if its task goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from spoolmw.agents.condorlink import ending, eventnews, fitting, holds, reconcile
from spoolmw.agents.condorlink.brief import Brief
from spoolmw.agents.condorlink.eventlog import OddLog
from spoolmw.agents.condorlink.eventlogs import EventLogs
from spoolmw.agents.condorlink.eventnews import News
from spoolmw.agents.condorlink.jobs import Job, Jobs
from spoolmw.agents.condorlink.keeping import Keeper
from spoolmw.agents.condorlink.post import Post
from spoolmw.agents.condorlink.reconcile import RUNS, Seen, Step, Verb
from spoolmw.agents.condorlink.schedd import Schedd
from spoolmw.agents.condorlink.silence import Silence
from spoolmw.agents.condorlink.submitting import Submitter

_TICK_S, _IDLE_TICK_S = 0.05, 0.5  #: between two looks at the log, with jobs and without
_SOON_S = 1.0
_ASKING_POLL_S = 3.0  #: where no log tells
_MOST_AT_ONCE = 200  #: jobs of one turn
_NOT_WANTED = "spoolmw does not wait for it any more"


class Sitting:
    """The time from finding the schedd to losing it."""

    def __init__(
        self, link: Post, brief: Brief, jobs: Jobs, keeper: Keeper, number: int
    ) -> None:
        self._link = link
        self._brief = brief
        self._jobs = jobs
        self._keeper = keeper
        self._number = number
        pool = brief.pool
        self._schedd = Schedd(pool.schedd, pool.collector, brief.spool_id)
        self._submitter = Submitter(brief, self._schedd)
        self._log = EventLogs(brief.log, is_own=not pool.event_log)
        asking_s = pool.poll_s if brief.has_log else _ASKING_POLL_S
        self._poll_s = min(pool.poll_s, asking_s, pool.silent_s / 4)
        self._silence = Silence(pool.silent_s)
        self._fitting = fitting.Fitting(self._submitter.manner, self._schedd.slots)
        self._look_at = 0.0
        self._unheard: set[str] = set()  #: attempts of which the log may not tell
        self._told: list[ending.Told] = []
        self._stopped: list[str] = []
        self._unwanted: list[eventnews.JobId] = []  #: to be taken out of the queue
        self._over: list[eventnews.JobId] = []  #: nothing is wanted of these any more

    def run(self) -> None:
        """Serve. Raises ScheddTrouble, OSError, AgentError, wire.Closed."""
        self._schedd.connect()
        self._keeper.meet(self._schedd)
        try:
            self._log.open({each.log for each in self._schedd.jobs()})
            self._begin()
            while True:
                self._turn()
        finally:
            self._log.close()

    def _turn(self) -> None:
        for told in self._link.hear(_TICK_S if len(self._jobs) else _IDLE_TICK_S):
            self._obey(told)
        self._remove()
        self._link.beat()
        self._submit()
        self._read_log()
        if time.monotonic() >= self._look_at:
            self._follow(self._look())
            self._fitting.look(self._jobs, self._link)
        self._forget()
        self._flush()

    # -- what the daemon wants

    def _obey(self, told: dict[str, Any]) -> None:
        verb = told["do"]
        if verb == "launch":  # what was meant for an earlier sitting counts as lost already
            if told.get("session") == self._number:
                self._jobs.enter(told["work"], are_new=True)
        elif verb == "stop":
            jobs = list(filter(None, map(self._jobs.get, told["attempts"])))
            self._stop(jobs, is_wanted=bool(told.get("wanted")))
        elif verb == "release":
            self._release(list(filter(None, map(self._jobs.get, told["attempts"]))))

    def _stop(self, jobs: list[Job], *, is_wanted: bool) -> None:
        for job in jobs:
            job.is_stopping, job.is_wanted = True, is_wanted
            if job.id is None or job.is_told:
                self._has_stopped(job)
        self._unwanted += [job.id for job in jobs if job.id is not None and not job.is_told]

    def _release(self, jobs: list[Job]) -> None:
        ended = [job for job in jobs if job.is_told]
        if self._brief.pool.is_remote:  # they stay in the queue until they were fetched
            self._over += [job.id for job in ended if job.id is not None]
        for job in ended:
            self._jobs.drop(job)

    def _remove(self) -> None:
        """Once all that the daemon said is noted: what follows may fail."""
        ids, self._unwanted = self._unwanted, []
        if ids and not self._schedd.remove(ids, _NOT_WANTED):
            self._look_at = min(self._look_at, time.monotonic() + _SOON_S)

    def _forget(self) -> None:
        """What is over leaves the queue, with all that the schedd kept of it."""
        over, self._over = self._over, []
        if over:
            self._schedd.forget(over, _NOT_WANTED)

    def _has_stopped(self, job: Job) -> None:
        """Nothing of it runs any more."""
        if job.is_wanted and not job.is_told:
            self._save(job)
        if job.id is not None:
            self._over.append(job.id)
        self._jobs.drop(job)
        if not job.is_told:
            self._stopped.append(job.attempt)

    # -- jobs

    def _submit(self) -> None:
        waiting = [job for job in self._jobs if job.waits_to_be_submitted]
        if not waiting:
            return
        for job, why in self._submitter.submit(waiting[:_MOST_AT_ONCE], self._log.newest):
            self._tell_end(job, [ending.lost(job, "launch", "agent", why)])

    def _read_log(self) -> None:
        try:
            if self._brief.has_log and (why := self._log.oddity()):
                raise OddLog(why)
            by_id = None
            for news in self._log.news():
                by_id = by_id or self._jobs.by_id()
                job = by_id.get(news.job)
                if job is not None and not job.is_told:
                    self._heed(job, news)
        except OddLog as odd:
            # Whoever has the old file open goes on writing there: its news are asked for.
            self._unheard = {job.attempt for job in self._jobs}
            self._log.open_anew()
            self._look_at = 0.0
            self._link.remark(f"its event log is odd: {odd}")

    def _heed(self, job: Job, news: News) -> None:
        """One fact about one job."""
        if job.is_stopping:
            if news.what in (eventnews.ENDED, eventnews.REMOVED):
                self._has_stopped(job)
        else:
            self._act_on(job, news)

    def _act_on(self, job: Job, news: News) -> None:
        match news.what:
            case eventnews.STARTED:
                self._has_started(job, news.host, news.slot, time.time())
            case eventnews.IDLE:
                self._waits_again(job)
            case eventnews.SAVED if not self._brief.pool.is_remote:  # else the queue tells it
                self._save(job)
            case eventnews.ENDED:
                self._collect(job)
            case eventnews.HELD:
                self._is_held(job, (news.code, news.subcode, news.text))
            case eventnews.REMOVED:
                self._was_removed(job, news.text)
            case _:
                used = {"attempt": job.attempt, "cpu_s": 0.0, "memory_bytes": news.memory_bytes}
                self._told.append(("usage", used))

    def _has_started(self, job: Job, host: str, slot: str, at: float) -> None:
        job.has_started(host, slot, at)
        where = {"slot": slot or "slot", "pid": 0, "host": host, "machine": f"condor {host}"}
        self._told.append(("started", {"attempt": job.attempt, "started": at, **where}))

    def _waits_again(self, job: Job) -> None:
        if job.is_running:
            job.is_running = False
            self._told.append(("waiting", {"attempt": job.attempt}))
            self._save(job)

    def _save(self, job: Job) -> None:
        """Bring its newest checkpoint home; what finds no room now comes later."""
        with contextlib.suppress(OSError):
            self._told += self._keeper.bring(job)

    def _collect(self, job: Job) -> None:
        """It ended: bring home what it made. What finds no room is tried again."""
        if self._brief.pool.is_remote and job.id is not None:
            self._schedd.fetch(job.id)
        try:
            self._tell_end(job, ending.collected(job, self._brief.root))
        except OSError:
            self._look_at = min(self._look_at, time.monotonic() + _SOON_S * 10)

    def _is_held(self, job: Job, reason: tuple[int, int, str]) -> None:
        code, subcode, text = reason
        if holds.is_held_for_nothing(code):
            return
        what = holds.meaning(code, subcode, text, time_s=float(job.given.kind.get("time", 0)))
        self._end_early(job, lambda: ending.held(job, what, self._brief.root))

    def _was_removed(self, job: Job, text: str) -> None:
        message = f"its job was removed from the pool's queue: {text or 'nobody said why'}"
        self._end_early(job, lambda: [ending.lost(job, "held", "agent", message)])

    def _lose(self, job: Job, text: str) -> None:
        self._end_early(job, lambda: [ending.lost(job, "connection", "host", text)])

    def _end_early(self, job: Job, words: Callable[[], list[ending.Told]]) -> None:
        """It ends without a result of its own; what it saved comes first, or this is done again."""
        try:
            told = [*self._keeper.bring(job), *words()]
        except OSError:
            self._look_at = min(self._look_at, time.monotonic() + _SOON_S * 10)
            return
        self._tell_end(job, told)
        if job.id is not None:
            self._over.append(job.id)

    def _tell_end(self, job: Job, told: list[ending.Told]) -> None:
        job.is_told = True
        job.is_running = False
        self._told += told

    # -- the queue

    def _begin(self) -> None:
        """Compare all that is known, and say what there is."""
        steps = self._look()
        for step in steps:
            if step.verb is Verb.REMOVE and step.seen is not None:
                self._jobs.enter_stray(step.attempt, step.seen.token, step.seen.job)
        self._jobs.sweep()
        live = [job.attempt for job in self._jobs if not job.is_told]
        outbox = [job.attempt for job in self._jobs if job.is_told]
        names = {"live": live, "outbox": outbox, "died": []}
        self._link.tell({"event": "hello", "session": self._number, "machine": "", **names})
        self._link.tell({"event": "told"})
        self._follow(steps)
        self._flush()

    def _look(self) -> list[Step]:
        """Queue, history and folders against what is waited for."""
        queue = self._schedd.jobs()
        self._log.keep({each.log for each in queue})
        told = {job.attempt for job in self._jobs if job.is_told}
        queue = [
            each
            for each in queue
            if each.attempt not in told or each.status is not reconcile.Status.COMPLETED
        ]
        self._see_what_stopped(queue)
        self._see_who_is_silent(queue)
        waited = [j for j in self._jobs if not (j.is_told or j.is_stopping)]
        expected = {job.attempt: job.expected() for job in waited}
        missing = reconcile.missing(expected, queue)
        past = self._schedd.history(missing) if missing else []
        self._unheard.intersection_update(job.attempt for job in self._jobs)
        must_ask = bool(self._unheard) or (self._brief.has_log and self._log.is_blind)
        poll_s = min(self._poll_s, _ASKING_POLL_S) if must_ask else self._poll_s
        self._look_at = time.monotonic() + poll_s
        return reconcile.reconcile(expected, queue, past)

    def _see_what_stopped(self, queue: list[Seen]) -> None:
        """A job is gone when it has left the queue; one that nobody noted is known by its attempt."""
        there = {each.job for each in queue if not each.is_over}
        known = {each.attempt: each.job for each in queue}
        for job in self._jobs:
            if job.is_stopping:
                job.id = job.id or known.get(job.attempt)
                if job.id not in there:
                    self._has_stopped(job)

    def _see_who_is_silent(self, queue: list[Seen]) -> None:
        """What froze with its host runs elsewhere; what it says later is not heard."""
        for each in self._silence.broken(queue, time.monotonic()):
            job = self._jobs.get(each.attempt)
            if job is not None and not (job.is_told or job.is_stopping or job.has_report):
                silent_s = self._brief.pool.silent_s
                self._lose(job, f"nothing was heard of it on {each.host} for {silent_s:g} s")

    def _follow(self, steps: list[Step]) -> None:
        self._unwanted += [s.seen.job for s in steps if s.verb is Verb.REMOVE and s.seen]
        self._over += [s.seen.job for s in steps if s.verb is Verb.FORGET and s.seen]
        for step in steps:
            job = self._jobs.get(step.attempt)
            if job is not None and step.verb not in (Verb.REMOVE, Verb.FORGET):
                self._take_step(job, step)

    def _take_step(self, job: Job, step: Step) -> None:
        seen = step.seen
        match step.verb:
            case Verb.ADOPT if seen is not None:
                self._adopt(job, seen)
            case Verb.COLLECT:
                if seen is not None:
                    job.id, job.host, job.slot = seen.job, seen.host, seen.slot
                self._collect(job)
            case Verb.HELD if seen is not None:
                job.id = seen.job
                self._is_held(job, (seen.hold_code, seen.hold_subcode, seen.text))
            case Verb.REMOVED if seen is not None:
                job.id = seen.job
                self._was_removed(job, seen.text)
            case Verb.WAIT if seen is not None:
                job.id = seen.job
            case Verb.LOST:
                text = "its job left the pool's queue without a word"
                self._tell_end(job, [ending.lost(job, "connection", "agent", text)])
            case _:
                pass  # it is submitted at the next turn

    def _adopt(self, job: Job, seen: Seen) -> None:
        if job.id != seen.job:
            job.note(seen.job)
        if seen.status in RUNS and not job.is_running:
            self._has_started(job, seen.host, seen.slot, seen.started_at or time.time())
        elif seen.status not in RUNS:
            self._waits_again(job)
        if self._keeper.is_news(job, seen):
            self._save(job)

    # -- the daemon

    def _flush(self) -> None:
        """Tell what there is to tell, in order; what follows each other and is alike, together."""
        told, self._told = self._told, []
        for frame in ending.frames(told):
            self._link.tell(frame)
        stopped, self._stopped = self._stopped, []
        if stopped:
            self._link.tell({"event": "stopped", "attempts": stopped})
