"""What must go with time: old results, the journal's story, tasks that ended long ago.

Runs in the reactor's thread, a bounded piece once in `EVERY_S`, so that no tick waits for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from spoolmw.config import Config
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir import markers
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.layout import Layout, active_name
from spoolmw.store.journal import Journal

EVERY_S = 60.0
PIECE = 1000  #: tasks looked at in one piece


class Housekeeping:
    """Applies `[retention]`; `prune` does the same by hand."""

    def __init__(
        self,
        layout: Layout,
        config: Config,
        journal: Journal,
        table: Table,
        done_log: DoneLog,
    ) -> None:
        self.config = config
        self._layout = layout
        self._journal = journal
        self._table = table
        self._done_log = done_log
        self._next = 0.0

    def run(self, now: float) -> None:
        """Do one piece when it is due."""
        if now < self._next:
            return
        self._next = now + EVERY_S
        keep = self.config.retention
        if keep.results_s is not None:
            self.prune_results(wall_s() - keep.results_s)
        if keep.story_s is not None:
            self.prune_tasks(wall_s() - keep.story_s)

    def prune_results(self, before: float, *, dry: bool = False) -> int:
        """Remove result files that were delivered before `before` (wall clock) and still lie there."""
        gone = 0
        for task in self._journal.ended_before(before, limit=PIECE, with_results=True):
            path = self._layout.results / task.box / f"{task.result_name}.result"
            if path.exists():
                gone += 1
                if not dry:
                    path.unlink(missing_ok=True)
                    files = self._layout.results / task.box / f"{task.result_name}.files"
                    shutil.rmtree(files, ignore_errors=True)
            if not dry:
                self._journal.note_result_pruned(task.id)
        if gone and not dry:
            log.info("pruned %s", fields(results=gone))
        return gone

    def prune_tasks(self, before: float, *, dry: bool = False) -> int:
        """Forget tasks that ended before `before`: their rows, their story, what `retry` would need."""
        old = self._journal.ended_before(before, limit=PIECE, with_results=False)
        if dry or not old:
            return len(old)
        self._drop_files(task for task in old if task.state is not TaskState.DONE)
        self._journal.forget([task.id for task in old])
        log.info("pruned %s", fields(tasks=len(old)))
        return len(old)

    def _drop_files(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            rel = active_name(task.id, task.box, task.dropped)
            (self._layout.active / rel).unlink(missing_ok=True)
            markers.clear(self._layout, task.id)
            self._table.drop_inputs(task)
            for item in task.spec.files.inputs:
                if item.digest not in self._table.inputs:
                    (self._layout.inputs / item.digest).unlink(missing_ok=True)


