"""Keeps the values that successors take: in `values/ID` a hard link of a predecessor's result file.

It is made before the result is published, so that its consumer may take that away at once, and
removed when no task needs it any more. The daemon never reads the value: a worker does.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from spoolmw.daemon.deliver import staged_name
from spoolmw.daemon.resultnames import is_of
from spoolmw.daemon.room import SCARCE
from spoolmw.errors import BadResultFile
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir.layout import Layout


class Values:
    """The folder `values/`. Keeping and dropping may be repeated."""

    def __init__(self, layout: Layout) -> None:
        self._values = f"{layout.values}/"
        self._stage = f"{layout.stage}/"
        self._results = f"{layout.results}/"

    def keep_staged(self, task: Task) -> None:
        """`task` is about to be delivered: keep what it leaves. Raises OSError."""
        self._link(self._stage + staged_name(task), task.id)

    def keep(self, task: Task) -> bool:
        """Keep the value of a task whose end is decided, if it can still be had. Raises OSError.

        Only scarcity is an error: a result that its consumer took or changed is not there.
        """
        if task.state is TaskState.DONE and self.has(task.id):
            return True
        delivered = f"{self._results}{task.box}/{task.result_name}.result"
        for source in (self._stage + staged_name(task), delivered):
            try:
                if source is delivered and not is_of(source, task.id):
                    return False
                self._link(source, task.id)
            except FileNotFoundError:
                continue
            except BadResultFile:
                return False
            except OSError as error:
                if error.errno in SCARCE:
                    raise
                return False
            return True
        return False

    def has(self, task_id: TaskId) -> bool:
        """The value of this task is kept."""
        return os.path.lexists(self._values + task_id)

    def drop(self, task_id: str) -> None:
        """Nobody needs it any more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._values + task_id)

    def kept(self) -> list[str]:
        """The ids of the tasks whose values are kept, and names of what a crash left half done."""
        return os.listdir(self._values)

    def _link(self, source: str, task_id: TaskId) -> None:
        """What an earlier attempt left, before a crash, is replaced."""
        target = self._values + task_id
        try:
            if os.path.lexists(target):
                if os.path.samestat(os.lstat(source), os.lstat(target)):
                    return
                os.unlink(target)
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in SCARCE:
                raise
            _copy(source, target)  # there are no hard links here, or too many of this file


def _copy(source: str, target: str) -> None:
    folder, _, name = target.rpartition("/")
    half = f"{folder}/.{name}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(half)
    shutil.copyfile(source, half, follow_symlinks=False)
    os.rename(half, target)
