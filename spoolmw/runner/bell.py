"""What whoever had an attempt started wants of it now, and how one hears of it."""

from __future__ import annotations

import contextlib
import signal
import socket
from enum import Enum
from typing import Any, Dict

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Wish(Enum):
    """What shall become of the attempt."""

    GO = "go"
    PAUSE = "pause"  #: stand still, keep all in memory
    END = "end"  #: save what can be saved, and end
    ABORT = "abort"  #: end at once; nobody wants to hear of it any more


class Bell:
    """Rings when the wish has changed; a batch system signals that a job shall end."""

    def __init__(self) -> None:
        self._ear, self._clapper = socket.socketpair()
        self._ear.setblocking(False)  # noqa: FBT003
        self._clapper.setblocking(False)  # noqa: FBT003
        self._was_signalled = False
        signal.set_wakeup_fd(self._clapper.fileno())
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def fileno(self) -> int:
        return self._ear.fileno()

    @property
    def wish(self) -> Wish:
        """What is wanted now."""
        return Wish.END if self._was_signalled else Wish.GO

    @property
    def wants_end(self) -> bool:
        """Whether it shall end, in one way or the other."""
        return self.wish in (Wish.END, Wish.ABORT)

    def ring(self) -> None:
        """Wake who waits for it; from any thread."""
        with contextlib.suppress(BlockingIOError):
            self._clapper.send(b"\0")

    def hush(self) -> None:
        """It was heard."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)

    def news(self, event: str, told: Dict[str, Any]) -> None:
        """The attempt says something of itself; batch systems do not listen."""

    def _note(self, _number: int, _frame: object) -> None:
        self._was_signalled = True
