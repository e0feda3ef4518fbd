"""`spoolmwd --rebuild`: makes a new journal from the spool alone. What was delivered is not run again.

The sources, in this order: `done.log` says what ended and how; `results/` holds what ended
without the log's knowing; what then is left in `active/` is open. A staged result that
`done.log` names was decided but not moved: it is delivered by the next start.

The elements of an array have no files of their own, but their ids tell of which array and which
element they are. Those of an array that is open and of which log or results tell the end get a
row, so the array, adopted by the next start, passes over them; all others are made again.

Of a vote nothing is kept but what was returned: the next start finds whole results in `stage/`
again where it is certain whose they are, has all others computed once more and compares anew
(`refound`). What is known of hosts is lost with the journal.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from spoolmw.daemon import regather, saved
from spoolmw.daemon.claims import Place
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.recovery import read_head
from spoolmw.errors import BadResultFile, BadTaskFile
from spoolmw.format.arrays import element_spec, family
from spoolmw.format.ids import made_before
from spoolmw.format.keyed import Unfit
from spoolmw.format.resultfile import body_bytes, read_trailer
from spoolmw.format.taskfile import TaskFile
from spoolmw.format.values import text
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import Submitted
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.replica import Ballot, Phase
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, Ending, Task, TaskState
from spoolmw.rules import closing
from spoolmw.rules.ballot import opened
from spoolmw.spooldir import donelog
from spoolmw.spooldir.accepted import active_files
from spoolmw.spooldir.donelog import Done
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import sync_folder
from spoolmw.store.journal import Changed, Journal

SUFFIXES = ("", "-wal", "-shm")  #: of the files of one journal
STATES = {state.value: state for state in FINAL}
KNOWN_FROM = "known from done.log"
_NAME = text(most=128)


def rebuild(layout: Layout) -> dict[str, object]:
    """Move the old journal aside, write a new one; the report counts what was found.

    Files in `active/` that were claimed but never made canonical are left to the next start,
    which adopts them as it does after any crash.
    """
    fresh = layout.journal.with_name(f"{layout.journal.name}.new")
    _remove(fresh)  # of a rebuild that was killed
    found = _Gathering(layout)
    found.gather()
    journal = Journal.open(fresh)
    journal.commit(found.changes, now_boot=0.0, boot_id="")
    journal.close()
    # Whole at its name or not there: a start with an empty journal would throw staged results away.
    aside = _move_aside(layout)
    fresh.rename(layout.journal)
    sync_folder(layout.journal.parent)
    return {**found.counts, "old_journal": str(aside or ""), "problems": []}


class _Gathering:
    """What the spool tells of every task: those that ended, and how many are open."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._done = donelog.read(layout.done_log)
        self._families = regather.families(self._done)
        self._staged = {name.partition(".")[0] for name in os.listdir(layout.stage)}
        self.counts = {"ended": 0, "delivering": 0, "open": 0, "left_to_adopt": 0}
        self.changes: list[Changed] = []

    def gather(self) -> None:
        """Go through `active/`, then through what of the log is left."""
        seen: set[TaskId] = set()
        for path, task_id, box, dropped in active_files(self._layout):
            seen.add(task_id)
            seen.update(self._file(Place(str(path), task_id, box, dropped)))
        for task_id, told in self._done.items():
            if task_id not in seen and told.state in STATES:
                place = Place("", task_id, told.box, told.result_name)
                task = _ended(place, Spec(name=_name_in(self._layout, task_id, told)), told)
                self._enter(saved.kept(saved.taken_up(self._layout, task)))

    def _file(self, place: Place) -> list[TaskId]:
        """The task of a file in `active/`, and of an array those elements that ended; their ids."""
        parsed = _parse(place)
        told = self._done.get(place.id) or _delivered(self._layout, place, parsed)
        if parsed is None:
            self.counts["left_to_adopt"] += 1
            return []
        elements: list[regather.Found] = []
        if parsed.spec.array is not None:
            kin = self._families.get(family(place.id), {})
            elements = regather.ended_elements(self._layout, place, parsed, kin)
        for found in elements:
            spec = element_spec(parsed.spec, found.element.index)
            task = _ended(place._replace(id=found.id), spec, found.told)
            task = replace(task, element=found.element)
            self._enter(saved.taken_up(self._layout, task))
        if told is None or told.state not in STATES:
            self.counts["open"] += 1  # adopted, with its markers, by the next start
        else:
            task = _ended(place, parsed.spec, told)
            task = replace(task, tally=regather.tally_of(parsed, elements))
            self._enter(saved.taken_up(self._layout, task))
        return [found.id for found in elements]

    def _enter(self, task: Task) -> None:
        """The task as it ended, or as it was just before its result was moved."""
        task = replace(task, seq=len(self.changes) + 1)
        staged = _staged(self._layout, task.id) if task.id in self._staged else None
        if staged is not None:
            task = _delivering(task, staged)
        self.counts["ended" if staged is None else "delivering"] += 1
        self.changes.append(_entered(task))


