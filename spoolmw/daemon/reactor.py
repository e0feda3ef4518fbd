"""The one thread that decides: takes events, applies the rules, commits, then acts.

Rule 1: state changes only in `apply`, by `rules.task.step`.
Rule 2: effects are performed only after the batch that ordered them is committed.
Rule 3: whatever waits (watching, agents, sockets) does so in a thread of its own and puts
        what it learnt on the inbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from spoolmw.daemon import attempts
from spoolmw.daemon.batch import Batch
from spoolmw.daemon.clock import boot_id, boot_s, wall_s
from spoolmw.daemon.company import Company
from spoolmw.daemon.control import Request
from spoolmw.daemon.gauges import Counts, Rate
from spoolmw.daemon.gear import Gear, Item
from spoolmw.daemon.hearing import Hearing
from spoolmw.daemon.latecomers import Latecomers
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.placing import Placing
from spoolmw.daemon.preparing import Preparation
from spoolmw.errors import DiskFull, SpoolmwError
from spoolmw.model.effects import Deliver, Effect
from spoolmw.model.events import (
    Delivered,
    Event,
    NameTaken,
    Reported,
    Submitted,
)
from spoolmw.model.ids import TaskId
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.task import step

UNDER_WAY = (TaskState.RUNNING, TaskState.VALIDATING, TaskState.DELIVERING)
MOVING = (TaskState.QUEUED, *UNDER_WAY)
TICK_EVENTS = 2048  #: agent events handled in one tick
TICK_FILES = 1024  #: dropped files accepted in one tick
SETTLE_S = 0.005  #: wait this long for company before a commit that only says "delivered"
RETRY_S = 1.0  #: between two tries of a commit that found the disk full


class Reactor:
    """Owns all state. `tick` is one round; everything it needs is handed in."""

    def __init__(self, gear: Gear) -> None:
        self.journal = gear.journal
        self.ended = Counter(gear.journal.ended_counts())
        self.table = gear.table
        self.intake = gear.intake
        self.dispatch = gear.dispatch
        self.delivery = gear.delivery
        self.performer = gear.performer
        self.wakeup = gear.wakeup
        self.room = gear.room
        self.stopping = False
        self.waits = gear.waits
        self.validating = gear.validating
        self.on_request: Callable[[Request], None] = _unserved
        self.closed_intake = ""  #: why no files are taken; empty: they are
        self.delivered_total = 0
        self.started_at = wall_s()
        self._notifier, self._inbox = gear.notifier, gear.inbox
        self.hosts = gear.hosts
        self._batch = Batch(gear.hosts, needs_sync=True)  # whatever an earlier daemon wrote
        self._boot = boot_id()
        self._fresh: list[Task] = []
        self._replies: list[tuple[Request, object]] = []
        self.hearing = Hearing(
            gear.delivery,
            gear.intake.provisions.missing,
            gear.table,
            gear.dispatch,
            gear.validating,
            Latecomers(gear, self._newest),
        )
        self.arrays, self._elastics = gear.arrays, gear.elastics
        self._placing = Placing(gear.dispatch, gear.table)
        self._preparation = Preparation(gear.delivery, gear.waits, gear.intake, gear.room)
        self._retry_at = self._settle_at = 0.0
        self._company = Company()
        self._counts = Counts()
        self._rate = Rate(boot_s())

    # -- one round ----------------------------------------------------------------------

    def tick(self, timeout_s: float) -> None:
        """Wait for news at most `timeout_s`, then decide, commit and act once."""
        self._counts = Counts()
        self._company.wait(self.table.states[TaskState.RUNNING])
        self._take_inbox(timeout_s)
        if self.wakeup.scan_due(boot_s()):
            self._after_delivery()  # a name that is free again is so for what is dropped now
        self._take_files()
        if self._batch or boot_s() >= self._settle_at:
            self._after_delivery()
            self._end_waits()
        self.hearing.answers(self.apply)
        self.arrays.turn(self, boot_s(), grow=self._may_grow())
        if not (self.stopping or self.is_stuck()):
            self._placing.end_deadlines(self.apply, boot_s())
            self._counts.assigned += self._placing.turn(self.apply, boot_s())
            self._elastics.turn(boot_s())
        if self._batch or self._replies:
            self._commit_and_act()
        if not (self.stopping or self.is_stuck()):
            self.validating.turn(boot_s())
        self._notifier.beat()

    def timeout_s(self) -> float:
        """How long the next tick may wait for news."""
        due = [self.room.next_look]
        if self.is_stuck():
            due.append(self._retry_at)  # until then nothing that is owed can be done
        else:
            due += self._dues()
        return min(max(min(due) - boot_s(), 0.0), 1.0)

    def _dues(self) -> list[float]:
        due = [self.performer.try_again_at]
        if self._batch:
            due.append(0.0)
        if self.performer.has_news():
            due.append(self._settle_at)
        if self.waits.is_due():
            due.append(self.waits.due_at())
        due.append(self.validating.due_at())
        if not self.stopping:
            if not self.closed_intake:
                due.append(self.wakeup.next_scan)
            if self._may_grow():
                due.append(0.0)
            due += self.dispatch.dues()
        return due

    def owes(self) -> bool:
        """Something is decided or done that the journal does not know yet."""
        return bool(self._batch or self.performer.has_news() or self.waits.is_due())

    def idle(self) -> bool:
        """Nothing is open but what waits for somebody's hand, and nothing is to be taken or told."""
        moving = UNDER_WAY if self.dispatch.is_halted() else MOVING
        moves = any(self.table.states[state] for state in moving) or self.arrays.has_room()
        quiet = self.wakeup.quiet and not self.intake.is_waiting()
        return not moves and (quiet or bool(self.dispatch.closed_by_hand)) and not self.owes()

    # -- the one way in -----------------------------------------------------------------

    def apply(self, task: Task, event: Event) -> Task:
        """Change `task` by `event`; what must be done then is in the batch."""
        after, effects = step(task, event)
        if after is task:
            log.debug("late %s", fields(task=task.id, event=type(event).__name__))
            self._batch.add(effects)
            return task
        self.table.put(task, after)
        self.dispatch.moved(task, after, event.at)
        self.hearing.moved(task, after)
        self._batch.note(task, event, after, effects)
        if task.waits and not after.waits:
            self.waits.leave(task)
        if log.isEnabledFor(10):
            states = f"{task.state.value} -> {after.state.value}"
            log.debug("%s %s", task.id, states)
        if task.state in FINAL:
            self.ended[task.state._value_] -= 1
            if task.element is not None:
                self.arrays.reopened(task)
        if after.state in FINAL:
            self.ended[after.state._value_] += 1
            self.waits.ended(after)
            if after.element is not None:
                self.arrays.ended(after)
        self.arrays.moved(after)
        return after

    def submit(self, task: Task) -> None:
        """Enter an accepted task."""
        self.enter(task)
        self._fresh.append(task)
        self._counts.accepted += 1

    def enter(self, task: Task) -> None:
        """Take a new task into the table and the batch: a file's, or an element of an array."""
        now = boot_s()
        self.table.put(None, task)
        self.dispatch.moved(None, task, now)
        self._batch.note(None, Submitted(at=now, task=task), task, ())
        self.waits.accepted(task)
        self.arrays.moved(task)

    def take_up(self, task: Task) -> None:
        """Enter a task that the journal knows already."""
        self.table.put(None, task)
        self.dispatch.take_up(task, boot_s())
        self.arrays.moved(task)

    def owe(self, effects: Sequence[Effect]) -> None:
        """Take up effects that an earlier daemon committed but may not have performed."""
        self._batch.effects.extend(effects)

    def sync_first(self) -> None:
        """What was written beside the journal must be durable before the next commit."""
        self._batch.needs_sync = True

    def reply(self, request: Request, answer: object) -> None:
        """Answer once everything decided so far is committed."""
        self._replies.append((request, answer))

    def _newest(self, task_id: TaskId) -> Task | None:
        return self._batch.newest(task_id)

    def done_per_s(self) -> float:
        """Deliveries a second, over the last seconds."""
        return self._rate.per_s(boot_s(), self.delivered_total)

    def is_stuck(self) -> bool:
        """A batch could not be committed: the disk is full, and it is tried again."""
        return self._retry_at > 0

    # -- taking -------------------------------------------------------------------------

    def _take_inbox(self, timeout_s: float) -> None:
        taken = 0
        for item in self._inbox.take(timeout_s):
            taken += self._item(item)
            if taken >= TICK_EVENTS:
                return

    def _item(self, item: Item) -> int:
        if item is None:
            self.wakeup.ring()
            return 0
        if isinstance(item, Request):
            self.on_request(item)
            ids = item.args.get("ids")
            return 1 + (len(ids) if isinstance(ids, list) else 0)
        self._counts.ended += self.hearing.take(item.events, self.apply)
        for event in item.events:
            if isinstance(event, Reported):
                self._batch.release(item.agent, event.attempt)
        return len(item.events)

    def _take_files(self) -> None:
        now = boot_s()
        self.closed_intake = self.room.look(now) or self.dispatch.closed_by_hand
        if self.stopping or self.closed_intake or self.is_stuck():
            return
        if not self.wakeup.scan_due(now):
            return
        found = 0
        for task in self.intake.take(TICK_FILES):
            self.submit(task)
            found += 1
        self.wakeup.scanned(boot_s(), found=found, more=self.intake.drops.next_due())

    def _may_grow(self) -> bool:
        """Nothing is made while there is no room for it on the disk; a closed intake is no reason."""
        low = self.closed_intake != self.dispatch.closed_by_hand
        return not (self.stopping or low or self.is_stuck()) and self.arrays.has_room()

    # -- after an act -------------------------------------------------------------------

    def _after_delivery(self) -> None:
        """What the last tick's effects came to."""
        performer, now = self.performer, boot_s()
        self._batch.needs_sync |= bool(performer.published)
        for task in self._still_open(performer.published):
            self.apply(task, Delivered(at=now))
            self._counts.delivered += 1
        for task in self._still_open(performer.name_taken):
            other = f"{task.result_name}.{task.id}"
            log.warning("name taken %s", fields(task=task.id, now=other))
            self.apply(task, NameTaken(at=now, result_name=other))
        for attempt, why in performer.launch_failed:
            for task in self._still_open([attempt.task]):
                self.apply(task, attempts.not_launched(now, attempt, why))
        for task in self._still_open(performer.due_again(now)):
            self._batch.effects.append(Deliver(task))
        performer.forget_news()

    def _still_open(self, ids: Sequence[TaskId]) -> list[Task]:
        return [task for one in ids if (task := self.table.get(one)) is not None]

    def _end_waits(self) -> None:
        for task, event in self.waits.events(boot_s()):
            self.apply(task, event)

    # -- commit, then act ---------------------------------------------------------------

    def _commit_and_act(self) -> None:
        now = boot_s()
        if self.is_stuck() and now < self._retry_at:
            return
        batch = self._batch
        try:
            self._preparation.prepare(batch, self._fresh, self.apply)
            batch.commit(self.journal, now_boot=now, boot_id=self._boot)
        except DiskFull as error:
            self._stuck(error.what)
            return
        self._retry_at = 0.0
        self._company.committed()
        self._batch = Batch(self.hosts)
        self.performer.perform(batch.effects, self.table)
        self.performer.release(batch.released)
        eager = self.waits.is_awaited(self.performer.published)
        self._settle_at = boot_s() + (0.0 if eager else SETTLE_S)
        self._settle()

    def _stuck(self, why: str) -> None:
        """The disk is full: keep the batch, free the ballast, try again; nothing is lost."""
        if not self._retry_at:
            log.error("commit waits %s", fields(why=why))
        self.room.full(why)
        self._retry_at = boot_s() + RETRY_S

    def _settle(self) -> None:
        for task in self._fresh:
            self.intake.provisions.settle(task)
        self._fresh = []
        self.waits.committed()
        replies, self._replies = self._replies, []
        for request, answer in replies:
            request.reply(answer)
        self.delivered_total += self._counts.delivered
        self._rate.note(boot_s(), self.delivered_total)
        self._counts.tell(len(self.table))


def _unserved(request: Request) -> None:
    request.reply(SpoolmwError("the daemon is starting", fix="ask again in a moment"))
