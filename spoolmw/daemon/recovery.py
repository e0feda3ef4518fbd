"""What a start owes: the journal's open tasks, files that no row knows, ends under way.

Of an earlier daemon nothing runs any more on this machine when this is called (the local agent
has seen to it), so a task that was running, or a replica, lost its attempt and waits again at
once. But what ran at an agent that lasts is left to that agent, which says what became of it, also
of what was given up: as long as its task is open its result may count.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeGuard

from spoolmw.daemon import claims, saved
from spoolmw.daemon.arrays import found_again
from spoolmw.daemon.attempts import daemon_died
from spoolmw.daemon.claims import Place
from spoolmw.daemon.clock import boot_id, boot_s, wall_s
from spoolmw.daemon.intake import HEAD_BYTES
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.orders import launch_again, launch_of
from spoolmw.daemon.reactor import Reactor
from spoolmw.daemon.refound import Refound
from spoolmw.daemon.table import Table
from spoolmw.errors import BadSpool, BadTaskFile
from spoolmw.format.taskfile import MAGIC, TaskFile, read_header
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Lease
from spoolmw.model.effects import Judge
from spoolmw.model.events import Cancelled, Delivered, Held
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.replica import Ballot
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules import history as past
from spoolmw.rules.ballot import staged_results
from spoolmw.rules.task import owed
from spoolmw.spooldir import donelog, markers
from spoolmw.spooldir import inputs as input_files
from spoolmw.spooldir.accepted import active_files
from spoolmw.spooldir.layout import Layout, sort_active

DONE_LOG_BYTES = 64 << 20  #: of the newest deliveries, held against the journal at a start


class Left(NamedTuple):
    """What an earlier daemon had given to the agents that last."""

    running: dict[AgentName, list[Launch]]
    given_up: dict[AgentName, list[Launch]]  #: called lost, but it may run on


class Recovery:
    """Brings a reactor from the journal's state to the world's, once, before its first tick."""

    def __init__(
        self, layout: Layout, reactor: Reactor, lasting: Collection[AgentName] = ()
    ) -> None:
        """`lasting` are agents whose attempts outlived the earlier daemon."""
        self._layout = layout
        self._reactor = reactor
        self._lasting = lasting
        self._left = Left({}, {})
        self._retryable: list[Task] = []
        self._refound: Refound | None = None

    def run(self) -> Left:
        """Load, adopt, settle; what is then owed is in the reactor's batch."""
        reactor = self._reactor
        sort_active(self._layout)
        reactor.dispatch.look_at_hosts(wall_s())
        for task in reactor.journal.load(now_boot=boot_s(), boot_id=boot_id()):
            reactor.take_up(task)
        self._retryable = reactor.journal.retryable()
        for kept in self._retryable:
            reactor.table.hold_inputs(kept)
        input_files.drop_halves(self._layout)
        _check_age(self._layout, reactor.table)
        adopted = {task.id for task in self._adopt()}
        lost = self._settle_open()
        self._apply_markers()
        self._clean_stage()
        self._clean_tmp(adopted | reactor.intake.late())
        self._clean_inputs()
        self._clean_values()
        saved.tidy(self._layout, reactor.table, reactor.journal.get)
        log.info(
            "recovered %s",
            fields(
                open=len(reactor.table),
                adopted=len(adopted),
                restarted=lost,
                left_running=sum(map(len, self._left.running.values())),
            ),
        )
        return self._left

    def _settle_open(self) -> int:
        reactor, now, lost = self._reactor, boot_s(), 0
        for task in list(reactor.table):
            if task.state is TaskState.DELIVERING:
                if reactor.delivery.is_delivered(task):
                    self._retryable.append(reactor.apply(task, Delivered(at=now)))
                else:
                    reactor.owe(owed(task))
                continue
            self._leave_given_up(task)
            if task.ballot is not None:
                lost += self._settle_vote(task, task.ballot)
            elif task.state is TaskState.RUNNING and self._lasts(task.lease):
                self._leave(task.lease, launch_of(task, task, task.lease, reactor.dispatch))
            elif task.state is TaskState.RUNNING:
                reactor.apply(task, daemon_died(now, task.attempt_id))
                lost += 1
            else:
                reactor.waits.take_up(task)
        return lost

    def _settle_vote(self, task: Task, ballot: Ballot) -> int:
        """The replicas that ran wait again; results that were being compared are compared again."""
        reactor, now, lost = self._reactor, boot_s(), 0
        for each in ballot.replicas:
            if self._lasts(each.lease):
                work = launch_of(task, each, each.lease, reactor.dispatch)
                self._leave(each.lease, work)
            elif each.lease is not None:
                task = reactor.apply(task, daemon_died(now, each.attempt_id))
                lost += 1
        reactor.owe([effect for effect in owed(task) if isinstance(effect, Judge)])
        reactor.waits.take_up(task)
        return lost

    def _lasts(self, lease: Lease | None) -> TypeGuard[Lease]:
        return lease is not None and lease.agent in self._lasting

    def _leave(self, lease: Lease, work: Launch) -> None:
        """Have its agent say what becomes of an attempt."""
        self._left.running.setdefault(lease.agent, []).append(work)

    def _leave_given_up(self, task: Task) -> None:
        """Have agents tell of what was called lost; of what a held task has only if it ended."""
        terms = self._reactor.dispatch
        for each in task.ballot.replicas if task.ballot is not None else (task,):
            for ran in past.given_up(each.history):
                if (name := AgentName(ran.agent)) in self._lasting:
                    work = launch_again(task, each, ran, terms)
                    self._left.given_up.setdefault(name, []).append(work)
            if task.state is TaskState.HELD:
                self._reactor.owe(past.stops(each.attempt_id, each.history, is_wanted=True))

    # -- files that no row knows ------------------------------------------------------------

    def _adopt(self) -> Iterator[Task]:
        """Files in `active/` that were claimed but not committed, first come first."""
        unknown = sorted(self._unknown(), key=lambda place: place.id)
        log_of_ends, ids = self._layout.done_log, {place.id for place in unknown}
        ended = donelog.newest_states(log_of_ends, ids)
        for place in unknown:
            if ended.get(place.id, donelog.RETRIED) != donelog.RETRIED:
                continue  # ended in an earlier journal; `rebuild` gives it a row
            if (task := self._adopt_one(place)) is not None:
                yield task

    def _unknown(self) -> Iterator[Place]:
        """Files in `active/` without a row; those of tasks that are done are removed."""
        reactor = self._reactor
        for path, task_id, box, dropped in active_files(self._layout):
            if reactor.table.get(task_id) is not None:
                continue
            known = reactor.journal.get(task_id)
            if known is None:
                yield Place(str(path), task_id, box, dropped)
            elif known.state is TaskState.DONE:
                path.unlink(missing_ok=True)  # committed, but not yet tidied up

    def _adopt_one(self, place: Place) -> Task | None:
        """Enter a claimed file as a task; refuse it when it cannot be one."""
        intake = self._reactor.intake
        try:
            task = intake.finish(place, read_head(place), foreign=self._is_foreign(place))
        except BadTaskFile as error:
            intake.refuse(place.path, place, error)
            return None
        except OSError as error:
            if error.errno not in claims.CLOSED:
                raise
            intake.refuse(place.path, place, claims.unreadable(error))
            return None
        if task is None:
            return None  # refused, or there is no room for it now
        if task.tally is not None:  # a journal that was rebuilt knows some of its elements
            counts = self._reactor.journal.elements.counts(task.id)
            task = found_again(task, counts)
        return self._submit(saved.taken_up(self._layout, task))

    def _is_foreign(self, place: Place) -> bool:
        """The file is still its submitter's, who could change it: it is copied, as at acceptance."""
        owners = os.stat(place.path).st_uid, os.stat(self._layout.active).st_uid
        return owners[0] not in (os.geteuid(), owners[1])

    def _submit(self, task: Task) -> Task:
        """Enter a task of which no journal knew, with what its replicas had returned."""
        reactor = self._reactor
        if self._refound is None:
            rooms = reactor.dispatch.rooms.items()
            sure = all(room.capacity.trusted for _, room in rooms)
            spots = [(name, room.spot) for name, room in rooms] if sure else []
            self._refound = Refound(self._layout, spots)
        task, reports = self._refound.with_results(task)
        reactor.submit(task)
        log.info("adopted %s", fields(task=task.id, name=task.spec.name, results=len(reports)))
        for report in reports:
            task = reactor.apply(task, report)
        return task

    def _apply_markers(self) -> None:
        """A hold or a cancel that was asked for outlives the journal in a file beside the task's."""
        reactor = self._reactor
        for task_id, mark in markers.found(self._layout):
            task = reactor.table.get(task_id) or self._early(task_id)
            if task is None or task.state in FINAL:
                continue
            event = (
                Held(at=boot_s(), wall=wall_s())
                if mark is markers.Mark.HOLD
                else Cancelled(at=boot_s(), wall=wall_s())
            )
            if task.state is not TaskState.HELD or mark is markers.Mark.CANCEL:
                for each in (*reactor.arrays.concerned(task, event), task):
                    reactor.apply(each, event)

    def _early(self, task_id: TaskId) -> Task | None:
        """The element that a marker means: its array has not come to it (again)."""
        element = self._reactor.arrays.make_early(task_id)
        if element is not None:
            self._reactor.enter(element)
        return element

    # -- what a crash left lying about ---------------------------------------------------------

    def _clean_stage(self) -> None:
        """Staged files of attempts that will run again, or whose task has ended."""
        keep = {
            str(task.ending.staged) if task.ending.staged else f"{task.id}.end"
            for task in self._reactor.table
            if task.state is TaskState.DELIVERING and task.ending is not None
        }
        keep.update(self._wanted_results())
        with os.scandir(self._layout.stage) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name.removesuffix(".files") not in keep:
                self._reactor.delivery.discard(name.removesuffix(".files"))

    def _wanted_results(self) -> Iterator[str]:
        """What replicas returned, in `stage/`: also of a vote that somebody may yet decide."""
        for task in (*self._reactor.table, *self._retryable):
            if task.ballot is not None:
                yield from map(str, staged_results(task.ballot))

    def _clean_inputs(self) -> None:
        """Input files that no task needs: taken for one that was then refused."""
        for name in os.listdir(self._layout.inputs):
            if name not in self._reactor.table.inputs:
                (self._layout.inputs / name).unlink(missing_ok=True)

    def _clean_values(self) -> None:
        """Values that no task takes, and those of attempts that will run again."""
        table, values = self._reactor.table, self._reactor.waits.values
        for name in values.kept():
            task = table.get(TaskId(name))
            if TaskId(name) not in table.values or (task is not None and task.ending is None):
                values.drop(name)

    def _clean_tmp(self, needed: set[TaskId]) -> None:
        """Claimed folders of inputs whose task is committed, and half-written canonical files."""
        with os.scandir(self._layout.tmp) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            path = self._layout.tmp / name
            if name.endswith(".canonical"):
                path.unlink(missing_ok=True)
            elif name.endswith(".in") and name[:-3] not in needed and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def _check_age(layout: Layout, table: Table) -> None:
    """A journal that was restored from a backup has tasks open that were delivered since.

    The line in the log follows the commit of the end, so the newest journal never has one open
    (but for DELIVERING) whose newest line says that it ended. Raises BadSpool.
    """
    told = donelog.newest_states(layout.done_log, table.tasks, most_bytes=DONE_LOG_BYTES)
    ended = [
        task_id
        for task_id, state in told.items()
        if state != donelog.RETRIED and table.tasks[task_id].state is not TaskState.DELIVERING
    ]
    if ended:
        raise BadSpool(
            f"the journal is older than the spool: {len(ended)} tasks that it has as open ended",
            why=f"done.log tells of their delivery, of {ended[0]} for one: was a backup restored?",
            fix="spoolmwd --rebuild makes a journal from the spool as it is; nothing runs twice",
        )


def read_head(place: Place) -> TaskFile:
    """Parse a file in `active/`. Raises BadTaskFile."""
    with open(place.path, "rb") as file:
        data = file.read(HEAD_BYTES)
        size = os.fstat(file.fileno()).st_size
    accepted = data.startswith(MAGIC)
    return read_header(data, size=size, dropped=place.dropped, accepted=accepted)
