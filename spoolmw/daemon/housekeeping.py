"""What must go with time: old results, the journal's story, tasks that ended long ago.

Runs in the reactor's thread, in small pieces, so that no tick waits long for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from spoolmw.config import Config
from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s, wall_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.resultnames import is_of, names_of
from spoolmw.daemon.table import Table
from spoolmw.errors import BadResultFile, DiskFull
from spoolmw.format.ids import is_task_id, made_at
from spoolmw.format.resultfile import files_folder
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.ballot import staged_results
from spoolmw.spooldir import checkpoints, markers
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.layout import Layout, active_of
from spoolmw.store.journal import Journal

EVERY_S = 60.0  #: between two looks
SOON_S = 0.2  #: between two pieces of much work
LEFT_OVER_S = 86400.0  #: after this nobody is still writing a file in `tmp/`
AT_ONCE_S = 3.0  #: of pruning by hand, before other work gets its turn
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
        self._done_log = done_log
        self._delivery = Delivery(layout)
        self._journal = journal
        self._table = table
        self._next = 0.0
        self._asked = (0.0, 0.0)  #: by hand: results, tasks that ended before these moments

    def run(self, now: float) -> None:
        """Do one piece when it is due; the next one follows soon while there is more to do."""
        if now < self._next:
            return
        more = False
        try:
            more = self._piece()
        except (DiskFull, OSError) as error:
            log.warning("housekeeping waits %s", fields(why=error))
        self._next = now + (SOON_S if more else EVERY_S)

    def _piece(self) -> bool:
        keep, now, more = self.config.retention, wall_s(), False
        results, story = self._asked
        if keep.results_s is not None:
            results = max(results, now - keep.results_s)
        if keep.story_s is not None:
            story = max(story, now - keep.story_s)
        if results:
            more |= self.prune_results(results)[0] >= PIECE
        if story:
            more |= self.prune_tasks(story) >= PIECE
        if keep.logs_s is not None:
            more |= self._shorten_log(now - keep.logs_s)
        if not more:
            self._asked = (0.0, 0.0)
            self._tidy_tmp()
        return more

    def _shorten_log(self, before: float) -> bool:
        """Forget deliveries of tasks submitted before `before` (wall clock) that have no story any more.

        True when some went: there may be more.
        """

        def over(ids: list[TaskId]) -> set[TaskId]:
            known = self._journal.known(ids)
            return {each for each in ids if each not in known and not _is_young(each, before)}

        half = self._layout.journal.with_name("done.log.part")  # where nobody else comes
        gone = self._done_log.shorten(over, half=half)
        if gone:
            log.info("pruned %s", fields(done_log_bytes=gone))
        return gone > 0

    def _tidy_tmp(self) -> None:
        """What clients that died while writing left in `tmp/`, once it is `LEFT_OVER_S` old."""
        old = wall_s() - LEFT_OVER_S
        gone = 0
        with os.scandir(self._layout.tmp) as entries:
            for entry in entries:
                if self._is_half_written(entry.name):
                    with contextlib.suppress(
                        OSError
                    ):  # its client was quicker, or closed it to us
                        gone += _remove_older(entry, old)
        if gone:
            log.info("tidied tmp %s", fields(half_written=gone))

    def _is_half_written(self, name: str) -> bool:
        """Not one of our own folders there, nor the inputs of a task that is being accepted."""
        if name in (self._layout.scratch.name, self._layout.output.name):
            return False
        return name.removesuffix(".in") not in self._table.tasks

    def prune_results(self, before: float, *, dry: bool = False) -> tuple[int, int]:
        """Remove up to PIECE results that were delivered before `before` (wall clock).

        Returns how many tasks were looked at, and the bytes of their result files.
        """
        size = 0
        old = self._journal.ended_before(before, limit=PIECE, with_results=True)
        for task in old:
            folder = self._layout.results / task.box
            for name in names_of(task):
                size += self._prune_result(folder / f"{name}.result", task.id, before, dry=dry)
        if old and not dry:
            self._journal.note_result_pruned(*(task.id for task in old))
            log.info("pruned %s", fields(results=len(old), bytes=size))
        return len(old), size

    @staticmethod
    def _prune_result(path: Path, task_id: TaskId, before: float, *, dry: bool) -> int:
        """Remove the result at `path` if it is old and this task's; its bytes.

        Another task's, or a file of somebody's, may have the name by now: that one stays.
        """
        try:
            found = path.lstat()
            if found.st_mtime >= before or not is_of(path, task_id):
                return 0
            if not dry:
                path.unlink(missing_ok=True)
                shutil.rmtree(files_folder(path), ignore_errors=True)
        except FileNotFoundError:
            return 0
        except (OSError, BadResultFile) as error:
            log.warning("left behind %s", fields(file=path, why=error))
            return 0
        return found.st_size

    def prune_tasks(self, before: float, *, dry: bool = False) -> int:
        """Forget up to PIECE tasks that ended before `before`: rows, story, what `retry` needs."""
        found = self._journal.ended_before(before, limit=PIECE, with_results=False)
        old = [
            task for task in found if task.id not in self._table.tasks
        ]  # else: retried just now
        if old and not dry:
            self._drop_files(task for task in old if task.state is not TaskState.DONE)
            for task in filter(saved.may_have, old):
                checkpoints.remove(self._layout, task.id)
            self._journal.forget([task.id for task in old])
            log.info("pruned %s", fields(tasks=len(old)))
        return len(old)

    def prune_checkpoints(self, before: float, *, dry: bool) -> tuple[int, int]:
        """Remove what ended and unknown tasks saved before `before`: of how many tasks, bytes."""
        gone, size = saved.prune(self._layout, self._table.tasks.__contains__, before, dry=dry)
        if gone and not dry:
            log.info("pruned %s", fields(checkpoints=gone, bytes=size))
        return gone, size

    def prune_by_hand(self, results: float, story: float, *, dry: bool) -> tuple[int, int, int]:
        """Prune what ended before these moments (0: nothing): results, their bytes, tasks.

        What takes longer than AT_ONCE_S is done piece by piece later; a dry run looks at the
        first PIECE only.
        """
        gone = size = told = 0
        until = boot_s() + AT_ONCE_S
        more = True
        while more:
            more = False
            if results:
                number, freed = self.prune_results(results, dry=dry)
                gone, size, more = gone + number, size + freed, number > 0
            if story:
                number = self.prune_tasks(story, dry=dry)
                told, more = told + number, more or number > 0
            if dry:
                break
            if more and boot_s() >= until:
                self._asked = (max(self._asked[0], results), max(self._asked[1], story))
                self._next = 0.0
                break
        return gone, size, told

    def _drop_files(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            markers.clear(self._layout, task.id)
            self._drop_results(task)
            if task.element is not None:
                continue  # its file is its array's
            (self._layout.active / active_of(task)).unlink(missing_ok=True)
            self._table.drop_inputs(task)
            for path in self._table.unneeded(task, self._layout):
                Path(path).unlink(missing_ok=True)

    def _drop_results(self, task: Task) -> None:
        """What replicas returned of a vote that was given up; nobody can accept it any more."""
        for attempt in staged_results(task.ballot) if task.ballot is not None else ():
            self._delivery.discard(str(attempt))


def _is_young(task_id: TaskId, before: float) -> bool:
    """Whether the time in an id is after `before`, and can be one: who makes own ids need not have one."""
    if not is_task_id(task_id):
        return False
    return before <= made_at(task_id) < wall_s() + LEFT_OVER_S


def _remove_older(entry: os.DirEntry[str], old: float) -> bool:
    """Remove an entry that was not written since `old`; whether it was. Raises OSError."""
    if entry.stat(follow_symlinks=False).st_mtime > old:
        return False
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        os.unlink(entry.path)
    return True
