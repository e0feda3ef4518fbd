"""The one thread that decides: takes events, applies the rules, commits, then acts.

Rule 1: state changes only in `apply`, by `rules.task.step`.
Rule 2: effects are performed only after the batch that ordered them is committed.
Rule 3: whatever waits (watching, agents, sockets) does so in a thread of its own and puts
        what it learnt on the inbox.
"""

from __future__ import annotations

import json
import queue
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from spoolmw.agents.contract import AgentEvent
from spoolmw.daemon.batch import Batch
from spoolmw.daemon.clock import boot_id, boot_s, wall_s
from spoolmw.daemon.control import Request
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.effects import Performer
from spoolmw.daemon.intake import Intake
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.notify import Notifier
from spoolmw.daemon.room import DiskRoom
from spoolmw.daemon.table import Table
from spoolmw.daemon.wakeup import Wakeup
from spoolmw.errors import SpoolmwError
from spoolmw.model.agent import CapacityChanged
from spoolmw.model.effects import Deliver, Effect
from spoolmw.model.events import (
    Assigned,
    Delivered,
    Event,
    Lost,
    NameTaken,
    Reported,
    Started,
    Submitted,
    TwinEnded,
)
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.task import FINAL, Blame, Cause, Task, TaskState
from spoolmw.rules.task import step
from spoolmw.store.journal import DiskFull, Journal

TICK_EVENTS = 512  #: agent events handled in one tick
TICK_FILES = 256  #: dropped files accepted in one tick
SETTLE_S = 0.005  #: wait this long for company before a commit that only says "delivered"
RETRY_S = 1.0  #: between two tries of a commit that found the disk full

Item = Sequence[AgentEvent] | Request | None


@dataclass(slots=True, kw_only=True)
class Counts:
    """What one tick did, for its log line."""

    accepted: int = 0
    assigned: int = 0
    ended: int = 0
    delivered: int = 0


