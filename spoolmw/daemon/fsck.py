"""`spoolmwd --fsck`: holds the spool against the journal. Reads only; also beside a running daemon.

A running daemon changes things while this looks, so what is found then is looked at twice.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from spoolmw.daemon import saved
from spoolmw.errors import SpoolmwError
from spoolmw.spooldir import checkpointfile, checkpoints, lock
from spoolmw.spooldir.accepted import active_files
from spoolmw.spooldir.layout import Layout
from spoolmw.store.reports import Reports

AGAIN_S = 1.0
_REMEDIES = {"failed": "nobody can accept it; spoolmw-ctl retry runs the task once more"}


def check(layout: Layout) -> dict[str, object]:
    """The report: counts, and `problems`, one line each with what to do."""
    if not layout.journal.exists():
        return {"problems": [f"{layout.journal} is missing: run spoolmwd --rebuild"]}
    first = _problems(layout)
    if first and lock.holder(layout.lock) is not None:
        time.sleep(AGAIN_S)
        second = set(_problems(layout))
        first = [problem for problem in first if problem in second]
    return {
        "spool": str(layout.root),
        "active": sum(1 for _ in active_files(layout)),
        "staged": len(os.listdir(layout.stage)),
        "inputs": len(os.listdir(layout.inputs)),
        "checkpoints": sum(
            len(checkpoints.of_task(layout, task_id)) for task_id in checkpoints.tasks(layout)
        ),
        "problems": first,
    }


def _problems(layout: Layout) -> list[str]:
    try:
        reports = Reports.open(layout)
        damage = reports.integrity()
    except SpoolmwError as error:
        return [f"the journal cannot be read: {error.what}; run spoolmwd --rebuild"]
    if damage:
        return [f"the journal is damaged: {damage}; stop the daemon, run spoolmwd --rebuild"]
    problems = []
    known: dict[str, str] = {}
    inputs: set[str] = set()
    for row in reports.files():
        known[row.path] = row.state
        if row.inputs and (layout.active / row.path).exists():
            inputs.update(row.inputs)  # with its file a task's inputs are removed too
        if row.is_open and not (layout.active / row.path).exists():
            problems.append(f"task {row.id} is {row.state}, but active/{row.path} is missing")
    for path, task_id, _, _ in active_files(layout):
        rel = f"{path.parent.name}/{path.name}"
        if rel not in known:
            problems.append(f"active/{rel} is not in the journal; a restart adopts {task_id}")
    problems += _missing_inputs(layout, inputs)
    problems += _missing_results(layout, reports)
    problems += _damaged_checkpoints(layout)
    problems += [
        f"checkpoints/{task_id} is of a task that the journal does not know:"
        " spoolmw-ctl prune --checkpoints 1d removes it"
        for task_id in saved.orphans(layout, lambda _: {path[3:35] for path in known})
    ]
    return problems


def _missing_results(layout: Layout, reports: Reports) -> list[str]:
    """What replicas returned and that cannot be compared, or accepted, any more."""
    return [
        f"task {row.task} is {row.state}, but stage/{row.name} is missing or too short:"
        f" {_REMEDIES.get(row.state, 'it will count as no result, and another replica will run')}"
        for row in reports.reported()
        if _size(layout.stage / row.name) < row.size_bytes
    ]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _damaged_checkpoints(layout: Layout) -> list[str]:
    """By their manifests; `spoolmw-ctl checkpoint ls --verify` reads every byte."""
    every = (
        each
        for task_id in checkpoints.tasks(layout)
        for each in checkpoints.of_task(layout, task_id)
    )
    told = (
        (each.path.relative_to(layout.root), checkpointfile.told_by(each.path))
        for each in every
    )
    return [
        f"{place} is damaged ({why}): the one before it is used, or the start"
        for place, why in told
        if isinstance(why, str)
    ]


def _missing_inputs(layout: Layout, digests: set[str]) -> list[str]:
    missing = [digest for digest in digests if not Path(layout.inputs / digest).exists()]
    return [f"inputs/{digest} is missing: its tasks will fail" for digest in sorted(missing)]
