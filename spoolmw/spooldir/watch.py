"""Rings when something appears in a folder. A hint only: whoever listens also looks by itself.

Each event costs 100 to 300 microseconds in watchdog's threads, so a listener that is busy
anyway disarms the bell (about half a millisecond) and polls. Nothing rings for what happened
before `arm` returned: look once after it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants

_APPEARED: tuple[type[FileSystemEvent], ...] = (
    FileMovedEvent,
    FileCreatedEvent,
    DirMovedEvent,
    DirCreatedEvent,
)

# It reports its own races at every disarm, and nobody could do anything about them.
logging.getLogger("watchdog").addHandler(logging.NullHandler())
logging.getLogger("watchdog").propagate = False


class _Emitter(InotifyFullEmitter):
    """Hears only what appears, and tells it at once: one thread less to wake for each event.

    Of files that leave watchdog would wait half a second for where they went, and hold back
    what comes after them.
    """

    def __init__(
        self, *args: Any, tell: Callable[[FileSystemEvent], None], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._tell = tell

    def queue_event(self, event: FileSystemEvent) -> None:
        """Something happened."""
        if isinstance(event, _APPEARED):
            self._tell(event)

    def get_event_mask_from_filter(self) -> Any:
        """What the kernel is asked for."""
        appeared = InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_CREATE
        return appeared | InotifyConstants.IN_DELETE_SELF


class _Observer(InotifyObserver):
    """One inotify instance of our own: a shared one would not survive a fork."""

    def __init__(self, tell: Callable[[FileSystemEvent], None]) -> None:
        super().__init__(generate_full_events=True)
        self._emitter_class = functools.partial(_Emitter, tell=tell)  # type: ignore[assignment]


class _Handler(FileSystemEventHandler):
    def __init__(
        self, folder: str, on_ring: Callable[[], None], on_arrival: Callable[[str], None] | None
    ) -> None:
        self._start = len(folder) + 1
        self._on_ring = on_ring
        self._on_arrival = on_arrival

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called in watchdog's thread for each event."""
        if self._on_arrival is not None and isinstance(event, FileMovedEvent):
            place = os.fsdecode(event.dest_path or event.src_path)
            self._on_arrival(place[self._start :])
        self._on_ring()


class Doorbell:
    """Calls `on_ring` from a thread of its own when something appears in the folder `path`.

    `on_arrival` is told the names (relative to the folder) that appeared by rename, and so
    are complete, before the ring. Neither may raise or block.
    """

    def __init__(
        self,
        path: Path,
        *,
        recursive: bool = False,
        on_ring: Callable[[], None],
        on_arrival: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = str(path.absolute())
        self._recursive = recursive
        self._handler = _Handler(self._folder, on_ring, on_arrival)
        self._observer: _Observer | None = None
        self._watch: ObservedWatch | None = None
        self._pid = 0

    @property
    def is_armed(self) -> bool:
        """It rings (in this process)."""
        return self._watch is not None and self._pid == os.getpid()

    def arm(self) -> bool:
        """Ring from now on. False where there is nothing to watch or the kernel has no more watches."""
        if self.is_armed:
            return True
        try:
            self._watch = self._running().schedule(
                self._handler,
                self._folder,
                recursive=self._recursive,
                event_filter=list(_APPEARED),
            )
        except OSError:
            self._watch = None
        return self._watch is not None

    def disarm(self) -> None:
        """Stop ringing; a ring may still be under way."""
        watch, self._watch = self._watch, None
        if watch is not None and self._observer is not None and self._pid == os.getpid():
            self._observer.unschedule(watch)

    def close(self) -> None:
        """Stop ringing for good, and the threads with it."""
        self.disarm()
        if self._observer is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError):  # its threads then end with the process
                self._observer.stop()
                self._observer.join()
        self._observer = None

    def _running(self) -> _Observer:
        if self._observer is None or self._pid != os.getpid():
            self._observer = _Observer(self._handler.dispatch)
            self._observer.start()
            self._pid = os.getpid()
        return self._observer
