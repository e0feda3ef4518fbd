"""The runner of a keeper from start to start: begun, given orders, buried, begun again.

Rule: a runner that dies is started again, with a pause that doubles.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Protocol

from . import charge, host, process, wire

_FIRST_PAUSE_S = 0.1  #: before a dead runner is started again; doubles
_LONGEST_PAUSE_S = 30.0
_HEALTHY_S = 60.0  #: a runner that lived so long starts the pauses anew


class Watcher(Protocol):
    """Listens to a runner from its start to its end."""

    def __call__(self, runner: charge.Charge, *, begins: bool) -> None: ...


class Callbacks(NamedTuple):
    """Who is told what of a runner."""

    watch: Watcher
    heard: Callable[[bytes], None]  #: the payload of a frame
    waiting: Callable[[], List[Any]]  #: the work that a new one is given
    died: Callable[[str], None]  #: how; nothing of it is left
    changed: Callable[[bool, str], None]  #: whether there is one, and why not


class Hired:
    """At most one runner, and the settings it should have."""

    def __init__(self, archive: str, root: str, callbacks: Callbacks) -> None:
        self._archive = archive
        self._root = root
        self._tell = callbacks
        self._setup: Optional[Dict[str, Any]] = None
        self._runner: Optional[charge.Charge] = None
        self._pause_s = _FIRST_PAUSE_S
        self._is_worn = False  #: it was started for other settings
        self._is_closing = False
        self.start_at = math.inf  #: monotonic clock

    @property
    def is_there(self) -> bool:
        return self._runner is not None

    def want(self, setup: Dict[str, Any]) -> None:
        """These are the settings from now on; what runs goes on as it was begun."""
        before, self._setup = self._setup, setup
        if before is None:
            self.start_at = 0.0
        elif {**before, "slots": 0} != {**setup, "slots": 0}:
            self._is_worn = True
        elif before["slots"] != setup["slots"]:
            self.order({"do": "slots", "slots": setup["slots"]})

    def set_slots(self, slots: int) -> None:
        """So many from now on; 0: as many as there are cores."""
        if self._setup is not None:
            self.want({**self._setup, "slots": slots or host.usable_cores()})

    def order(self, tree: Dict[str, Any]) -> None:
        """Tell it something; where there is none, the next one is given all that waits."""
        if self._runner is not None:
            with contextlib.suppress(wire.Closed):  # its pidfd tells too
                self._runner.stream.send(wire.json_frame(tree))

    def close(self, grace_s: float) -> None:
        """End it within the grace, and begin no other."""
        self._is_closing = True
        self.start_at = math.inf
        self.order({"do": "close", "grace_s": grace_s})

    def turn(self, now: float, *, is_busy: bool) -> None:
        """Start one if that is due; one with old settings makes way when nothing runs."""
        if self._is_worn and not is_busy and self._runner is not None:
            self.bury()
        if now >= self.start_at:
            self._start(now)

    def flush(self) -> Optional[wire.Stream]:
        """Send what waits; its stream, if there is a runner."""
        if self._runner is None:
            return None
        with contextlib.suppress(wire.Closed):
            self._runner.stream.flush()
        return self._runner.stream

    def hear(self) -> None:
        """Take in what it said."""
        if self._runner is None:
            return
        try:
            frames = self._runner.stream.receive()
        except (wire.Closed, wire.WireError):
            self.bury()
            return
        for _, payload in frames:
            self._tell.heard(payload)

    def kill(self) -> None:
        """End it at once."""
        if self._runner is not None:
            self._runner.kill()

    def bury(self) -> None:
        """It is gone: end what is left of it, and tell."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._hear_the_rest(runner)
        self._tell.watch(runner, begins=False)
        manner = runner.end()
        process.end_children()
        now = time.monotonic()
        if now - runner.started_at > _HEALTHY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._tell.died(f"the runner died ({manner})")
        charge.clean(self._root)
        if self._is_closing:
            return
        if self._is_worn:
            self.start_at = now
        else:
            self._tell.changed(False, f"the runner died ({manner})")  # noqa: FBT003
            self._wait(now)

    def _start(self, now: float) -> None:
        assert self._setup is not None
        self.start_at = math.inf
        self._is_worn = False
        try:
            self._runner = charge.Charge(self._archive, self._root, self._setup)
        except OSError as error:
            self._wait(now)
            why = f"the runner could not be started: {error.strerror}"
            self._tell.changed(False, why)  # noqa: FBT003
            return
        self._tell.watch(self._runner, begins=True)
        waiting = self._tell.waiting()
        if waiting:
            self.order({"do": "launch", "work": waiting})
        self._tell.changed(True, "")  # noqa: FBT003

    def _wait(self, now: float) -> None:
        self.start_at = now + self._pause_s
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)

    def _hear_the_rest(self, runner: charge.Charge) -> None:
        """What a dead runner said last is still worth hearing."""
        with contextlib.suppress(wire.Closed, wire.WireError):
            while True:
                frames = runner.stream.receive()
                if not frames:
                    return
                for _, payload in frames:
                    self._tell.heard(payload)
