"""The engine `condor`: each pilot is a job of HTCondor's, found again by its ad.

Rule 1: a pilot is started once. What HTCondor evicted and would start again is taken out of the
queue, and counts as ended.
Rule 2: a job whose removal takes longer than it may (its host is frozen) is forgotten by force:
whoever it was is let in no more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import htcondor2

from spoolmw.agents import pythonbundle
from spoolmw.agents.condorlink import pilotjob
from spoolmw.agents.condorlink.pilotjob import Files, Ours, Terms
from spoolmw.agents.condorlink.reconcile import Status
from spoolmw.agents.condorlink.schedd import Schedd, ScheddTrouble
from spoolmw.agents.condorlink.submitting import PYTHONS, launcher
from spoolmw.agents.pilotlink.engine import WAITS, EngineTrouble, Job, Pilot, Post
from spoolmw.errors import AgentError

_SPOOLING_S = 60.0  #: for the files of a job to reach a schedd elsewhere
_FORCE_S = 20.0  #: beyond the grace
_MOST_SAID_BYTES = 500
_KEPT = 50  #: files with last words

T = TypeVar("T")


class PilotEngine:
    """Fulfils `engine.Engine`."""

    poll_s = 5.0

    def __init__(self, post: Post) -> None:
        """Publishes what all pilots need. Raises EngineTrouble, OSError."""
        self._terms = Terms(**post.options)
        self._post = post._replace(pythons=(*post.pythons, *PYTHONS))
        self._schedd = Schedd(self._terms.schedd, self._terms.collector, self._terms.spool_id)
        self._is_connected = False
        self._files = self._published()
        self._asked: dict[tuple[int, int], float] = {}  #: to end, and when
        self._spooling: dict[tuple[int, int], float] = {}  #: seen so since

    def submit(self, pilots: Sequence[Pilot]) -> None:
        group = pilotjob.group(pilots, self._post, self._terms, self._files)
        self._do(lambda: self._schedd.submit(group, spool=self._terms.is_remote))

    def listed(self) -> Sequence[Job]:
        there = [pilotjob.read(each) for each in self._do(self._ads)]
        ids = {each.id for each in there}
        self._asked = {each: at for each, at in self._asked.items() if each in ids}
        jobs = self._settled(there)
        self._end([each for each in there if each.job is None])
        self._tidy({each.digest for each in jobs})
        return jobs

    def remove(self, jobs: Sequence[Job]) -> None:
        self._remove(
            [_number(each) for each in jobs], f"{pilotjob.BY_US} it is not needed any more"
        )

    def last_words(self, digest: str) -> str:
        with contextlib.suppress(OSError):
            text = (self._post.folder / pilotjob.said(digest)).read_text(errors="replace")
            if text.strip():
                return " ".join(text[-_MOST_SAID_BYTES:].split())
        return _told_by(self._post.folder / pilotjob.log(digest))

    # -- the parts

    def _published(self) -> Files:
        post = self._post
        archive, program, bundle = post.archive, launcher(post.folder), None
        if self._terms.wants_bundle:
            try:
                bundle = pythonbundle.publish(post.spool / "runner").path
            except AgentError as error:
                raise EngineTrouble(str(error)) from error
        every = [each for each in (archive, program, bundle) if each is not None]
        size = sum(each.stat().st_size for each in every)
        return Files(str(program), str(archive), str(bundle or ""), size)

    def _ads(self) -> list[Any]:
        return self._schedd.ads(pilotjob.WANTED)

    def _settled(self, there: Sequence[Ours]) -> list[Job]:
        """The jobs as they are told: files on their way to the schedd are given some time."""
        now = time.monotonic()
        since = {
            each.id: self._spooling.get(each.id, now) for each in there if each.is_spooling
        }
        self._spooling = since
        jobs = []
        for each in there:
            if each.job is None:
                continue
            is_late = now > since.get(each.id, 0.0) + _SPOOLING_S
            if each.is_spooling and not is_late:
                jobs.append(each.job._replace(state=WAITS, why="its files are on their way"))
            else:
                jobs.append(each.job)
        return jobs

    def _end(self, over: Sequence[Ours]) -> None:
        """Take out of the queue what is not to run, with what it leaves."""
        if not over:
            return
        for each in over:
            if each.status is Status.COMPLETED and self._terms.is_remote:
                with contextlib.suppress(ScheddTrouble):
                    self._schedd.fetch(each.id)
        self._remove([each.id for each in over], f"{pilotjob.BY_US} it is over")

    def _remove(self, ids: Sequence[tuple[int, int]], why: str) -> None:
        now = time.monotonic()
        patience_s = self._post.grace_s + _FORCE_S
        fresh = [each for each in ids if each not in self._asked]
        stubborn = [
            each for each in ids if each in self._asked and now > self._asked[each] + patience_s
        ]
        if fresh:
            self._do(lambda: self._schedd.remove(fresh, why))
            self._asked.update(dict.fromkeys(fresh, now))
        if stubborn:
            self._do(lambda: self._schedd.forget(stubborn, why))

    def _do(self, act: Callable[[], T]) -> T:
        """Raises EngineTrouble; the next call looks for the schedd anew then."""
        try:
            if not self._is_connected:
                self._schedd.connect()
                self._is_connected = True
            return act()
        except ScheddTrouble as trouble:
            self._is_connected = False
            raise EngineTrouble(str(trouble)) from trouble

    def _tidy(self, there: set[str]) -> None:
        """Remove the oldest last words of jobs that are over."""
        old = [
            each
            for each in self._post.folder.glob("said-*")
            if each.stem.removeprefix("said-") not in there
        ]
        old.sort(key=lambda path: path.stat().st_mtime)
        for each in old[:-_KEPT]:
            each.unlink(missing_ok=True)


def _number(job: Job) -> tuple[int, int]:
    cluster, _, proc = job.id.partition(".")
    return int(cluster), int(proc)


def _told_by(log: Path) -> str:
    """What HTCondor's own log says of a job's end, on one line."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    with contextlib.suppress(htcondor2.HTCondorException, RuntimeError, OSError):
        if log.exists():
            events = htcondor2.JobEventLog(str(log)).events(stop_after=0)
            found = [(int(each.type), each) for each in events]
    return pilotjob.ended(found)
