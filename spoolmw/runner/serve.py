"""The runner: one thread that passes orders from its agent to workers, and reports back.

Rule 1: nothing here waits for anything but the selector.
Rule 2: the runner dies with its daemon: at the end of the stream, and when the daemon's pidfd
says so (a sibling may hold the stream open). Before it goes, every tree of its workers is dead.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import time
from typing import Any, Callable, Dict, List, Optional

from . import PROTOCOL, endings, host, outputs, process, wire
from .attempt import Attempt, Verdict, of_launch
from .crew import Death, Member, Place
from .interpreter import Interpreters
from .order import FLAGS, HELLO, LOST, SAVES, WORN
from .outbox import Outbox
from .pool import Pool
from .standstill import Standstill
from .watch import TERM_GRACE_S, Watch, grace_of

_FLAGS = FLAGS[0][0]
_LAST_FLAGS = FLAGS[-1][0]
_SWEEP_S = 2.0  #: to wait for the death of what was killed


class Runner:
    """Everything of one runner process."""

    def __init__(self, stream: wire.Stream, setup: Dict[str, Any], archive: str) -> None:
        self._stream = stream
        self._selector = selectors.DefaultSelector()
        self._spool: str = setup["spool"]
        self._foreign: bool = setup.get("foreign", False)
        place = Place.of(setup, archive)
        self._pool = Pool(
            place,
            setup["slots"],
            setup["gpus"],
            Interpreters(setup["interpreters"], foreign=self._foreign),
            self._adopt,
        )
        self._standstill = Standstill(self._pool)
        self._outbox = Outbox(stream)
        memory: int = setup.get("memory", 0)
        self._watch = Watch(self._pool, self._outbox, self._listen, memory)
        self._wanted = selectors.EVENT_READ
        self._look_at = 0.0
        self._closing: Optional[float] = None  #: monotonic clock: the grace ends
        self._term_at = 0.0

    def run(self, daemon: int, frames: List[wire.Frame]) -> None:
        """Serve until the daemon is gone or says close; `frames` have come already."""
        try:
            watched = os.pidfd_open(daemon)
        except ProcessLookupError:
            return  # it died before it could be watched
        if os.getppid() != daemon:
            return
        self._selector.register(watched, selectors.EVENT_READ, _gone)
        self._selector.register(self._stream, selectors.EVENT_READ, self._hear)
        self._outbox.say(
            {"event": "hello", "protocol": PROTOCOL, "pid": os.getpid(), **host.facts()}
        )
        try:
            self._obey(frames)
            self._follow()
            while not self._done():
                self._wait()
                self._follow()
        except wire.Closed:
            pass
        finally:
            self._end_all()

    def _wait(self) -> None:
        """Wait for something to happen, and take it in."""
        rest_s = self._pool.rest_s()
        if rest_s:
            time.sleep(rest_s)
        for key, _ in self._selector.select(self._timeout()):
            act: Callable[[float], None] = key.data
            act(time.monotonic())

    def _follow(self) -> None:
        """Do what follows from what happened, and tell of it."""
        now = time.monotonic()
        if self._standstill.is_on:
            self._flush()
            return
        if self._look_at and now >= self._look_at:
            self._look_at = self._watch.look(now)
            self._sweep(wait_s=0.0)
        if self._closing is not None:
            self._hurry(now)
        self._pool.dispatch(now)
        if not self._look_at and any(self._pool.busy()):
            self._look_at = now + 0.03
        self._give_up_hopeless()
        self._flush()

    def _timeout(self) -> Optional[float]:
        if not self._look_at:
            return None
        return max(0.0, self._look_at - time.monotonic())

    # -- the agent's side

    def _hear(self, _now: float) -> None:
        self._obey(self._stream.receive())

    def _obey(self, frames: List[wire.Frame]) -> None:
        now = time.monotonic()
        for _, payload in frames:
            told = json.loads(payload)
            verb = told.get("do")
            if verb == "launch":
                self._pool.add(of_launch(told["work"]))
            elif verb == "stop":
                self._stop(told, now)
            elif verb == "slots":
                self._pool.slots = told["slots"]
            elif verb == "still":
                self._look_at = 0.0
                self._standstill.obey(now, on=told["on"])
            elif verb == "close":
                self._close(told, now)
            else:
                raise wire.WireError(f"unknown verb {verb!r}")

    def _flush(self) -> None:
        self._outbox.flush()
        wanted = selectors.EVENT_READ
        if self._stream.unsent:
            wanted |= selectors.EVENT_WRITE
        if wanted != self._wanted:
            self._wanted = wanted
            self._selector.modify(self._stream, wanted, self._hear)

    # -- the workers' side

    def _adopt(self, member: Member) -> None:
        """Listen to a new worker, and to its death."""
        self._selector.register(
            member.fd, selectors.EVENT_READ, lambda now: self._listen(member, now)
        )
        self._selector.register(
            member.pidfd, selectors.EVENT_READ, lambda now: self._died(member, now)
        )

    def _listen(self, member: Member, now: float) -> None:
        """Take a worker's reports."""
        count = 0
        for packet in member.packets():
            if packet[0] > _LAST_FLAGS:
                self._hear_news(member, packet, now)
                continue
            flags = packet[0] - _FLAGS
            attempt = member.sent.popleft()
            self._pool.forget(attempt)
            count += not attempt.kind.judges
            if attempt.verdict is not None:
                self._overrule(member, attempt, attempt.verdict, packet[1:])
            else:
                self._outbox.forward(packet[1:])
                if flags & LOST:
                    endings.remove_staged(attempt.id, self._spool)
            if flags & WORN:
                self._pool.put_back(member.take_back())
                member.kill()
        if count:
            self._pool.finished(member, count, now)

    def _hear_news(self, member: Member, packet: bytes, now: float) -> None:
        """A worker says that it is ready, or something of the attempt at hand."""
        if packet.startswith(HELLO):
            member.ready = True
            member.since = now  # the limits of the first attempt begin with it
        elif packet == SAVES and member.sent:
            member.sent[0].saves = True
        else:
            self._outbox.news(packet)

    def _overrule(self, member: Member, attempt: Attempt, verdict: Verdict, raw: bytes) -> None:
        """A worker reports the end of what the runner had decided to end."""
        told = json.loads(raw)
        cause = verdict.cause
        if cause == "stop":
            self._has_stopped(attempt)
        elif cause == "shutdown" and told["outcome"] == "success":
            self._outbox.forward(raw)  # it ended by itself within the grace
        else:
            death = Death(0, told["cpu_s"], told["memory_bytes"])
            ended = endings.of_verdict(verdict)
            self._outbox.report(
                endings.report(attempt, member, ended, death, time.time() - told["started"])
            )

    def _died(self, member: Member, now: float) -> None:
        """A worker is dead: keep its last reports, save what it had not begun, judge the rest."""
        self._listen(member, now)
        self._pool.put_back(member.take_back())
        self._selector.unregister(member.fd)
        self._selector.unregister(member.pidfd)
        death = member.bury()
        del self._pool.crew[member.name]
        self._sweep(wait_s=_SWEEP_S)
        at_hand = member.sent.popleft() if member.sent else None
        if at_hand is not None:
            self._pool.forget(at_hand)
            self._judge(member, at_hand, death, now)
        elif not member.ready:
            self._stillborn(member, death)
        member.close()
        for each in ("", ".script", ".checkpoint"):
            outputs.remove(member.scratch + each)

    def _judge(self, member: Member, attempt: Attempt, death: Death, now: float) -> None:
        if attempt.verdict is not None and attempt.verdict.cause == "stop":
            self._has_stopped(attempt)
            return
        ended = endings.of_death(member, attempt, death)
        self._outbox.report(endings.report(attempt, member, ended, death, now - member.since))

    def _stillborn(self, member: Member, death: Death) -> None:
        """A worker died before it took anything: fail the attempt it was started for."""
        attempt = self._pool.take_first(member.interpreter)
        if attempt is not None:
            ended = endings.of_death(member, attempt, death)
            self._outbox.report(endings.report(attempt, member, ended, death, 0.0))

    def _give_up_hopeless(self) -> None:
        for attempt, ended in self._pool.hopeless:
            self._outbox.report(endings.unstarted(attempt, self._spool, ended))
        self._pool.hopeless = []

    def _sweep(self, wait_s: float) -> None:
        """Kill what was left behind by dead workers: as orphans they are the runner's children."""
        until = time.monotonic() + wait_s
        while True:
            own = {member.pid for member in self._pool.crew.values()}
            strays = [pid for pid in process.children(os.getpid()) if pid not in own]
            for pid in strays:
                process.kill_tree(pid, root_too=True)
                os.waitpid(pid, os.WNOHANG)
            if not strays or time.monotonic() >= until:
                return
            time.sleep(0.0005)

    # -- ends

    def _stop(self, told: Dict[str, Any], now: float) -> None:
        self._standstill.end(now)  # what stands hears no TERM
        for name in told["attempts"]:
            attempt = self._pool.known.get(name)
            if attempt is None:
                endings.remove_staged(name, self._spool)  # it has just ended: too late
                self._outbox.stopped.append(name)
            elif attempt.verdict is None:
                grace_s = grace_of(attempt) if told.get("wanted", True) else TERM_GRACE_S
                self._stop_one(attempt, now + grace_s)
            else:
                attempt.verdict = attempt.verdict._replace(cause="stop")

    def _stop_one(self, attempt: Attempt, kill_at: float) -> None:
        holder = next((each for each in self._pool.busy() if attempt in each.sent), None)
        if holder is not None:
            self._pool.put_back(holder.take_back())
            self._listen(holder, time.monotonic())
        if holder is not None and attempt in holder.sent:
            if not self._watch.end(holder, attempt, Verdict("stop", "", kill_at)):
                self._stop_too_late(attempt)
        elif attempt.id in self._pool.known:  # nobody has begun it, and nobody shall
            attempt.dropped = True
            self._pool.forget(attempt)
            self._outbox.stopped.append(attempt.id)
        else:
            self._has_stopped(attempt)

    def _stop_too_late(self, attempt: Attempt) -> None:
        """Its worker was through with it: the report is there, or on its way."""
        if attempt.id in self._pool.known:
            attempt.verdict = Verdict("stop", "", math.inf)
            attempt.warned = True  # the worker has begun the next one, which is not to be ended
        else:
            self._has_stopped(attempt)

    def _has_stopped(self, attempt: Attempt) -> None:
        endings.remove_staged(attempt.id, self._spool)
        self._outbox.stopped.append(attempt.id)

    def _close(self, told: Dict[str, Any], now: float) -> None:
        """Begin nothing more; what runs may end within the grace, after TERM if `at_once`."""
        grace_s: float = told["grace_s"]
        self._standstill.end(now)
        self._closing = now + grace_s
        for member in self._pool.busy():
            verdict = member.sent[0].verdict
            if verdict is not None:  # a second order to close may be shorter
                member.sent[0].verdict = verdict._replace(
                    kill_at=min(verdict.kill_at, self._closing)
                )
        before_s = grace_s if told.get("at_once") else min(TERM_GRACE_S, grace_s / 4)
        self._term_at = now + max(0.0, grace_s - before_s)
        for member in self._pool.busy():
            self._pool.put_back(member.take_back())
        for attempt in self._pool.drop_waiting():
            self._outbox.report(endings.not_begun(attempt))
        self._look_at = now

    def _hurry(self, now: float) -> None:
        """Near the end of the grace (at once for what saves its progress): TERM; at its end: KILL."""
        self._look_at = min(self._look_at or now + 0.05, now + 0.05)
        for member in list(self._pool.busy()):
            attempt = member.sent[0]
            if attempt.verdict is None and (attempt.saves or now >= self._term_at):
                who = (
                    "its host wanted its place back" if self._foreign else "the daemon stopped"
                )
                text = f"{who} before it ended"
                self._watch.end(
                    member, attempt, Verdict("shutdown", text, self._closing or now)
                )

    def _done(self) -> bool:
        return (
            self._closing is not None and not len(self._outbox) and not any(self._pool.busy())
        )

    def _end_all(self) -> None:
        for member in self._pool.crew.values():
            process.kill_tree(member.pid, root_too=True)
        process.end_children(_SWEEP_S)
        for member in self._pool.crew.values():
            member.close()


def _gone(_now: float) -> None:
    raise wire.Closed("the daemon is gone")
