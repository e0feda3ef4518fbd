"""One thread that waits for all results of a spool: it looks, is woken, and asks.

It lives while something is waited for. What it found in one round is handed out together, so
that a caller who waits for many is woken once and not for each.

Rule 1: only this thread touches `Pending`; others put tasks into the two inboxes.
Rule 2: nothing is believed for ever: each second every result is looked for whose folder
changed, and half a minute after that also without a change.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spoolmw.client.folders import Changes
from spoolmw.client.future import Ended, SpoolTask, remove_result
from spoolmw.client.inquiry import PATIENCE_S, ROUND, Inquiry
from spoolmw.client.outcome import NotOurs, read_ended, refusal
from spoolmw.client.pace import Pace
from spoolmw.client.pending import Found, Pending
from spoolmw.client.watching import Watching
from spoolmw.errors import BadResultFile, ResultGone, SpoolmwError, UnknownTask
from spoolmw.spooldir.layout import Layout

#: Seconds between two looks at everything, at least; and at most this share of the time.
SWEEP_S, SWEEP_SHARE = 1.0, 0.05
#: The same while results are found in turn.
FLOWING_SWEEP_S = 5.0
#: Seconds after which everything is looked for though no folder seems changed.
DISTRUST_S = 30.0
#: Seconds that the thread stays when nothing is waited for.
LINGER_S = 1.0
#: Answers in a row that nobody knows a task, before that is believed.
UNKNOWN_TIMES = 3
_FINAL = frozenset({"done", "failed", "cancelled"})

log = logging.getLogger("spoolmw.client")


class Waiter:
    """Ends the tasks given to `add` when their results are there."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._handing_out = threading.RLock()
        self._kick = threading.Event()
        self._thread: threading.Thread | None = None
        self._resting = False
        self._added: deque[SpoolTask] = deque()
        self._dropped: deque[SpoolTask] = deque()
        self._pending = Pending()
        self._boxes: dict[str, str] = {}  #: folders of results in use, and their boxes
        self._pace = Pace()
        self._changes = Changes()
        self._watching = Watching(self._wake)
        self._inquiry = Inquiry(self._layout)
        self._next_sweep = self._last_full = 0.0
        self._damage: dict[SpoolTask, BadResultFile] = {}
        self._unknown: dict[SpoolTask, int] = {}

    def after_fork(self) -> None:
        """In the child: the thread stayed with the parent, its locks may be held for ever."""
        tasks = [*self._pending.by_path.values(), *self._added]
        self._reset()
        for task in tasks:
            task.renew_lock()
        self._added.extend(tasks)

    def add(self, task: SpoolTask) -> None:
        """Wait for this task's result. Any thread may call."""
        self._added.append(task)
        if self._thread is None:
            self._start()
        elif self._resting:
            self._wake()

    def drop(self, task: SpoolTask) -> None:
        """The task will have no result."""
        self._dropped.append(task)

    def ensure(self) -> None:
        """See to it that somebody waits, if anything is waited for."""
        if self._thread is None and self._added:
            self._start()

    def finish_callbacks(self) -> None:
        """Return when the callbacks of tasks that have ended are through."""
        with self._handing_out:
            return

    def silence(self, timeout_s: float) -> None:
        """Let the callback at hand end, and run none any more: the interpreter is about to end."""
        self._handing_out.acquire(timeout=timeout_s)

    def is_owed_an_array(self) -> bool:
        """The elements of a map's array ended, and its own result is still to come."""
        return self._pending.has_array_alone()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                name = f"spoolmw {self._layout.root.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def _wake(self) -> None:
        self._kick.set()

    def _run(self) -> None:
        try:
            while self._take_up():
                now = time.monotonic()
                self._pace.found(self._settle(self._look(now)), now)
                self._inquire(now)
                self._rest(time.monotonic())
        except BaseException as error:
            log.exception("the thread that waits for results failed")
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        """A bug of ours may cost the results, but leave nobody waiting."""
        with self._lock:
            self._leave()
        for task in [*self._pending.by_path.values(), *self._added]:
            why = f"{type(error).__name__}: {error}"
            task.end(Ended(error=SpoolmwError("Waiting for results failed.", why=why)))

    # -- tasks come and go --------------------------------------------------------------

    def _take_up(self) -> bool:
        """Take up what the inboxes hold; False when there is nothing left to wait for."""
        self._empty_inboxes()
        if len(self._pending):
            return True
        self._watching.disarm()
        self._resting = True
        if not self._added:
            self._kick.wait(LINGER_S)
        self._resting = False
        self._kick.clear()
        if not self._added:
            with self._lock:
                self._leave()
            self.ensure()  # for a task that was added while this thread still seemed to stay
            return False
        self._empty_inboxes()
        return True

    def _leave(self) -> None:
        """The next task starts another thread; called with the lock held."""
        self._watching.close()
        self._boxes.clear()
        self._thread = None

    def _empty_inboxes(self) -> None:
        number, now = len(self._added), time.monotonic()
        if number:
            self._pace.submitted(number, now)
        for _ in range(number):
            task = self._added.popleft()
            task.added_at = now
            self._pending.add(task)
            if task.is_attached:  # its result may have been there before
                self._changes.forget()
                self._next_sweep = now
            folder = task.result_file.rpartition("/")[0]
            if folder not in self._boxes:
                self._boxes[folder] = task.box
                self._watching.include(folder)
        while self._dropped:
            self._pending.drop(self._dropped.popleft())

    # -- results ------------------------------------------------------------------------

    def _look(self, now: float) -> list[Found]:
        found = self._pending.named(names := self._watching.names())
        for task, _ in found:
            self._pending.overtake(task)
        if names and self._pace.rung(len(names), now):
            self._watching.disarm()
        if not (self._watching.is_armed and self._pace.is_quiet(now)):
            found += self._pending.in_turn()
        if now >= self._next_sweep:
            found += self._sweep(now)
        return found

    def _sweep(self, now: float) -> list[Found]:
        """Look for everything in the folders that changed since they were last seen through."""
        distrust = now - self._last_full > DISTRUST_S
        if distrust:
            self._last_full = now
            self._changes.forget()
        found: list[Found] = []
        for folder, box in self._boxes.items():
            mark = self._changes.mark(folder)
            if self._changes.is_new(folder, mark):
                found += self._pending.in_folder(folder, box)
                self._changes.seen(folder, mark)
            self._sweep_rejected(box)
        cost = time.monotonic() - now
        pause = SWEEP_S if self._pace.is_quiet(now) else FLOWING_SWEEP_S
        self._next_sweep = now + max(pause, cost / SWEEP_SHARE)
        return found

    def _sweep_rejected(self, box: str) -> None:
        folder = str(self._layout.rejected / box)
        mark = self._changes.mark(folder)
        if self._changes.is_new(folder, mark):
            for task in self._pending.of_box(box):
                self._refused(task)
            self._changes.seen(folder, mark)

    def _refused(self, task: SpoolTask) -> bool:
        error = refusal(self._layout, task)
        if error is not None:
            self._finish(task, Ended(error=error))
        return error is not None

    def _settle(self, found: Iterable[Found]) -> int:
        """Read what was found, then end the tasks all together; how many ended."""
        ended: list[tuple[SpoolTask, Ended]] = []
        for task, data in found:
            if self._pending.by_path.get(task.result_file) is not task:
                continue  # found twice in one round
            try:
                outcome, understood = read_ended(task, data)
            except NotOurs as error:
                self._misplaced(task, error.reason)
                continue
            self._pending.drop(task)
            task.outcome = outcome
            if understood and not task.keep:
                task.is_left = True
                if not task.wanted_by:
                    remove_result(task.result_file)
            ended.append((task, outcome))
        for task, outcome in ended:
            self._finish(task, outcome)
        return len(ended)

    def _misplaced(self, task: SpoolTask, reason: BadResultFile) -> None:
        """Somebody's file stands at the result's place: the daemon took another name for ours."""
        if task not in self._damage:
            self._damage[task] = reason
            stem = task.result_file.removesuffix(".result")
            self._pending.move(task, f"{stem}.{task.id}.result")
            self._inquiry.hurry(time.monotonic())

    def _finish(self, task: SpoolTask, ended: Ended) -> None:
        self._pending.drop(task)
        if self._damage or self._unknown:
            self._damage.pop(task, None)
            self._unknown.pop(task, None)
        try:
            with self._handing_out:
                task.end(ended)
        except BaseException:
            log.exception("a callback of %s failed", task.name)

    # -- what no file tells -------------------------------------------------------------

    def _inquire(self, now: float) -> None:
        if not self._inquiry.is_due(now):
            return
        some = self._pending.oldest(ROUND)
        old = [t for t in some if now - t.added_at > PATIENCE_S and not t.cancelled()]
        for task, told in self._inquiry.ask(old, now):
            if isinstance(told, UnknownTask):
                self._not_known(task)
            else:
                self._unknown.pop(task, None)
                self._told(task, told)

    def _told(self, task: SpoolTask, record: dict[str, Any]) -> None:
        path = str(self._layout.root / str(record.get("result", "")))
        if record.get("state") not in _FINAL or self._settle(self._pending.these([task])):
            return
        if path != task.result_file and task not in self._damage:
            self._pending.move(task, path)
            if self._settle(self._pending.these([task])):
                return
        self._finish(task, _gone(task, record, self._damage.get(task)))

    def _not_known(self, task: SpoolTask) -> None:
        """The daemon has no such task: on its way there, refused, or gone for good."""
        if self._inquiry.is_in_spool(task) or self._refused(task):
            self._unknown.pop(task, None)
            return
        if self._settle(self._pending.these([task])):
            return
        self._inquiry.hurry(time.monotonic())
        self._unknown[task] = self._unknown.get(task, 0) + 1
        if self._unknown[task] >= UNKNOWN_TIMES:
            error = UnknownTask(
                f"The task {task.name} ({task.id}) is not in the spool any more.",
                why="its file is not in incoming/, it was not refused, and the daemon does not "
                "know it",
                fix="somebody removed it, or it was pruned: submit it again",
            )
            self._finish(task, Ended(error=error))

    # -- rest -----------------------------------------------------------------------------

    def _rest(self, now: float) -> None:
        if not self._pace.is_quiet(now):
            self._kick.wait(self._pace.pause_s)
        elif not self._watching.is_armed:
            self._watching.arm()
            self._next_sweep = now  # for what came since the last look
        else:
            self._resting = True
            until = min(self._next_sweep - now, self._inquiry.until_due(now))
            if not (self._added or self._dropped):
                self._kick.wait(max(until, 0.0))
            self._resting = False
        self._kick.clear()


def _gone(task: SpoolTask, record: dict[str, Any], damage: BadResultFile | None) -> Ended:
    if record.get("state") == "cancelled":
        return Ended(cancelled=True)
    if damage is not None:
        return Ended(error=damage)
    return Ended(
        error=ResultGone(
            f"The result of {task.name} ({task.id}) is gone.",
            why=f"it was delivered as {record.get('state')} to {Path(task.result_file)}, and "
            "somebody moved or deleted the file since",
            fix="look where it went, or submit the task again",
        )
    )
