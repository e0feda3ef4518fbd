"""The stream between the loop of a link and the daemon: a thread hears, a thread tells."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

from spoolmw.agents.carrier.frames import DaemonSide
from spoolmw.runner import wire

_LONG_S = 3600.0


class Mail:
    """Belongs to the loop's thread, which never waits for the daemon."""

    def __init__(
        self,
        daemon: DaemonSide,
        hear: Callable[[dict[str, Any]], None],
        ended: Callable[[], None],
    ) -> None:
        """`hear` gets each frame, `ended` is called when there is no daemon any more; both in the
        thread of the loop that runs now."""
        self._daemon = daemon
        self._hear = hear
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._letters: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for each in (self._listen, self._write):
            threading.Thread(target=each, daemon=True).start()

    def tell(self, tree: dict[str, Any]) -> None:
        """Send a frame; in the order of the calls."""
        self._letters.put(tree)

    def _listen(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is over
            try:
                while True:
                    for told in self._daemon.hear(_LONG_S):
                        self._loop.call_soon_threadsafe(self._hear, told)
            except wire.Closed:
                self._loop.call_soon_threadsafe(self._ended)

    def _write(self) -> None:
        with contextlib.suppress(wire.Closed):  # who listens sees it too
            while True:
                self._daemon.tell(self._letters.get())
