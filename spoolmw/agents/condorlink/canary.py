"""Tries a pool: finds the schedd, asks who we are there, counts slots, runs a small job to its end.

The job is one of an agent of its own, in a folder of its own: a daemon that serves the same pool
is not disturbed. It is removed in the end, whatever happens, and removes itself when we are killed.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spoolmw.agents.carrier.claims import Garbage
from spoolmw.agents.condorlink import ending, fitting, holds
from spoolmw.agents.condorlink.brief import JOBS, Brief
from spoolmw.agents.condorlink.jobs import Job, Jobs
from spoolmw.agents.condorlink.reconcile import RUNS, Seen, Status
from spoolmw.agents.condorlink.schedd import Schedd, ScheddTrouble
from spoolmw.agents.condorlink.submitting import Submitter
from spoolmw.errors import AgentError
from spoolmw.runner.reading import MAGIC

_LOOK_S = 0.3
_HANG_S = 30  #: beyond the time for the job, until a schedd that hangs is given up
_SAID = "canary"
_SCRIPT = f'readlink "/proc/$PPID/exe"; echo {_SAID}'  # the Python that runs the runner
_FIX_SCHEDD = (
    "is it running, and are `schedd`, `collector` and `tokens` right? condor_status -schedd"
)
_FIX_USER = "have an IDTOKEN made (condor_token_create, condor_token_request) and name `tokens`"
_FIX_SLOTS = "condor_status -compact shows what there is; set `platform` or `request_memory`"
_FIX_WAIT = "condor_q -better-analyze tells why; a busy pool may need longer: --wait 10m"

Found = dict[str, Any]


class Trouble(Exception):
    """The pool failed: how far it came, what, why, what to do."""

    def __init__(self, stage: str, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.told = {"stage": stage, "what": what, "why": why, "fix": fix}


def examine(brief: Brief, wait_s: float) -> Found:
    """What there is to know of a pool; `ok`, or else how far it came, why, and what to do."""
    found: Found = {"agent": brief.name, "ok": False}
    mark = secrets.token_hex(12)
    schedd = Schedd(brief.pool.schedd, brief.pool.collector, mark)
    try:
        found |= _schedd(schedd)
        with _folder(brief) as folder:
            own = replace(brief, root=folder, spool_id=mark, pool=_pool(brief, wait_s))
            submitter = Submitter(own, schedd)
            found |= _slots(schedd, submitter)
            found |= _canary(own, schedd, submitter, wait_s)
        found["ok"] = True
    except Trouble as trouble:
        found |= trouble.told
    except ScheddTrouble as trouble:
        found |= Trouble("schedd", f"{trouble}", fix=_FIX_SCHEDD).told
    except (AgentError, Garbage, OSError) as error:
        found |= Trouble("spool", f"the job cannot be made: {error}").told
    return found


def _pool(brief: Brief, wait_s: float) -> Any:
    """As the agent's, but a job that nobody takes away goes by itself."""
    gone = ("periodic_remove", f"time() - QDate > {wait_s + _HANG_S:.0f}")
    return replace(brief.pool, submit=(*brief.pool.submit, gone), event_log="")


@contextlib.contextmanager
def _folder(brief: Brief) -> Any:
    """A small spool in the agent's folder: where HTCondor will have to read and write."""
    brief.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="canary-", dir=brief.home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _schedd(schedd: Schedd) -> Found:
    schedd.connect()
    met = schedd.meet()
    if not met.is_welcome:
        why = f"it takes us for {met.user or 'nobody'} ({met.method or 'no method'})"
        raise Trouble("schedd", f"{schedd.label} takes no jobs from us", why, _FIX_USER)
    return {"schedd": met.name, "version": met.version, "user": met.user, "method": met.method}


def _slots(schedd: Schedd, submitter: Submitter) -> Found:
    total = schedd.slots(fitting.SLOTS)
    fit = schedd.slots(fitting.constraint({}, submitter.manner))
    if not fit:
        wanted = fitting.words({}, submitter.manner)
        why = f"of {total} none has {wanted}"
        raise Trouble("slots", "no slot of the pool fits", why, _FIX_SLOTS)
    return {"slots": fit, "all_slots": total}


