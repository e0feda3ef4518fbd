"""Daemons that break the commit protocol, to see that the sweep notices: `(VARIANT, spoolmwd's arguments)`.

Only tests start them. Each replaces one step of the real daemon before its `main` runs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from spoolmw.daemon import deliver, effects, intake, main, reactor, room
from spoolmw.daemon.table import Table
from spoolmw.model.effects import Effect, Start
from spoolmw.model.task import Task

SLOW_DISK_S = 0.1


def put_in_place(owner: object, name: str, wrong: Callable[..., object]) -> None:
    """Replace a step, which has to be there."""
    assert callable(getattr(owner, name))
    setattr(owner, name, wrong)


def unlink_before_commit() -> None:
    """A dropped file is removed before its task is committed; its copy is written after that."""
    unwritten: dict[str, bytes] = {}
    real_perform = effects.Performer.perform

    def claim(path: str | Path, target: str | Path) -> bool:
        is_plain = str(path).endswith(".task") and not os.path.isdir(f"{path}.in")
        if is_plain:
            unwritten[str(target)] = Path(path).read_bytes()
            os.unlink(path)
        elif os.path.lexists(path):
            os.rename(path, target)
        return True

    def perform(self: effects.Performer, todo: Sequence[Effect], table: Table) -> None:
        while unwritten:
            target, data = unwritten.popitem()
            Path(target).write_bytes(data)
        real_perform(self, todo, table)

    put_in_place(intake, "claim", claim)
    put_in_place(effects.Performer, "perform", perform)


def deliver_by_copying() -> None:
    """A result is copied into place; after a crash it is copied again, also when it was taken."""
    real_prepare = deliver.Delivery.prepare

    def publish(self: deliver.Delivery, task: Task) -> bool:
        name = deliver.staged_name(task)
        staged = Path(f"{self._stage}{name}")
        target = f"{self._folder(task.box)}{task.result_name}"
        files = Path(f"{staged}.files")
        if files.is_dir():
            files.rename(f"{target}.files")
        Path(f"{target}.result").write_bytes(staged.read_bytes())
        return True

    def prepare(self: deliver.Delivery, task: Task) -> str:
        if not os.path.lexists(f"{self._results}{task.box}/{task.result_name}.result"):
            return real_prepare(self, task)
        return f"{self._stage}{deliver.staged_name(task)}"

    put_in_place(deliver.Delivery, "publish", publish)
    put_in_place(deliver.Delivery, "prepare", prepare)


def start_before_commit() -> None:
    """An attempt is started before the journal knows of it."""
    real_commit = reactor.Reactor._commit_and_act

    def commit_and_act(self: reactor.Reactor) -> None:
        starts = [effect for effect in self._batch.effects if isinstance(effect, Start)]
        if starts:
            self._batch.effects = [e for e in self._batch.effects if not isinstance(e, Start)]
            self.performer.perform(starts, self.table)
            time.sleep(SLOW_DISK_S)
        real_commit(self)

    put_in_place(reactor.Reactor, "_commit_and_act", commit_and_act)


def forget_to_sync() -> None:
    """What a tick wrote is left to the page cache; only the journal is synced."""
    put_in_place(room.DiskRoom, "sync", lambda _self, _only=(): None)


VARIANTS: dict[str, Callable[[], None]] = {
    "unlink_before_commit": unlink_before_commit,
    "deliver_by_copying": deliver_by_copying,
    "start_before_commit": start_before_commit,
    "forget_to_sync": forget_to_sync,
}


if __name__ == "__main__":
    VARIANTS[sys.argv[1]]()
    sys.exit(main.main(sys.argv[2:]))