def _remove(journal: Path) -> None:
    for suffix in SUFFIXES:
        Path(f"{journal}{suffix}").unlink(missing_ok=True)


def _move_aside(layout: Layout) -> Path | None:
    """The old journal with what belongs to it; a WAL that stays would be read as the new one's."""
    if not any(Path(f"{layout.journal}{suffix}").exists() for suffix in SUFFIXES):
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = layout.journal.with_name(f"{layout.journal.name}.{stamp}.old")
    for suffix in SUFFIXES:
        old = Path(f"{layout.journal}{suffix}")
        if old.exists():
            old.rename(f"{aside}{suffix}")
    return aside


def _parse(place: Place) -> TaskFile | None:
    try:
        return read_head(place)
    except BadTaskFile:
        return None


def _delivered(layout: Layout, place: Place, parsed: TaskFile | None) -> Done | None:
    """What a result file in `results/` tells of a task that the log does not know."""
    if parsed is None:
        return None
    name = parsed.result_name or place.dropped.removesuffix(".task")
    trailer = regather.trailer_of(layout, place.box, name)
    if trailer.get("task") != place.id and trailer.get("id") != place.id:
        return None
    return Done(
        key=parsed.spec.key,
        digest=str(trailer.get("digest", "")),
        state=str(trailer.get("state", "")),
        box=place.box,
        result_name=name,
    )


def _name_in(layout: Layout, task_id: TaskId, told: Done) -> str:
    """What a task was called by its own result, where that is still there; else as the result is."""
    trailer = regather.trailer_of(layout, told.box, told.result_name)
    if trailer.get("id") != task_id:
        return told.result_name
    try:
        return str(_NAME(trailer.get("name")))
    except Unfit:
        return told.result_name


def _ended(place: Place, spec: Spec, done: Done) -> Task:
    if done.key and not spec.key:
        spec = Spec(name=spec.name, key=done.key)
    return Task(
        seq=0,
        id=place.id,
        box=done.box,
        dropped=place.dropped,
        result_name=done.result_name,
        spec=spec,
        predecessors=(TaskId(""),) * len(spec.after),  # a retry finds them again
        submitted_at=made_before(place.id, wall_s()),
        state=STATES[done.state],
        ending=Ending(
            state=STATES[done.state],
            cause=Cause.FINISHED if done.state == "done" else Cause.EXIT,
            blame=Blame.NONE if done.state == "done" else Blame.TASK,
            message=KNOWN_FROM,
            digest=done.digest,
        ),
        ballot=None if done.state == "done" else _ballot(place.id, spec),
    )


def _ballot(task_id: TaskId, spec: Spec) -> Ballot | None:
    """A vote that is over, of a task that wanted one: a retry then votes anew."""
    if not spec.redundancy.is_wished:
        return None
    ballot = opened(task_id, spec.redundancy, spec.retry, spec.resources.memory_bytes)
    return closing.end(ballot, Phase.WITHDRAWN, KNOWN_FROM, 0.0).ballot


def _staged(layout: Layout, task_id: TaskId) -> Path | None:
    """A whole staged result of this task: it has its trailer."""
    for path in sorted(layout.stage.glob(f"{task_id}.*")):
        if path.is_dir():
            continue
        try:
            read_trailer(path)
        except (OSError, BadResultFile):
            continue
        return path
    return None


def _delivering(task: Task, staged: Path) -> Task:
    """The task as it was between the commit of its end and the move of its result."""
    _, _, rest = staged.name.partition(".")
    replica, _, attempt = rest.partition(".")
    by_daemon = rest == "end"
    ending = task.ending
    assert ending is not None
    return replace(
        task,
        state=TaskState.DELIVERING,
        attempt=0 if by_daemon else int(attempt),
        ending=Ending(
            state=ending.state,
            cause=ending.cause,
            blame=ending.blame,
            message=ending.message,
            staged=None if by_daemon else AttemptId(task.id, int(replica), int(attempt)),
            body_bytes=body_bytes(staged),
            digest=ending.digest,
            files=staged.with_name(f"{staged.name}.files").is_dir(),
            trusted=read_trailer(staged).get("trusted", True) is True,
        ),
    )


def _entered(task: Task) -> Changed:
    return Changed(None, task, (Submitted(at=0.0, task=task),))
