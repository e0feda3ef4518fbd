"""What must go with time: old results, the journal's story, tasks that ended long ago.

Runs in the reactor's thread, rarely: a pass over a million ended tasks takes seconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from spoolmw.config import Config
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir import markers
from spoolmw.spooldir.layout import Layout, active_name
from spoolmw.store.journal import Journal
from spoolmw.store.upkeep import Upkeep

EVERY_S = 3600.0  #: between two passes


class Housekeeping:
    """Applies `[retention]`; `prune` does the same by hand."""

    def __init__(
        self,
        layout: Layout,
        config: Config,
        journal: Journal,
        table: Table,
    ) -> None:
        self.config = config
        self._layout = layout
        self._upkeep = Upkeep(journal)
        self._table = table
        self._next = 0.0

    def run(self, now: float) -> None:
        """Apply the retention when that is due."""
        if now < self._next:
            return
        self._next = now + EVERY_S
        keep = self.config.retention
        if keep.results_s is not None:
            self.prune_results(wall_s() - keep.results_s)
        if keep.story_s is not None:
            self.prune_tasks(wall_s() - keep.story_s)

    def prune_results(self, before: float, *, dry: bool = False) -> tuple[int, int]:
        """Remove results that were delivered before `before` (wall clock) and still lie there.

        Returns how many, and their bytes (without the folders of files).
        """
        gone = size = low = 0
        while True:
            tasks, low = self._upkeep.ended_before(before, low)
            for task in tasks:
                path = self._layout.results / task.box / f"{task.result_name}.result"
                if not self._is_old(path, before):
                    continue
                gone += 1
                size += path.stat().st_size
                if not dry:
                    path.unlink(missing_ok=True)
                    files = self._layout.results / task.box / f"{task.result_name}.files"
                    shutil.rmtree(files, ignore_errors=True)
            if not low:
                break
        if gone and not dry:
            log.info("pruned %s", fields(results=gone))
        return gone, size

    @staticmethod
    def _is_old(path: Path, before: float) -> bool:
        """The file is there and was written before: a later task's may have the same name."""
        try:
            return path.stat().st_mtime < before
        except FileNotFoundError:
            return False

    def prune_tasks(self, before: float, *, dry: bool = False) -> int:
        """Forget tasks that ended before `before`: their rows, their story, what `retry` would need."""
        gone = low = 0
        while True:
            tasks, low = self._upkeep.ended_before(before, low)
            gone += len(tasks)
            if tasks and not dry:
                self._drop_files(task for task in tasks if task.state is not TaskState.DONE)
                self._upkeep.forget(tasks)
            if not low:
                break
        if gone and not dry:
            log.info("pruned %s", fields(tasks=gone))
        return gone

    def _drop_files(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            rel = active_name(task.id, task.box, task.dropped)
            (self._layout.active / rel).unlink(missing_ok=True)
            markers.clear(self._layout, task.id)
            self._table.drop_inputs(task)
            for item in task.spec.files.inputs:
                if item.digest not in self._table.inputs:
                    (self._layout.inputs / item.digest).unlink(missing_ok=True)
