"""What agents share whose host has a keeper: one host each. Attempts outlive the daemon.

Rule 1: while a host cannot be reached its attempts are neither dead nor alive. After `give_up`
they count as lost, so that they run elsewhere; if they report after all, the first answer counts.
Of a host that says what no keeper says they are lost at once.
Rule 2: what a host's hello does not speak of does not run there.
Rule 3: an attempt is released when nobody waits for its report, and only then: a host repeats
what it was not released from.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spoolmw.agents.carrier import taking
from spoolmw.agents.carrier.bell import Bell
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.carrier.tails import Paired, Tails
from spoolmw.agents.carrier.trouble import reason
from spoolmw.agents.contract import AgentEvent, Sink
from spoolmw.agents.hostagent import HostAgent
from spoolmw.agents.ledger import Ledger, Loss
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Capacity, CapacityChanged, Launch
from spoolmw.model.attempt import Cause
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.runner import wire

_log = logging.getLogger("spoolmw")

_FIRST_PAUSE_S = 0.2  #: before a dead link process is started again; doubles
_LONGEST_PAUSE_S = 30.0
_JOIN_S = 5.0
_MOST_GROUPS = 1000  #: of attempts, in one frame


class Reach(NamedTuple):
    """Which host it is, and the link to it, which a family shares."""

    link: Link
    label: str  #: of the host in its section, and in messages
    host: str  #: its name


class CarriedAgent(HostAgent):
    """One host. One thread of its own reads what the link says. `_brief` is the kind's own."""

    judges = False

    def __init__(
        self, name: AgentName, reach: Reach, root: Path, settings: AgentConfig, sink: Sink
    ) -> None:
        super().__init__(name, sink, Ledger(reach.host))
        self._label = reach.label
        self._host = reach.host
        self._root = root.resolve()
        self._settings = settings
        self._link = reach.link
        self._slots = settings.slots
        self._memory_bytes = settings.memory_bytes
        self._stream: wire.Stream | None = None
        self._session = 0  #: number of the connection; 0: there is none
        self._why_down = "not connected yet"
        self._give_up_at = time.monotonic() + settings.give_up_s
        self._facts: dict[str, Any] = {}
        self._tails = Tails(self._lock)
        self._bell = Bell()
        self._dead: wire.Stream | None = None  #: the newest that ended
        self._thread = threading.Thread(target=self._serve, name=f"agent {name}", daemon=True)

    def adopt(self, work: Sequence[Launch], given_up: Sequence[Launch] = ()) -> None:
        """Begin to serve; `work` is what ran here when an earlier daemon ended."""
        with self._lock:
            self._ledger.take(work)
            self._ledger.given_up.take(given_up)
        self._thread.start()

    # -- the contract

    def capacity(self) -> Capacity:
        facts = self._facts
        return Capacity(
            slots=0 if self._why_down else self._slots or int(facts.get("cores", 0)),
            memory_bytes=self._memory_bytes or int(facts.get("memory", 0)),
            gpus=len(self._settings.gpus),
            queue=self._ahead,
            host=self._host,
            machine=str(facts.get("machine", "")),
            owner=self._settings.owner,
            platform=str(facts.get("platform", "")),
            pythons=tuple(facts.get("pythons", ())),
        )

    def stop(self, attempts: Sequence[AttemptId], *, is_wanted: bool = True) -> None:
        with self._lock:
            names = self._ledger.stop(attempts, is_reachable=bool(self._session))
            if names:  # without a connection the next hello tells whether they still run
                self._tell({"do": "stop", "attempts": names, "wanted": is_wanted})

    def release(self, attempts: Sequence[AttemptId]) -> None:
        with self._lock:
            self._ledger.release(attempts)
            self._release(map(str, attempts))

    def tail(self, attempt: AttemptId, offset: int, stream: str = "stdout") -> bytes:
        """As the contract says; an answer that takes long is there at the next call."""
        with self._lock:
            if not self._session or str(attempt) not in self._ledger.live():
                return b""
            ask = self._tails.wanted(str(attempt), offset, stream)
            if ask is not None:
                self._tell(ask)
            return self._tails.await_answer(str(attempt), offset, stream)

    def own_slots(self) -> int:
        """As many as the host has cores."""
        return int(self._facts.get("cores", 1))

    def hurry(self) -> None:
        """Try to connect now, whatever pause there is."""
        with self._lock:
            self._tell({"do": "hurry"})

    def close(self, grace_s: float) -> None:
        """Hang up; what runs on the host goes on, for the next daemon to take up."""
        with self._lock:
            self._closing = True
        self._bell.ring()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._link.close(self._label)
        self._bell.close()

    # -- sending

    def _brief(self) -> dict[str, Any]:
        """What the link is told first: how to reach the host, and what its keeper is told."""
        raise NotImplementedError

    def _unfit(self) -> str:
        return self._why_down

    def _tell(self, tree: dict[str, Any]) -> None:
        stream = self._stream
        if stream is None:
            return
        if tree["do"] == "launch":  # one that crosses a new hello on its way is lost
            tree = {**tree, "session": self._session}
        with contextlib.suppress(wire.Closed):  # the thread sees its death too
            stream.send(wire.json_frame(tree))
            if stream.unsent:
                self._bell.ring()

    def _release(self, names: Iterable[str]) -> None:
        told = list(names)
        if told:
            self._tell({"do": "release", "attempts": told})

    # -- the thread

    def _serve(self) -> None:
        """Attend to one link process after the other. Whatever happens, this goes on."""
        pause_s = _FIRST_PAUSE_S
        while not self._closing:
            try:
                if self._attend():
                    pause_s = _FIRST_PAUSE_S
            except Exception as error:  # noqa: BLE001  it is told; who is silent helps nobody
                _log.exception("agent failed agent=%s", self.name)
                text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
                self._lose(f"an error in spoolmw, please report it with the log: {text}")
            self._wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _attend(self) -> bool:
        """Serve one link process until it is gone; returns whether it ever said a word."""
        try:
            stream = self._link.stream(self._label, self._dead)
        except OSError as error:
            self._lose(f"the link process cannot be started: {error.strerror}")
            return False
        self._dead = stream
        self._begin(stream)
        has_spoken = self._listen(stream)
        self._lose("the link process died")
        return has_spoken

    def _begin(self, stream: wire.Stream) -> None:
        """Tell a new link process which host it serves, and what this one may still report."""
        told = self._brief()
        with self._lock:
            self._stream = stream
            held = self._ledger.still_held()
            # Before the brief: it connects as soon as it has that.
            for at in range(0, len(held), _MOST_GROUPS):
                self._tell({"do": "adopt", "work": held[at : at + _MOST_GROUPS]})
            self._tell({"do": "brief", "brief": told})

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closing and time.monotonic() < until:
            self._give_up_if_due()
            self._bell.wait(max(0.0, min(until - time.monotonic(), 1.0)))

    def _listen(self, stream: wire.Stream) -> bool:
        """Pass on what the link says until it is gone; returns whether it ever said a word."""
        has_spoken = False
        frames = Paired()
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while not self._closing:
                wanted = selectors.EVENT_READ
                with self._lock:
                    wanted |= selectors.EVENT_WRITE if stream.unsent else 0
                selector.modify(stream, wanted)
                ready = {key.fd for key, _ in selector.select(self._until_give_up())}
                if self._bell.fileno() in ready:
                    self._bell.hush()
                try:
                    with self._lock:
                        stream.flush()
                    if stream.fileno() in ready:
                        told = frames.pair(stream.receive())
                        has_spoken = has_spoken or bool(told)
                        self._hear(told)
                except (wire.Closed, wire.WireError):
                    return has_spoken
                self._give_up_if_due()
        return has_spoken

    def _until_give_up(self) -> float | None:
        if self._session or not len(self._ledger):
            return None
        return max(0.0, self._give_up_at - time.monotonic())

    def _give_up_if_due(self) -> None:
        if self._session or not len(self._ledger) or time.monotonic() < self._give_up_at:
            return
        message = f"{self._label} was given up: {self._why_down}"
        loss = Loss(Cause.CONNECTION, message, dead=False)
        with self._lock:
            events = self._ledger.all_lost((), loss, counts=False)
        self._sink(events)

    def _lose(self, why: str) -> None:
        """The link is gone, and with it the connection."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None
            events = self._down(why)
        if not self._closing:
            self._sink(events)

    # -- what the link says

    def _understand(self, told: dict[str, Any]) -> list[AgentEvent]:
        match told["event"]:
            case "hello" | "told" | "down" | "runner" as event:
                return self._changed(event, told)
            case "ended":
                return self._ended(told["attempts"])
            case "tail":
                self._tails.take(told["ask"], told.get("data", b""))
            case "unknown":
                self._release(filter(self._ledger.is_settled, told["attempts"]))
            case "stopped":
                self._release(told["attempts"])
            case "damaged":  # disks lose bytes; the one before it is told then
                _log.warning("checkpoint damaged agent=%s %s", self.name, told["checkpoints"])
                self._tell({"do": "drop", "damaged": told["checkpoints"]})
            case _:
                pass
        return super()._understand(told)

    def _changed(self, event: str, told: dict[str, Any]) -> list[AgentEvent]:
        """How the host stands."""
        match event:
            case "hello":
                self._facts = told  # checkpoints of what the host lost come before the rest
            case "told":
                return self._welcome(self._facts)
            case "runner":
                return self._runner_changed(told["up"], told["why"])
            case _:
                return self._down(reason(told), is_liar=told["garbage"])
        return []

    def _welcome(self, told: dict[str, Any]) -> list[AgentEvent]:
        """The host is there: compare what it has with what it should have."""
        self._ledger.machine = told["machine"]
        self._session = told["session"]
        self._why_down = ""
        held = {*told["live"], *told["outbox"]}
        loss = Loss(Cause.CONNECTION, f"{self._label} or its keeper was restarted", dead=True)
        missing = self._ledger.unaccounted(held)
        events = self._ledger.lost(missing, told["died"], loss)
        self._release([*missing, *self._ledger.given_up.vanished(held)])
        strangers = self._ledger.strangers(told["live"])
        if strangers:
            self._tell({"do": "stop", "attempts": strangers, "wanted": False})
        gone = [each for each in self._ledger.being_stopped() if each not in told["live"]]
        events += self._launch(self._ledger.stopped(gone))
        if self._settings.slots != self._slots:  # they were changed while work went on
            self._tell({"do": "slots", "slots": self._slots})
        return [CapacityChanged(agent=self.name, capacity=self.capacity()), *events]

    def _runner_changed(self, up: bool, why: str) -> list[AgentEvent]:  # noqa: FBT001
        """The host's runner died, or is there again; its attempts are reported one by one."""
        self._why_down = "" if up else f"the runner on {self._label} died: {why}"
        room = self.capacity()
        return [CapacityChanged(agent=self.name, capacity=room, reason=self._why_down)]

    def _down(self, why: str, *, is_liar: bool = False) -> list[AgentEvent]:
        """The host is not there, or still not. What a liar holds runs elsewhere at once, before
        the host is there again and is given the same."""
        if self._session:
            wait_s = 0.0 if is_liar else self._settings.give_up_s
            self._give_up_at = time.monotonic() + wait_s
        elif why == self._why_down:
            return []
        self._session = 0
        self._why_down = why
        self._tails.forget()
        return [CapacityChanged(agent=self.name, capacity=self.capacity(), reason=why)]

    def _ended(self, told: list[dict[str, Any]]) -> list[AgentEvent]:
        """Reports; what nobody waits for is released here, what is lost needs no commit."""
        events = self._ledger.ended(told)
        names = {str(event.attempt) for event in events if hasattr(event, "attempt")}
        others = (each["attempt"] for each in told if each["attempt"] not in names)
        passed_over = list(filter(self._ledger.is_settled, others))
        for name in passed_over:
            taking.discard(f"{self._root}/stage/{name}")
        lost = [each["attempt"] for each in told if _is_gone(each)]
        self._release({*passed_over, *lost})
        return events


def _is_gone(told: dict[str, Any]) -> bool:
    """Whether the attempt was lost, and cannot report after all."""
    return told["outcome"] == "lost" and bool(told.get("dead", True))
