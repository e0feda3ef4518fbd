"""From a dropped file to an accepted task: the first half of the commit protocol.

The order, so that a crash between any two steps neither loses nor doubles a task:

1. the dropped file is claimed by one rename into `active/`, under a name that carries id,
   box and its own name (what a crash leaves there is adopted by `recovery`);
2. its folder of inputs is claimed by one rename to `tmp/ID.in`, its files go to `inputs/`;
3. where something must be added (a script's header, digests of inputs, another result name),
   a canonical task file replaces the claimed one by rename;
4. the reactor syncs and commits; only then `tmp/ID.in` is removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from spoolmw.daemon import claims
from spoolmw.daemon.claims import Place
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.provisions import Provisions
from spoolmw.daemon.resultnames import ResultNames
from spoolmw.daemon.room import SCARCE
from spoolmw.daemon.table import Table
from spoolmw.daemon.waits import Waits
from spoolmw.errors import BadTaskFile
from spoolmw.format.arrays import count
from spoolmw.format.ids import new_task_id
from spoolmw.format.taskfile import Incomplete, TaskFile, default_result_name, read_header
from spoolmw.format.taskwriter import canonical
from spoolmw.model.ids import TaskId
from spoolmw.model.replica import Ballot
from spoolmw.model.spec import Spec
from spoolmw.model.task import Tally, Task, TaskState
from spoolmw.rules.ballot import opened
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.drops import Drop, Drops, Refusal
from spoolmw.spooldir.layout import Layout, active_name, active_of
from spoolmw.spooldir.publish import claim
from spoolmw.spooldir.rejects import reject
from spoolmw.store.journal import Journal

HEAD_BYTES = 65536


class Intake:
    """Takes dropped files; what it yields is in `active/` and waits for the commit."""

    def __init__(  # noqa: PLR0913  # it stands between all of these
        self,
        layout: Layout,
        drops: Drops,
        table: Table,
        journal: Journal,
        done_log: DoneLog,
        waits: Waits,
        *,
        agents: Collection[str],
    ) -> None:
        self.drops = drops
        self.rejected = 0
        self.layout = layout
        self._active = f"{layout.active}/"
        self.names = ResultNames(layout, table)
        self._table = table
        self._waits = waits
        self._journal = journal
        self._agents = agents
        self.provisions = Provisions(layout)
        self.on_full: Callable[[str], None] = lambda _why: None
        self._late: list[tuple[Place, TaskFile, bool]] = []
        self._done_log = done_log
        self._seq = journal.next_seq

    def take(self, limit: int) -> Iterator[Task]:
        """Up to `limit` new tasks. The caller enters each into the table before it asks for the next.

        Without room on the disk it stops and tells `on_full`; a later call goes on.
        """
        try:
            yield from self._finish_late()
            if not self._late:
                yield from self._take(limit)
        except OSError as error:
            self._tell_full(error)

    def _take(self, limit: int) -> Iterator[Task]:
        items = self.drops.take(limit)
        for notice in self.drops.notices():
            log.warning("left in incoming %s", fields(why=notice))
        try:
            read = self._read(items)
            known = self._journal.known([p.id for _, p in read if p.id is not None])
            for drop, parsed in read:
                try:
                    task = self._accept(drop, parsed, known)
                except BadTaskFile as error:
                    self.refuse(drop.place, drop, error)
                    continue
                if task is not None:
                    yield task
                elif self._late:
                    break
        finally:
            for item in items:
                if isinstance(item, Drop) and item.fd is not None:
                    os.close(item.fd)

    def _read(self, items: Sequence[Drop | Refusal]) -> list[tuple[Drop, TaskFile]]:
        """Parse what is ready; what cannot be a task is refused, what is cut off waits."""
        read = []
        for item in items:
            if isinstance(item, Refusal):
                place = f"{self.layout.incoming}/{item.box}/{item.name}"
                self.refuse(place, item, item.error)
                continue
            try:
                parsed = read_header(item.data, size=item.stat_size, dropped=item.name)
                self._check(parsed.spec)
                read.append((item, parsed))
            except Incomplete as error:
                self.drops.defer(item, error)
            except BadTaskFile as error:
                self.refuse(item.place, item, error)
        return read

    def _check(self, spec: Spec) -> None:
        """What the format cannot know: the agents that there are, and how much is too much."""
        if spec.place.agents:
            claims.check_agents(spec, self._agents)
        if spec.array is not None:
            claims.check_elements(count(spec.array), self.provisions.max_elements)

    def is_waiting(self) -> bool:
        """Something was dropped that may yet become a task without anything else happening."""
        return bool(self._late) or self.drops.is_waiting()

    def late(self) -> set[TaskId]:
        """Tasks whose files are claimed, and that could not be finished for lack of room."""
        return {place.id for place, _, _ in self._late}

    def _finish_late(self) -> Iterator[Task]:
        """Claimed files for which there was no room."""
        late, self._late = self._late, []
        for place, parsed, foreign in late:
            task = self.finish(place, parsed, foreign=foreign)
            if task is not None:
                yield task

    def _tell_full(self, error: OSError) -> None:
        """Raises `error` when it is none of scarcity."""
        if error.errno not in SCARCE:
            raise error
        self.on_full(f"{error.strerror}: {error.filename}" if error.filename else str(error))

    def _accept(self, drop: Drop, parsed: TaskFile, known: Collection[TaskId]) -> Task | None:
        if parsed.id is not None:
            first = self._table.get(parsed.id)
            if first is None and parsed.id in known:
                first = self._journal.get(parsed.id)
            if first is not None:
                self._again(drop, parsed, first)
                return None
        place = self._claim(drop, parsed.id or new_task_id())
        return None if place is None else self.finish(place, parsed, foreign=not drop.own)

    def _again(self, drop: Drop, parsed: TaskFile, known: Task) -> None:
        """The same id twice: the same bytes are a repeated drop, others are a mistake."""
        if known.body_sha256 == parsed.body.sha256 and known.spec == parsed.spec:
            try:
                drop.path.unlink(missing_ok=True)
            except OSError as error:
                self._leave(drop.place, error)
            log.info("dropped again %s", fields(task=known.id, state=known.state.value))
            return
        raise BadTaskFile(
            f"the id {known.id} belongs to another task",
            why=f"{known.dropped} was accepted with this id and other content",
            fix="leave the id to spoolmw.Spool.submit(), which makes a new one for each task",
        )

    def _claim(self, drop: Drop, task_id: TaskId) -> Place | None:
        target = self._active + active_name(task_id, drop.box, drop.name)
        place = Place(target, task_id, drop.box, drop.name)
        try:
            if not claim(drop.place, target):
                return None  # its owner took it back
            claims.check_same(place, drop)
        except BadTaskFile as error:
            self.refuse(target, place, error)
            return None
        except OSError as error:
            self._leave(drop.place, error)
            return None
        return place

    def _leave(self, path: str, error: OSError) -> None:
        """A file in `incoming/` that we may not move stays there. Raises `error` of scarcity."""
        if error.errno in SCARCE:
            raise error
        log.warning("left in incoming %s", fields(path=path, why=error))
        self.drops.leave(path)

    def finish(self, place: Place, parsed: TaskFile, *, foreign: bool = False) -> Task | None:
        """Make the canonical file of a claimed one, and the task's record.

        None: it was refused, or there is no room now, and `take` tries it again.
        """
        try:
            return self._finish(place, parsed, foreign=foreign)
        except BadTaskFile as error:
            self.refuse(place.path, place, error)
            return None
        except OSError as error:
            if error.errno in claims.CLOSED:
                self.refuse(place.path, place, claims.unreadable(error))
                return None
            self._tell_full(error)
            self._late.append((place, parsed, foreign))
            return None

    def _finish(self, place: Place, parsed: TaskFile, *, foreign: bool) -> Task:
        known = self._predecessors(place, parsed)
        spec = self.provisions.take(place, parsed)
        base = default_result_name(place.dropped)
        result_name = parsed.result_name
        if result_name == base:
            result_name = self.names.choose(place.id, place.box, base)
        submitted = parsed.submitted_at or wall_s()
        is_whole = (
            parsed.form == "task"
            and parsed.id is not None
            and spec is parsed.spec
            and result_name == parsed.result_name
            and (known == spec.after or not any(known))
        )
        if foreign or not is_whole:
            head = canonical(
                parsed,
                task_id=place.id,
                name=spec.name,
                submitted_at=submitted,
                result_name=result_name,
                inputs=spec.files.inputs,
                body_sha256=parsed.body.sha256 or claims.digest(place.path),
                predecessors=known,
                array=spec.array,
            )
            claims.replace(place, head, parsed, tmp=self.layout.tmp)
        if spec is not parsed.spec or known != parsed.predecessors:
            parsed = parsed._replace(spec=spec, predecessors=known)
        return self._record(place, parsed, result_name, submitted)

    def moved(self, task: Task) -> tuple[str, ...]:
        """The file of a task just taken, and the folders that its name came to and left.

        Empty when more came with it than that one file.
        """
        if task.spec.files.inputs or task.tally is not None:
            return ()
        path = self._active + active_of(task)
        return path, path.rpartition("/")[0], f"{self.layout.incoming}/{task.box}"

    def _predecessors(self, place: Place, parsed: TaskFile) -> tuple[TaskId, ...]:
        """Whom `after` means, as far as is known; what an earlier daemon found out stands."""
        spec = parsed.spec
        if not (spec.after or spec.key):
            return ()
        known = self._waits.resolve(place.id, place.box, spec)
        before = parsed.predecessors
        if len(before) != len(known):
            return known
        return tuple([old or new for old, new in zip(before, known, strict=True)])

    def _record(
        self, place: Place, parsed: TaskFile, result_name: str, submitted_at: float
    ) -> Task:
        spec = parsed.spec
        waits = bool(spec.after)
        twin = self._first_of(spec.key)
        tally = None if spec.array is None else Tally(total=count(spec.array))
        ready = TaskState.QUEUED if tally is None else TaskState.EXPANDING
        return Task(
            seq=self.next_number(),
            id=place.id,
            box=place.box,
            dropped=place.dropped,
            result_name=result_name,
            spec=spec,
            body_sha256=parsed.body.sha256,
            submitted_at=submitted_at,
            priority=spec.priority,
            state=TaskState.WAITING if waits or twin is not None else ready,
            memory_bytes=spec.resources.memory_bytes,
            twin_of=twin,
            waits=waits,
            predecessors=parsed.predecessors,
            tally=tally,
            ballot=_ballot(place.id, spec),
        )

    def next_number(self) -> int:
        """The place of the next task in the order of acceptance."""
        self._seq += 1
        return self._seq

    def _first_of(self, key: str) -> TaskId | None:
        """The task that this key means already, if it is open or was done."""
        if not key:
            return None
        if (first := self._table.keys.get(key)) is not None:
            return first
        known = self._journal.by_key(key)
        if known is None or known.state in (TaskState.FAILED, TaskState.CANCELLED):
            return None
        return known.id

    def note_retried(self, *tasks: Task) -> None:
        """Remember outside the journal that ended tasks are open again. Raises OSError."""
        self._done_log.append([replace(task, ending=None) for task in tasks])

    def refuse(self, path: str, item: Drop | Refusal | Place, error: BadTaskFile) -> None:
        """Move a file to `rejected/`, or leave it where it is when that is not possible."""
        self.rejected += 1
        if isinstance(item, Place):
            name, folder = item.dropped, self.layout.tmp / f"{item.id}.in"
        else:
            name, folder = item.name, Path(f"{path}.in")
        self._waits.refused(item.box, name, error.what)
        log.warning("refused %s", fields(box=item.box, name=name, why=error.what))
        try:
            reject(self.layout, path, item.box, name, error, inputs=folder)
        except OSError as problem:
            self._leave(path, problem)


def _ballot(task_id: TaskId, spec: Spec) -> Ballot | None:
    """The vote of a task that asked for one."""
    if not spec.redundancy.is_wished:
        return None
    return opened(task_id, spec.redundancy, spec.retry, spec.resources.memory_bytes)
