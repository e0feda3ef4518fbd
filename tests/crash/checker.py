"""The judge of the sweep: compares what was acknowledged with what was delivered."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from spoolmw.format.resultfile import read
from spoolmw.runner import safe
from spoolmw.spooldir import donelog
from spoolmw.spooldir.layout import Layout, active_name
from tests.crash.workload import (
    ITEMS,
    OVERLAPS,
    RUNS,
    TAKEN,
    TAKEN_TEXT,
    Item,
    acknowledged,
)

ENDED = ("done", "failed", "cancelled")


class Excuse(Enum):
    """What else happened, and what may therefore be."""

    CLIENT_KILLED = "what it had begun to write may lie in tmp/"
    NEW_JOURNAL = "attempts are counted from one again"


@dataclass(frozen=True)
class Delivered:
    """One result file, wherever it lies now."""

    path: Path
    header: dict[str, object]
    trailer: dict[str, object]
    value: bytes

    @property
    def id(self) -> str:
        return str(self.trailer["id"])

    @property
    def name(self) -> str:
        return str(self.trailer["name"])


def problems(home: Path, excused: Collection[Excuse] = ()) -> list[str]:
    """Everything that is wrong after the last daemon ended; empty: the promises were kept."""
    layout = Layout(home / "spool")
    found: list[str] = []
    results = list(_delivered(home, found))
    ids = Counter(result.id for result in results)
    found += [f"task {one} was delivered {n} times" for one, n in ids.items() if n > 1]
    for item in ITEMS:
        found += _item_problems(home, item, [r for r in results if r.name == item.name])
    found += run_problems(home, excused)
    found += _journal_problems(layout, results)
    found += _leftovers(layout, excused)
    if (layout.results / f"{TAKEN}.result").read_bytes() != TAKEN_TEXT:
        found.append("the result that stood there first was changed")
    return found


def _delivered(home: Path, found: list[str]) -> Iterator[Delivered]:
    places = [
        *(home / "spool" / "results").rglob("*.result"),
        *(home / "taken").glob("*.result"),
    ]
    for path in places:
        if path.name == f"{TAKEN}.result":
            continue
        try:
            file = read(path)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
            found.append(f"{path.name} cannot be read: {error}")
            continue
        if not file.trailer:
            found.append(f"{path.name} has no trailer")
            continue
        yield Delivered(path, dict(file.header), dict(file.trailer), bytes(file.value))


# -- each submission


def _item_problems(home: Path, item: Item, results: list[Delivered]) -> list[str]:
    lines = acknowledged(home).get(item.of or item.name, [])
    tried = sum(word == "will" for word, _ in lines)
    acked = sum(word == "done" for word, _ in lines)
    found = []
    if not acked <= len(results) <= tried:
        found.append(
            f"{item.name}: {acked} acknowledged of {tried} tried, {len(results)} delivered"
        )
    ids = {result.id for result in results}
    found += [
        f"{item.name}: task {task_id} was acknowledged and never delivered"
        for word, task_id in lines
        if word == "done" and task_id and task_id not in ids
    ]
    for result in results:
        found += [f"{item.name}: {problem}" for problem in _content_problems(item, result)]
    return found


def _content_problems(item: Item, result: Delivered) -> Iterator[str]:
    state = result.trailer["state"]
    if item.is_twin and state == "failed" and "took it away" in json.dumps(result.trailer):
        return
    if item.takes and state == "failed" and "taken away before" in json.dumps(result.trailer):
        return
    if state != item.state:
        yield f"is {state}, not {item.state}: {result.header} {result.trailer}"
        return
    if item.value is not None and safe.loads(result.value) != item.value:
        yield f"has the value {result.value!r}"
    if item.error and item.error not in json.dumps(result.header.get("exception")):
        yield f"does not tell of {item.error}: {result.header}"
    yield from _file_problems(item, result)


def _file_problems(item: Item, result: Delivered) -> Iterator[str]:
    wanted = dict(item.files)
    if item.stdout is not None:
        wanted |= {"stdout": item.stdout, "stderr": ""}
    for name, content in wanted.items():
        path = result.path.with_suffix(".files") / name
        if not path.is_file():
            yield f"the file {name} is missing"
        elif path.read_text(encoding="utf-8") != content:
            yield f"{name} is {path.read_text(encoding='utf-8')!r}"


# -- runs, journal, leftovers


def run_problems(home: Path, excused: Collection[Excuse] = ()) -> list[str]:
    """Attempts that ran beside their successor, or twice."""
    found = []
    if (home / OVERLAPS).exists():
        found.append(f"attempts ran side by side: {(home / OVERLAPS).read_text()}")
    runs = (home / RUNS).read_text().splitlines() if (home / RUNS).exists() else []
    if Excuse.NEW_JOURNAL in excused:
        return found
    twice = [run for run, number in Counter(runs).items() if number > 1]
    return found + [f"attempt started twice: {run}" for run in twice]


def _journal_problems(layout: Layout, results: list[Delivered]) -> list[str]:
    found = []
    db = sqlite3.connect(layout.journal)
    try:
        verdict = [row[0] for row in db.execute("PRAGMA integrity_check")]
        if verdict != ["ok"]:
            found.append(f"the journal is damaged: {verdict}")
        states = dict(
            db.execute("SELECT id, states.name FROM tasks JOIN states USING (state)").fetchall()
        )
    finally:
        db.close()
    found += [
        f"task {one} is still {state}" for one, state in states.items() if state not in ENDED
    ]
    found += [f"{r.id} is not in the journal" for r in results if r.id not in states]
    undelivered = set(states) - {result.id for result in results}
    found += [f"{one} is {states[one]} and was never delivered" for one in undelivered]
    logged = donelog.read(layout.done_log)
    found += [f"{r.id} is not in done.log" for r in results if r.id not in logged]
    return found


def _leftovers(layout: Layout, excused: Collection[Excuse]) -> list[str]:
    kept = _kept_for_retry(layout)
    found = []
    folders = [layout.incoming, layout.stage, layout.rejected, layout.active, layout.inputs]
    folders.append(layout.values)
    for folder in folders if Excuse.CLIENT_KILLED in excused else [*folders, layout.tmp]:
        for path in folder.rglob("*"):
            rel = str(path.relative_to(layout.root))
            if path.is_file() and rel not in kept and path.parent != layout.output:
                found.append(f"left over: {rel}")
    if Excuse.CLIENT_KILLED not in excused:
        found += [f"left over: {path.name}/" for path in layout.tmp.glob("*.in")]
    return found


def _kept_for_retry(layout: Layout) -> set[str]:
    """The files that a failed task keeps, so that its user can have it run again."""
    kept = set()
    db = sqlite3.connect(layout.journal)
    try:
        rows = db.execute(
            "SELECT id, box, dropped, after FROM tasks WHERE state > 5"
        ).fetchall()
    finally:
        db.close()
    for task_id, box, dropped, after in rows:
        kept.add(f"active/{active_name(task_id, box, dropped)}")
        kept |= {f"values/{taken}" for taken in json.loads(after)[2]} if after else set()
    return kept


def no_op_problems(home: Path, before: dict[str, object]) -> list[str]:
    """What a daemon changed that had nothing to do."""
    after = picture(home)
    return [
        f"a further start changed {key}: {before.get(key)} -> {after.get(key)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def picture(home: Path) -> dict[str, object]:
    """The spool as it is: every file of it, and every task of the journal."""
    layout = Layout(home / "spool")
    passing = {layout.journal.parent, layout.scratch, layout.output, layout.runner}
    seen: dict[str, object] = {}
    for path in layout.root.rglob("*"):
        if (
            path.is_file()
            and passing.isdisjoint(path.parents)
            and path.name not in ("lock", "ballast")
        ):
            found = path.stat()
            seen[str(path.relative_to(layout.root))] = (found.st_size, found.st_mtime_ns)
    db = sqlite3.connect(layout.journal)
    try:
        for row in db.execute("SELECT * FROM tasks"):
            seen[f"task {row[1]}"] = row
        seen["events"] = db.execute("SELECT count(*) FROM events").fetchone()
    finally:
        db.close()
    return seen
