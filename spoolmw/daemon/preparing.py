"""Makes whole what a batch is about to deliver, before the commit whose sync covers it."""

from __future__ import annotations

from collections.abc import Callable

from spoolmw.daemon.batch import Batch
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.room import disk_full
from spoolmw.daemon.waits import Waits
from spoolmw.errors import BadResultFile
from spoolmw.model.events import Event
from spoolmw.model.task import Task

Apply = Callable[[Task, Event], Task]


class Preparation:
    """Gives what is to be delivered its trailer, and others what they need of it."""

    def __init__(self, delivery: Delivery, waits: Waits) -> None:
        self._delivery = delivery
        self._waits = waits

    def prepare(self, batch: Batch, apply: Apply) -> None:
        """Write what `batch` delivers; one sync covers it all. Raises DiskFull or SyncFailed."""
        for effect in batch.deliveries():
            batch.needs_sync = True
            try:
                self._delivery.prepare(effect.task)
                for other, event in self._waits.before_delivery(boot_s(), effect.task):
                    apply(other, event)
            except FileNotFoundError:
                continue  # repeated, and delivered already
            except BadResultFile as error:
                log.error("not delivered %s", fields(task=effect.task.id, why=error.what))
                batch.withdraw(effect)
            except OSError as error:
                raise disk_full(error) from error
