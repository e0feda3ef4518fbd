"""The agent `fake`: runs nothing. Tests say what happens with finish(), crash() and unplug()."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.contract import Sink
from spoolmw.agents.kinds import kind_of
from spoolmw.agents.ledger import Ledger, Loss
from spoolmw.config import AgentConfig
from spoolmw.errors import AgentError
from spoolmw.model.agent import Capacity, CapacityChanged, Launch, Sighting
from spoolmw.model.attempt import Cause
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.runner import checkpoint, host, judge, outputs, reading, results, validation
from spoolmw.runner.order import Order

_DEFAULT_SLOTS = 2
_SLOT = "fake-1"


class FakeAgent:
    """Holds attempts until somebody says what became of them.

    It keeps the contract as every agent does: what finish() reports has its result in `stage/`.
    """

    judges = True

    def __init__(self, name: AgentName, root: Path, settings: AgentConfig, sink: Sink) -> None:
        self.name = name
        self._root = root
        self._slots = settings.slots or _DEFAULT_SLOTS
        self._sink = sink
        self._machine = settings.machine or f"machine of {name}"
        self._host = settings.machine or "fakehost"
        self._ledger = Ledger(self._host, self._machine)
        self._lock = threading.RLock()
        self._printed: dict[AttemptId, bytes] = {}
        self._plugged = True
        self._closed = False
        #: What was launched and stopped, in order; for tests to look at.
        self.launched: list[Launch] = []
        self.stopped: list[AttemptId] = []

    def capacity(self) -> Capacity:
        return Capacity(
            slots=self._slots if self._plugged else 0,
            host=self._host,
            machine=self._machine,
            platform="fake",
        )

    def launch(self, work: Sequence[Launch]) -> None:
        with self._lock:
            if self._closed or not self._plugged:
                raise AgentError(f"agent {self.name} is not plugged in", fix="call plug()")
            known = {each.attempt for each in self._ledger.sightings()}
            _, again = self._ledger.take(work)
            fresh = {each.attempt for each in self._ledger.sightings()} - known
            self.launched += [each for each in work if each.attempt in fresh]
        if again:
            self._sink(again)

    def stop(self, attempts: Sequence[AttemptId], *, is_wanted: bool = True) -> None:
        with self._lock:
            names = self._ledger.stop(attempts)
            self.stopped += [each for each in attempts if str(each) in names]
            successors = self._ledger.stopped(names)
        if successors:
            self.launch(successors)

    def release(self, attempts: Sequence[AttemptId]) -> None:
        with self._lock:
            self._ledger.release(attempts)

    def sightings(self) -> Iterable[Sighting]:
        with self._lock:
            return self._ledger.sightings()

    def tail(self, attempt: AttemptId, offset: int, stream: str = "stdout") -> bytes:
        text = self._printed.get(attempt, b"") if stream == "stdout" else b""
        return text[offset:]

    def close(self, grace_s: float) -> None:
        with self._lock:
            self._closed = True
            loss = Loss(Cause.SHUTDOWN, "the daemon stopped", dead=True)
            events = self._ledger.all_lost((), loss, counts=False)
        self._sink(events)

    # -- what a test says

    def own_slots(self) -> int:
        """As many as there are cores here."""
        return host.usable_cores()

    def set_slots(self, slots: int) -> None:
        """Have other room from now on."""
        self._slots = slots
        self._sink([CapacityChanged(agent=self.name, capacity=self.capacity())])

    def start(self, attempt: AttemptId) -> None:
        """The attempt is seen to run."""
        told = {
            "attempt": str(attempt),
            "slot": _SLOT,
            "pid": 0,
            "started": time.time(),
        }
        with self._lock:
            events = self._ledger.started([told])
        self._sink(events)

    def prints(self, attempt: AttemptId, text: bytes) -> None:
        """The attempt writes to its standard output."""
        self._printed[attempt] = self._printed.get(attempt, b"") + text

    def resume(self, attempt: AttemptId) -> None:
        """The attempt takes up the newest whole checkpoint, if there is one."""
        launch = next(each for each in self.launched if each.attempt == attempt)
        found, notes = checkpoint.newest(self._owner(attempt), "call", launch.since)
        told: dict[str, Any] = {"attempt": str(attempt), "message": "; ".join(notes)}
        if found is not None:
            told["saved"] = [*found.order, found.saved_at, found.size_bytes]
        self._tell("resumed", told)

    def save(self, attempt: AttemptId, sequence: int = 1, data: bytes = b"state") -> None:
        """The attempt saves its progress: a whole checkpoint with one file is there."""
        made = self._make_checkpoint(attempt, sequence, data)
        told = {"sequence": sequence, "bytes": made.size_bytes, "saved_at": made.saved_at}
        self._tell("checkpointed", {"attempt": str(attempt), **told})

    def save_unheard(self, attempt: AttemptId, sequence: int = 1) -> None:
        """The attempt saves, and nobody hears of it: its runner dies with the news."""
        self._make_checkpoint(attempt, sequence, b"state")

    def _make_checkpoint(
        self, attempt: AttemptId, sequence: int, data: bytes
    ) -> checkpoint.Checkpoint:
        order = (attempt.attempt, sequence)
        with checkpoint.Draft(self._owner(attempt), order, "call") as draft:
            pen = draft.pen("data")
            pen.write(data)
            draft.keep("data", pen)
            return draft.seal()

    def progress(self, attempt: AttemptId, fraction: float, text: str = "") -> None:
        """The attempt says how far it is."""
        told = {"attempt": str(attempt), "fraction": fraction, "text": text}
        self._tell("progress", told)

    def _owner(self, attempt: AttemptId) -> checkpoint.Owner:
        return checkpoint.Owner(str(self._root / "checkpoints"), attempt.task, attempt.replica)

    def _tell(self, event: str, told: dict[str, Any]) -> None:
        with self._lock:
            events = self._ledger.news(event, [told])
        if events:
            self._sink(events)

    def finish(self, attempt: AttemptId, ended: results.Ended | None = None) -> None:
        """The attempt ends by itself: as a success without a value, or as `ended` says."""
        with self._lock:
            launch = next(each for each in self.launched if each.attempt == attempt)
        how = ended if ended is not None else results.Ended()
        at = time.time()
        told = results.report(str(attempt), launch.token, how, (at, at))
        stage = self._root / "stage"
        if how.outcome != "lost":
            size, digest = results.write(
                str(stage / str(attempt)), launch.spec.name, str(attempt), how
            )
            told.update(body_bytes=size, digest=digest, slot=_SLOT)
        if how.files is not None:
            outputs.fresh(str(stage / f"{attempt}.files"))
        with self._lock:
            events = self._ledger.ended([told])
        self._sink(events)

    def judge(self, attempt: AttemptId, found: judge.Judgement | None = None) -> None:
        """A validation ends: as what a real one finds in `stage/`, or as `found` says."""
        launch = next(each for each in self.launched if each.attempt == attempt)
        told = results.report(str(attempt), launch.token, results.Ended(), (time.time(),) * 2)
        if found is None:
            order = Order(
                str(attempt), launch.token, launch.path, judge=kind_of(launch)["judge"]
            )
            task = reading.read(str(self._root / launch.path))
            found = validation.compare(order, task, f"{self._root}/stage/")
        told["judgement"] = validation.as_tree(found)
        with self._lock:
            events = self._ledger.ended([told])
        self._sink(events)

    def crash(self, attempt: AttemptId) -> None:
        """The attempt's worker is killed from outside."""
        self.finish(attempt, results.lost("vanished", "killed by the test"))

    def unplug(self, message: str = "unplugged") -> None:
        """The agent loses its host, with all that runs there."""
        with self._lock:
            self._plugged = False
            ran = [str(each.attempt) for each in self._ledger.sightings()]
            events = self._ledger.all_lost(ran, Loss(Cause.CONNECTION, message, dead=False))
        capacity = CapacityChanged(agent=self.name, capacity=self.capacity(), reason=message)
        self._sink([*events, capacity])

    def plug(self) -> None:
        """The host is back."""
        self._plugged = True
        self._sink([CapacityChanged(agent=self.name, capacity=self.capacity())])
