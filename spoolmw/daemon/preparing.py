"""What must stand on the disk before a batch is committed: results made whole, files synced.

As a rule one sync of everything covers a whole tick. A tick that took, or delivers, one single
file and nothing else (somebody waits for just this task) has that file synced alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spoolmw.daemon.batch import Batch
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.intake import Intake
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.room import DiskRoom, disk_full
from spoolmw.daemon.waits import Waits
from spoolmw.errors import BadResultFile
from spoolmw.model.events import Event
from spoolmw.model.task import Task

Apply = Callable[[Task, Event], Task]


class Preparation:
    """Gives what is to be delivered its trailer, and others what they need of it."""

    def __init__(
        self, delivery: Delivery, waits: Waits, intake: Intake, room: DiskRoom
    ) -> None:
        self._delivery = delivery
        self._waits = waits
        self._intake = intake
        self._room = room

    def prepare(self, batch: Batch, fresh: Sequence[Task], apply: Apply) -> None:
        """Write what `batch` delivers, then make that and the files of the `fresh` tasks durable.

        Raises DiskFull or SyncFailed.
        """
        self._write(batch, apply)
        if batch.needs_sync or len(fresh) + len(batch.staged) > 1:
            self._room.sync()
        elif fresh:
            self._room.sync(self._intake.moved(fresh[0]))
        elif batch.staged:
            path = batch.staged[0]
            self._room.sync((path, path.rpartition("/")[0]))

    def _write(self, batch: Batch, apply: Apply) -> None:
        for effect in batch.deliveries():
            ending = effect.task.ending
            batch.needs_sync |= ending is None or ending.files
            batch.needs_sync |= self._waits.is_kept(effect.task)
            try:
                batch.staged.append(self._delivery.prepare(effect.task))
                for other, event in self._waits.before_delivery(boot_s(), effect.task):
                    apply(other, event)
            except FileNotFoundError:
                batch.needs_sync = True  # repeated, and delivered already
            except BadResultFile as error:
                log.error("not delivered %s", fields(task=effect.task.id, why=error.what))
                batch.withdraw(effect)
            except OSError as error:
                raise disk_full(error) from error