def _canary(brief: Brief, schedd: Schedd, submitter: Submitter, wait_s: float) -> Found:
    """Run a small task as all tasks are run; where, and how long it took."""
    began = time.monotonic()
    job = _small_task(brief)
    try:
        told = _ended(brief, schedd, submitter, job, began + wait_s)
    except KeyboardInterrupt:  # it may have come just before the job was removed
        _drop(schedd)
        raise
    found = _judged(told, brief.root / "stage" / f"{job.attempt}.files" / "stdout")
    return {**found, "canary_s": round(time.monotonic() - began, 3)}


def _ended(brief: Brief, schedd: Schedd, submitter: Submitter, job: Job, until: float) -> Found:
    """What is told of its end. Raises Trouble."""
    try:
        refused = submitter.submit([job], str(brief.log))
        if refused:
            raise Trouble("job", "a small job was not taken", refused[0][1], _FIX_SCHEDD)
        _follow(schedd, job, until)
        if brief.pool.is_remote and job.id is not None:
            schedd.fetch(job.id)
        told: Found = dict(ending.collected(job, brief.root))["ended"]
        return told
    finally:
        _drop(schedd)


def _drop(schedd: Schedd) -> None:
    """Remove the job, and let no signal come between."""
    _handle_signals(_go_on)
    with contextlib.suppress(ScheddTrouble):
        schedd.drop()


def _handle_signals(how: Callable[[int, object], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, how)


def _go_on(_number: int, _frame: object) -> None:
    """No SIG_IGN: Python complains of a signal that came before it was ignored."""


def _interrupt_once(_number: int, _frame: object) -> None:
    """Ctrl-C comes twice, by the terminal and by who started us: only the first interrupts."""
    _handle_signals(_go_on)
    raise KeyboardInterrupt


def _small_task(brief: Brief) -> Job:
    task = f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"
    path = f"active/{task[-2:]}/{task}~~canary.sh"
    (brief.root / path).parent.mkdir(parents=True)
    (brief.root / "stage").mkdir()
    header = {"id": task, "name": _SAID, "run": {"command": ["/bin/sh", "-c", _SCRIPT]}}
    (brief.root / path).write_bytes(MAGIC + json.dumps(header).encode() + b"\n")
    jobs = Jobs(brief.home / JOBS)
    attempt = f"{task}.0.1"
    packet = f"{attempt}\n{secrets.token_hex(16)}\n{path}"
    jobs.enter([[{"command": True}, [packet]]], are_new=True)
    [job] = jobs
    return job


def _follow(schedd: Schedd, job: Job, until: float) -> None:
    """Until it has ended. Raises Trouble."""
    last: Seen | None = None
    while time.monotonic() < until:
        seen = next(iter(schedd.jobs()), None)
        if seen is None or seen.status is Status.COMPLETED:
            _was_at(job, seen or next(iter(schedd.history([job.attempt])), None))
            return
        if seen.status is Status.HELD and not holds.is_held_for_nothing(seen.hold_code):
            what = holds.meaning(seen.hold_code, seen.hold_subcode, seen.text)
            raise Trouble("job", "a small job was held", what.message)
        last = seen
        time.sleep(_LOOK_S)
    if last is not None and last.status in RUNS:
        raise Trouble("job", "a small job began, but did not end in time", f"on {last.host}")
    raise Trouble("job", "a small job did not begin in time", "it got no machine", _FIX_WAIT)


def _was_at(job: Job, seen: Seen | None) -> None:
    """The pool's own name of the host: what the host calls itself need not be the same."""
    if seen is not None:
        job.host, job.slot = seen.host, seen.slot


def _judged(told: Found, out: Path) -> Found:
    """What its end says. Raises Trouble."""
    if told["outcome"] != "success":
        raise Trouble("job", "a small job failed", str(told.get("message", "")))
    python, _, rest = out.read_text().partition("\n")
    if rest != f"{_SAID}\n":
        raise Trouble("job", "a small job came back with another text", repr(rest[:80]))
    return {"host": told["host"], "python": python}


def main() -> None:
    told = json.loads(sys.stdin.readline())
    warnings.simplefilter("ignore")  # condor_submit's remarks on single lines
    _handle_signals(_interrupt_once)
    signal.alarm(int(told["wait_s"]) + _HANG_S)  # ends us also in a call that hangs
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(examine(Brief.of(told["brief"]), told["wait_s"])), flush=True)


if __name__ == "__main__":
    main()