class Reactor:
    """Owns all state. `tick` is one round; everything it needs is handed in."""

    def __init__(
        self,
        *,
        journal: Journal,
        table: Table,
        intake: Intake,
        dispatch: Dispatch,
        delivery: Delivery,
        performer: Performer,
        wakeup: Wakeup,
        room: DiskRoom,
        notifier: Notifier,
        inbox: queue.SimpleQueue[Item],
    ) -> None:
        self.journal = journal
        self.table = table
        self.intake = intake
        self.dispatch = dispatch
        self.delivery = delivery
        self.performer = performer
        self.room = room
        self.stopping = False
        self.on_request: Callable[[Request], None] = _unserved
        self.closed_intake = ""  #: why no files are taken; empty: they are
        self.wakeup = wakeup
        self._notifier = notifier
        self._inbox = inbox
        self._batch = Batch()
        self._boot = boot_id()
        self._fresh: list[Task] = []
        self._replies: list[tuple[Request, object]] = []
        self._retry_at = 0.0
        self.counts = Counts()
        self.delivered_total = 0

    # -- one round ----------------------------------------------------------------------

    def tick(self, timeout_s: float) -> None:
        """Wait for news at most `timeout_s`, then decide, commit and act once."""
        self.counts = Counts()
        self._take_inbox(timeout_s)
        self._after_delivery()
        self._take_files()
        self._assign()
        if self._batch or self._replies:
            self._commit_and_act()
        self._notifier.beat()

    def timeout_s(self) -> float:
        """How long the next tick may wait for news."""
        if self._owes_now():
            return SETTLE_S
        now = boot_s()
        due = [self.wakeup.next_scan, self.room.next_look]
        if (backoff := self.table.ready.next_due()) is not None:
            due.append(backoff)
        if self._batch:
            due.append(self._retry_at)
        return min(max(min(due) - now, 0.0), 1.0)

    def _owes_now(self) -> bool:
        performer = self.performer
        return bool(performer.published or performer.name_taken or performer.launch_failed)

    def owes(self) -> bool:
        """Something is decided or done that the journal does not know yet."""
        return bool(self._batch) or self._owes_now()

    def idle(self) -> bool:
        """Nothing is open, nothing is uncommitted, nothing was seen in `incoming/`."""
        return not len(self.table) and not self._batch and self.wakeup.quiet

    # -- the one way in -----------------------------------------------------------------

    def apply(self, task: Task, event: Event) -> Task:
        """Change `task` by `event`; what must be done then is in the batch."""
        after, effects = step(task, event)
        if after is task:
            log.debug("late %s", fields(task=task.id, event=type(event).__name__))
            self._batch.effects.extend(effects)
            return task
        self.table.put(task, after)
        self._batch.note(task, event, after, effects)
        if log.isEnabledFor(10):
            states = f"{task.state.value} -> {after.state.value}"
            log.debug("%s %s", task.id, states)
        if after.state in FINAL:
            self._twins_of(after)
        return after

    def submit(self, task: Task) -> None:
        """Enter an accepted task; a twin of a task that is done already ends with it."""
        self.table.put(None, task)
        self._batch.note(None, Submitted(at=boot_s(), task=task), task, ())
        self._batch.needs_sync = True
        self._fresh.append(task)
        self.counts.accepted += 1
        if task.twin_of is not None:
            self.look_at_twin(task)

    def look_at_twin(self, twin: Task) -> None:
        """End the wait of a task whose first has ended already."""
        assert twin.twin_of is not None
        if self.table.get(twin.twin_of) is None:
            first = self.journal.get(twin.twin_of)
            if first is not None:
                self._twin_ended(twin, first)

    def owe(self, effects: Sequence[Effect]) -> None:
        """Take up effects that an earlier daemon committed but may not have performed."""
        self._batch.effects.extend(effects)

    def reply(self, request: Request, answer: object) -> None:
        """Answer once everything decided so far is committed."""
        self._replies.append((request, answer))

    def keep_settings(self) -> None:
        """Remember who is paused and whether the daemon drains: a restart must not undo it."""
        kept = {"paused": self.dispatch.paused, "draining": self.dispatch.draining}
        self.journal.set_meta("dispatch", json.dumps(kept))

    def load_settings(self) -> None:
        """Take up what `keep_settings` kept."""
        kept = json.loads(self.journal.get_meta("dispatch") or "{}")
        known = self.dispatch.capacity
        self.dispatch.paused = {k: v for k, v in kept.get("paused", {}).items() if k in known}
        self.dispatch.draining = bool(kept.get("draining", False))

    # -- taking -------------------------------------------------------------------------

    def _take_inbox(self, timeout_s: float) -> None:
        taken = 0
        try:
            item = self._inbox.get(timeout=timeout_s) if timeout_s > 0 else self._inbox.get_nowait()
            while True:
                taken += self._item(item)
                if taken >= TICK_EVENTS:
                    return
                item = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _item(self, item: Item) -> int:
        if item is None:
            self.wakeup.ring()
            return 0
        if isinstance(item, Request):
            self.on_request(item)
            return 1
        for event in item:
            if isinstance(event, CapacityChanged):
                self._capacity(event)
            else:
                self._attempt_event(event)
        return len(item)

    def _capacity(self, event: CapacityChanged) -> None:
        self.dispatch.capacity[event.agent] = event.capacity

    def _attempt_event(self, event: Started | Reported | Lost) -> None:
        task = self.table.get(event.attempt.task)
        if task is None:
            return  # of a task that ended meanwhile: late
        if not isinstance(event, Started):
            self.counts.ended += 1
            if event.cause is not Cause.FINISHED:
                event = replace(event, jitter=random.random())  # noqa: S311  (spreads retries)
        if isinstance(event, Reported) and not self._staged(event):
            event = _damaged(event)
        after = self.apply(task, event)
        if not isinstance(event, Started) and event.cause is not Cause.FINISHED:
            self._log_end(after, event)

    def _staged(self, event: Reported) -> bool:
        """The report is true: its file stands in `stage/` and is as long as it says."""
        return self.delivery.staged_bytes(event.attempt) >= event.body_bytes

    def _log_end(self, task: Task, event: Reported | Lost) -> None:
        log.warning(
            "attempt ended %s",
            fields(
                task=task.id,
                name=task.spec.name,
                attempt=event.attempt.attempt,
                cause=event.cause.value,
                blame=event.blame.value,
                now=task.state.value,
                message=event.message,
            ),
        )

    def _take_files(self) -> None:
        now = boot_s()
        self.closed_intake = self.room.look(now)
        if self.stopping or self.closed_intake or self._batch_is_stuck():
            return
        if not self.wakeup.scan_due(now):
            return
        found = 0
        for task in self.intake.take(TICK_FILES):
            self.submit(task)
            found += 1
        self.wakeup.scanned(boot_s(), found=found, more=self.intake.drops.next_due())

    def _batch_is_stuck(self) -> bool:
        return self._retry_at > 0

    def _assign(self) -> None:
        if self.stopping or self._batch_is_stuck():
            return
        now = boot_s()
        for task_id, agent in self.dispatch.assign(self.table, now, TICK_EVENTS):
            task = self.table.tasks[task_id]
            token = secrets.token_hex(16)
            self.apply(task, Assigned(at=now, agent=agent, token=token, wall=wall_s()))
            self.counts.assigned += 1

    # -- after an act -------------------------------------------------------------------

    def _after_delivery(self) -> None:
        performer = self.performer
        now = boot_s()
        for task_id in performer.published:
            if (task := self.table.get(task_id)) is not None:
                self.apply(task, Delivered(at=now))
                self.counts.delivered += 1
        self._batch.needs_sync |= bool(performer.published)
        for task_id in performer.name_taken:
            if (task := self.table.get(task_id)) is not None:
                other = f"{task.result_name}.{task.id}"
                log.warning("name taken %s", fields(task=task.id, now=other))
                self.apply(task, NameTaken(at=now, result_name=other))
        for attempt, why in performer.launch_failed:
            if (task := self.table.get(attempt.task)) is not None:
                self.apply(task, _launch_failed(now, attempt, why))
        for waiting in performer.unpublished:
            if (task := self.table.get(waiting.id)) is not None:
                self._batch.effects.append(Deliver(task))
        performer.published = []
        performer.name_taken = []
        performer.launch_failed = []
        performer.unpublished = []

    def _twins_of(self, first: Task) -> None:
        for twin_id in list(self.table.twins.pop(first.id, ())):
            twin = self.table.get(twin_id)
            if twin is not None and twin.state is TaskState.WAITING:
                self._twin_ended(twin, first)

    def _twin_ended(self, twin: Task, first: Task) -> None:
        copied = None
        if first.state is TaskState.DONE and first.ending is not None:
            copied = self.delivery.copy(first, twin)
        size, digest = copied or (0, "")
        files = copied is not None and first.ending is not None and first.ending.files
        self.apply(
            twin,
            TwinEnded(
                at=boot_s(),
                first=first,
                copied=copied is not None,
                body_bytes=size,
                digest=digest,
                files=files,
            ),
        )

    # -- commit, then act ---------------------------------------------------------------

    def _commit_and_act(self) -> None:
        now = boot_s()
        if self._batch_is_stuck() and now < self._retry_at:
            return
        batch = self._batch
        try:
            self._prepare(batch)
            if batch.needs_sync:
                self.room.sync()
            if len(batch):
                self.journal.commit(batch.changes(), now_boot=now, boot_id=self._boot)
        except DiskFull as error:
            self._stuck(error.what)
            return
        self._retry_at = 0.0
        self._batch = Batch()
        self.performer.perform(batch.effects, self.table)
        self._settle()

    def _prepare(self, batch: Batch) -> None:
        """Give the staged files of what is to be delivered their trailers; one sync covers them."""
        for effect in batch.effects:
            if isinstance(effect, Deliver):
                batch.needs_sync = True
                self.delivery.prepare(effect.task)

    def _stuck(self, why: str) -> None:
        """The disk is full: keep the batch, free the ballast, try again; nothing is lost."""
        if not self._retry_at:
            log.error("commit waits %s", fields(why=why))
        self.room.full(why)
        self._retry_at = boot_s() + RETRY_S

    def _settle(self) -> None:
        for task in self._fresh:
            self.intake.settle_inputs(task)
        self._fresh = []
        replies, self._replies = self._replies, []
        for request, answer in replies:
            request.reply(answer)
        done = self.counts
        self.delivered_total += done.delivered
        if done.accepted or done.ended or done.delivered:
            log.info(
                "tick %s",
                fields(
                    accepted=done.accepted,
                    assigned=done.assigned,
                    ended=done.ended,
                    delivered=done.delivered,
                    open=len(self.table),
                ),
            )


def _unserved(request: Request) -> None:
    request.reply(SpoolmwError("the daemon is starting", fix="ask again in a moment"))


def _damaged(event: Reported) -> Lost:
    return Lost(
        at=event.at,
        attempt=event.attempt,
        cause=Cause.CONNECTION,
        blame=Blame.HOST,
        message="its staged result is missing or shorter than reported",
        host=event.host,
        slot=event.slot,
        started_at=event.started_at,
        ended_at=event.ended_at,
    )


def _launch_failed(now: float, attempt: AttemptId, why: str) -> Lost:
    return Lost(
        at=now,
        attempt=attempt,
        cause=Cause.LAUNCH,
        blame=Blame.AGENT,
        message=why,
        counts=False,
    )


