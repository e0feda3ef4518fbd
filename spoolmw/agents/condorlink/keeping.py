"""Brings home what the pool keeps of a job's checkpoints, while it runs and when it ends there.

The schedd has what the job handed over last, and what it saved when it was evicted. Where it is on
this machine that lies in a folder of its own, below its SPOOL; from one elsewhere it is fetched;
with shared files it is in the spool's folder of the job.

Rule: what cannot be had is not there; a checkpoint counts when its digests are right, wherever it
was read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from spoolmw.agents.batch import saving
from spoolmw.agents.condorlink.brief import Brief
from spoolmw.agents.condorlink.ending import Told
from spoolmw.agents.condorlink.jobs import Job
from spoolmw.agents.condorlink.reconcile import Seen
from spoolmw.agents.condorlink.schedd import Schedd, ScheddTrouble
from spoolmw.runner import sandbox

_NOTE = "schedd-spool"  #: in the agent's folder: where the schedd keeps files
_PARTS = 10_000  #: folders of a level in the schedd's SPOOL


class Keeper:
    """What is kept of one agent's jobs."""

    def __init__(self, brief: Brief, beat: Callable[[], None]) -> None:
        """`beat` says that this process lives, also while it copies much."""
        self._beat = beat
        self._root = brief.root
        self._pool = brief.pool
        self._note = brief.home / _NOTE
        self._schedd: Schedd | None = None
        self._spool = ""
        with contextlib.suppress(OSError, ValueError):
            self._spool = self._note.read_text().strip()

    def meet(self, schedd: Schedd) -> None:
        """Ask a schedd that was found where it keeps what jobs saved."""
        self._schedd = schedd
        if self._pool.is_remote or self._pool.shared_files:
            return
        found = schedd.folder()
        if found and found != self._spool:
            self._spool = found
            with contextlib.suppress(OSError):  # it is asked for again
                self._note.write_text(f"{found}\n")

    def is_news(self, job: Job, seen: Seen) -> bool:
        """Whether the queue says that something was saved since it was asked last."""
        before, job.kept = job.kept, seen.kept
        number, starts = seen.kept
        return self._pool.shared_files or (before != job.kept and (number >= 0 or starts > 1))

    def bring(self, job: Job) -> list[Told]:
        """Its newest checkpoint, if it is not in the spool yet. Raises OSError: no room for it."""
        if self._pool.is_remote and self._schedd is not None and job.id is not None:
            with contextlib.suppress(ScheddTrouble):  # what was not made yet cannot be fetched
                self._schedd.fetch(job.id)
        return self.salvage(job)

    def salvage(self, job: Job) -> list[Told]:
        """The same of what can be read without the schedd. Raises OSError."""
        folder = self._folder(job)
        saved = (
            None if folder is None else saving.bring(folder, self._root, job.given, self._beat)
        )
        return [] if saved is None else [("checkpointed", saved)]

    def _folder(self, job: Job) -> Path | None:
        if self._pool.is_remote or self._pool.shared_files:
            return job.home / sandbox.CHECKPOINTS
        if not self._spool or job.id is None:
            return None
        cluster, proc = job.id
        kept = f"{cluster % _PARTS}/{proc % _PARTS}/cluster{cluster}.proc{proc}.subproc0"
        return Path(os.path.join(self._spool, kept, sandbox.CHECKPOINTS))
