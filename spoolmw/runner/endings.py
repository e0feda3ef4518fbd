"""How an attempt ended that could not report itself: its worker died, or the runner ended it.

The runner writes the result's body here, so that every attempt that fails has one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, Dict

from . import command, outputs, reading, results
from .attempt import Attempt, Verdict
from .crew import Death, Member
from .order import name_of
from .results import Ended


def of_death(member: Member, attempt: Attempt, death: Death) -> Ended:
    """What the death of its worker means for the attempt at hand."""
    if attempt.verdict is not None:
        return of_verdict(attempt.verdict)
    if member.retired and not member.ready:
        return results.failed("interpreter", f"{member.interpreter} did not become a worker")
    if member.retired:
        return results.lost("connection", "its worker was replaced as it began", counts=False)
    if os.WIFEXITED(death.status):
        return _exited(member, os.WEXITSTATUS(death.status))
    number = os.WTERMSIG(death.status)
    ended = command.signalled(number, "the worker process")
    if number == signal.SIGKILL and not attempt.kind.command:
        ended.message += " (by somebody, or by the kernel when memory ran out)"
    return ended


def _exited(member: Member, code: int) -> Ended:
    if not member.ready and code == os.EX_TEMPFAIL:
        return results.refused(f"no worker: {results.tail(member.output('stderr'), 500)}")
    if not member.ready:
        said = results.tail(member.output("stderr"), 2000).strip().splitlines()
        last = f": {said[-1]}" if said else ""
        return results.failed(
            "interpreter",
            f"{member.interpreter} could not become a worker (exit code {code}){last}",
        )
    return results.failed(
        "exit",
        f"the function ended its process with exit code {code} instead of returning",
        exit_code=code,
    )


def of_verdict(verdict: Verdict) -> Ended:
    """The end that the runner itself decided on."""
    if verdict.cause == "shutdown":
        return results.lost("shutdown", verdict.message, counts=False)
    return results.failed(verdict.cause, verdict.message)


def report(
    attempt: Attempt, member: Member, ended: Ended, death: Death, ran_s: float
) -> Dict[str, Any]:
    """Write the result's body where there is one, and make the report."""
    now = time.time()
    # What a worker used before is not known for an attempt too short to be looked at.
    most_s = ran_s * (os.cpu_count() or 1)
    ended.cpu_s = round(min(max(0.0, death.cpu_s - attempt.base_cpu_s), most_s), 6)
    ended.memory_bytes = attempt.peak_bytes or death.memory_bytes
    told: Dict[str, Any] = {}
    if ended.outcome != "lost" and not attempt.kind.judges:
        try:
            told = _write(attempt, member, ended)
        except OSError as error:
            ended = results.refused(f"the result could not be written: {error.strerror}")
    if ended.outcome == "lost":
        remove_staged(attempt.id, member.place.spool)
    told.update(results.report(attempt.id, attempt.token, ended, (now - ran_s, now)))
    told["slot"] = member.name
    return told


def unstarted(attempt: Attempt, spool: str, ended: Ended) -> Dict[str, Any]:
    """The report of an attempt for which there is no worker."""
    now = time.time()
    place: Dict[str, Any] = {}
    if ended.outcome != "lost" and not attempt.kind.judges:
        try:
            size, digest = results.write(
                f"{spool}/stage/{attempt.id}", _name(spool, attempt), attempt.id, ended
            )
            place = {"body_bytes": size, "digest": digest}
        except OSError as error:
            ended = results.refused(f"the result could not be written: {error.strerror}")
    return {**results.report(attempt.id, attempt.token, ended, (now, now)), **place}


def not_begun(attempt: Attempt) -> Dict[str, Any]:
    """The report of an attempt that waited when the runner was told to close."""
    now = time.time()
    ended = results.lost("shutdown", "the daemon stopped before it began", counts=False)
    return results.report(attempt.id, attempt.token, ended, (now, now))


def _write(attempt: Attempt, member: Member, ended: Ended) -> Dict[str, Any]:
    spool = member.place.spool
    folder = f"{spool}/stage/{attempt.id}.files"
    if attempt.kind.command and os.path.isdir(folder):
        ended.files = outputs.describe_own(folder)
        ended.stdout_tail = results.tail(folder + "/stdout")
        ended.stderr_tail = results.tail(folder + "/stderr")
    elif not attempt.kind.command:
        ended.stdout_tail = results.tail(member.output("stdout"))
        ended.stderr_tail = results.tail(member.output("stderr"))
    name = _name(spool, attempt)
    size, digest = results.write(f"{spool}/stage/{attempt.id}", name, attempt.id, ended)
    return {"body_bytes": size, "digest": digest}


def _name(spool: str, attempt: Attempt) -> str:
    try:
        header = reading.read_header(f"{spool}/{attempt.path}")
    except (OSError, reading.Damaged):
        return ""
    return name_of(header, attempt.element)


def remove_staged(attempt: str, spool: str) -> None:
    """Remove what a stopped or lost attempt left in `stage/`."""
    path = f"{spool}/stage/{attempt}"
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        outputs.remove(path + ".files")
