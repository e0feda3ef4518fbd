"""Looks at the attempts that run: tells of the long ones, holds limits, ends what must end.

A look costs a system call or more for each attempt, so short ones are never looked at.
"""

from __future__ import annotations

import signal
import time
from typing import Callable

from . import outputs, process
from .attempt import Attempt, Verdict
from .crew import Member
from .outbox import Outbox
from .pool import Pool

LOOK_S = 0.05  #: between two looks while something young or limited runs
CALM_S = 0.25  #: between two looks otherwise
LONG_S = 0.03  #: nothing waits behind an attempt that runs so long
ANNOUNCE_S = 0.1  #: a longer attempt is told to the daemon
USAGE_S = 1.0  #: between two measurements of an attempt without a memory limit
START_S = 60.0  #: for an interpreter to become a worker
TERM_GRACE_S = 5.0  #: between TERM and KILL
SAVE_GRACE_S = 30.0  #: the same for what saves its progress
_MOST_FILES = 2000  #: of a working directory are counted towards the output limit


class Watch:
    """The limits of all attempts of a pool."""

    def __init__(
        self,
        pool: Pool,
        outbox: Outbox,
        listen: Callable[[Member, float], None],
        memory_bytes: int = 0,
    ) -> None:
        """`memory_bytes` is the most for an attempt that asked for none; 0: there is no limit."""
        self._memory_bytes = memory_bytes
        self._pool = pool
        self._outbox = outbox
        self._listen = listen

    def look(self, now: float) -> float:
        """Look at every attempt that runs; returns when to look again (0.0: nothing runs)."""
        pause = 0.0
        for member in list(self._pool.busy()):
            calm = self._look_at(member, now)
            pause = min(pause or CALM_S, CALM_S if calm else LOOK_S)
        return now + pause if pause else 0.0

    def _look_at(self, member: Member, now: float) -> bool:
        """Look at one worker; True when there is no hurry to look again."""
        attempt = member.sent[0]
        if not member.ready:
            if now - member.born > START_S:
                member.kill()
        elif attempt.verdict is not None:
            self._carry_out(member, attempt, attempt.verdict, now)
        else:
            return self._look_at_running(member, attempt, now)
        return False

    def _look_at_running(self, member: Member, attempt: Attempt, now: float) -> bool:
        kind = attempt.kind
        ran_s = now - member.since
        if ran_s >= LONG_S:
            if not kind.judges:
                self._pool.is_long(ran_s)
            if len(member.sent) > 1:
                self._pool.put_back(member.take_back())
        if ran_s >= ANNOUNCE_S and not attempt.announced:
            self._announce(member, attempt, now, ran_s)
        if kind.time_s and ran_s > kind.time_s:
            text = f"it ran longer than its [limits] time of {kind.time_s:g} s"
            self.end(member, attempt, Verdict("timeout", text, now + grace_of(attempt)))
        elif attempt.announced or kind.memory:
            self._measure(member, attempt, now)
        return bool(attempt.announced) and not kind.memory and not kind.time_s

    def _announce(self, member: Member, attempt: Attempt, now: float, ran_s: float) -> None:
        attempt.announced = now
        attempt.base_cpu_s = process.usage(member.pid).cpu_s
        self._outbox.started.append(
            {
                "attempt": attempt.id,
                "slot": member.name,
                "pid": member.pid,
                "started": time.time() - ran_s,
            }
        )

    def _measure(self, member: Member, attempt: Attempt, now: float) -> None:
        limit = attempt.kind.memory
        if limit or now - attempt.measured_at >= USAGE_S:
            used = process.usage(member.pid)
            attempt.peak_bytes = max(attempt.peak_bytes, used.memory_bytes)
            if now - attempt.measured_at >= USAGE_S:
                attempt.measured_at = now
                self._outbox.usage.append(
                    {
                        "attempt": attempt.id,
                        "cpu_s": used.cpu_s,
                        "memory_bytes": used.memory_bytes,
                    }
                )
            most = limit or self._memory_bytes
            if most and used.memory_bytes > most:
                held = (
                    "were asked for" if limit else "are there: ask for more, [resources] memory"
                )
                text = f"it used {used.memory_bytes} bytes of memory, {most} {held}"
                self.end(member, attempt, Verdict("memory", text, now))
                return
        if now - attempt.looked_at >= CALM_S:
            self._weigh(member, attempt, now)

    def _weigh(self, member: Member, attempt: Attempt, now: float) -> None:
        """Compare what the attempt has written so far with its output limit."""
        attempt.looked_at = now
        kind = attempt.kind
        total = outputs.printed(
            [member.printed(attempt, name) for name in ("stdout", "stderr")]
        )
        if kind.command:
            total += outputs.size_of(member.scratch, _MOST_FILES)
        if total > kind.output:
            text = f"it wrote {total} bytes, its [limits] output allows {kind.output}"
            self.end(member, attempt, Verdict("output", text, now))

    def end(self, member: Member, attempt: Attempt, verdict: Verdict) -> bool:
        """End the attempt at hand of a worker: TERM, then KILL when the verdict says so.

        False when the worker was through with it meanwhile. One that has not begun it in all that
        time takes nothing any more: it is killed, and the attempt waits for another.
        """
        self._listen(member, time.monotonic())
        if not member.sent or member.sent[0] is not attempt:
            return False
        self._pool.put_back(member.take_back())
        if not member.sent:
            member.kill()
        if len(member.sent) != 1 or member.sent[0] is not attempt:
            return False  # if it has just begun the next one, this one's report is on its way
        attempt.verdict = verdict
        self._carry_out(member, attempt, verdict, time.monotonic())
        return True

    def _carry_out(
        self, member: Member, attempt: Attempt, verdict: Verdict, now: float
    ) -> None:
        """TERM once, then KILL. A command's worker lives on and reports."""
        command = attempt.kind.command
        if now >= verdict.kill_at:
            if command:
                process.kill_tree(member.pid, root_too=False)
            else:
                member.kill()
        elif not attempt.warned:  # a command may not have been started yet: then next time
            attempt.warned = _warn(member.pid, attempt) > 0


def _warn(pid: int, attempt: Attempt) -> int:
    """TERM to an attempt's processes; returns to how many."""
    command = attempt.kind.command
    if not attempt.saves:
        return process.signal_tree(pid, signal.SIGTERM, root_too=not command)
    process.send(pid, signal.SIGTERM)
    # The children of a call may be what it computes its state with. The worker of a command is
    # told before that, so that it starts nothing once more, and saves what the command leaves.
    return 1 + (process.signal_tree(pid, signal.SIGTERM, root_too=False) if command else 0)


def grace_of(attempt: Attempt) -> float:
    """How long an attempt has between TERM and KILL."""
    return SAVE_GRACE_S if attempt.saves else TERM_GRACE_S
