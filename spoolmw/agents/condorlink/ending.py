"""How an attempt ended whose job ended, was held, was removed or is gone: as the runner would say it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.batch import collecting, saving
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.agents.condorlink.holds import Held
from spoolmw.agents.condorlink.jobs import Job
from spoolmw.runner import reading, results, sandbox
from spoolmw.runner.order import name_of, split

Told = tuple[str, dict[str, Any]]
"""An event, and its one entry."""


def collected(job: Job, root: Path) -> list[Told]:
    """What a job brought back: its checkpoint, its news, its report. Raises OSError."""
    told: list[Told] = []
    saved = saving.bring(job.home / sandbox.CHECKPOINTS, root, job.given)
    if saved is not None:
        told.append(("checkpointed", saved))
    if not job.has_report:
        refused = collecting.refusal(job.out)
        if refused is None:
            return [*told, lost(job, "connection", "host", "its job ended without a report")]
        text = "; ".join(each for each in (refused.what, refused.why, refused.fix) if each)
        return [*told, lost(job, "launch", "agent", f"{refused.host}: {text}")]
    try:
        found = collecting.collect(job.out, root, job.given)
    except Garbage as error:
        text = f"what its job brought back is no result of it: {error}"
        return [*told, lost(job, "connection", "host", text, counts=True)]
    told += [(event, entry) for event, entries in found.news for entry in entries]
    where = {"host": job.host or found.host, "machine": found.machine}
    return [*told, ("ended", {**found.report, **where})]


def held(job: Job, what: Held, root: Path) -> list[Told]:
    """A hold, which keeps no task: its own fault is an error with a result, else it is lost."""
    if not what.is_the_tasks:
        return [lost(job, what.cause, what.blame, what.message, counts=what.blame == "host")]
    ended = results.failed(what.cause, what.message)
    path = str(root / "stage" / job.attempt)
    size, digest = results.write(path, _name(job, root), job.attempt, ended)
    times = (job.started_at or time.time(), time.time())
    report = results.report(job.attempt, job.given.token, ended, times)
    report |= {"body_bytes": size, "digest": digest, "slot": job.slot, "host": job.host}
    return [("ended", report)]


def lost(job: Job, cause: str, blame: str, message: str, *, counts: bool = False) -> Told:
    """An end without a result."""
    now = time.time()
    return (
        "ended",
        {
            "attempt": job.attempt,
            "token": job.given.token,
            "started": job.started_at or now,
            "ended": now,
            "cpu_s": 0.0,
            "memory_bytes": 0,
            "outcome": "lost",
            "cause": cause,
            "blame": blame,
            "message": results.one_line(message),
            "counts": counts,
            "slot": job.slot,
            "host": job.host,
        },
    )


def frames(told: Sequence[Told], most: int = 500) -> Iterator[dict[str, Any]]:
    """What is told, in order; what follows each other and is alike, together."""
    for event, alike in itertools.groupby(told, key=lambda each: each[0]):
        entries = [entry for _, entry in alike]
        for at in range(0, len(entries), most):
            yield {"event": event, "attempts": entries[at : at + most]}


def _name(job: Job, root: Path) -> str:
    try:
        header = reading.read_header(f"{root}/{job.given.path}")
    except (OSError, reading.Damaged):
        return ""
    return name_of(header, split(job.packet.split("\n", 2)[2])[1])
