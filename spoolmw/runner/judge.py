"""Judges the results of one task in a process of its own, with limits, and tells what came of it.

Whatever the validator does (raise, crash, hang, eat memory, end the process), the caller gets a
`Judgement`. Reading results is part of it: a pickle may do all of that too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from typing import Any, Collection, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Tuple

from . import comparing, limits, process, results
from .comparing import Wish
from .grouping import Group
from .order import Order
from .staged import Returned

_MOST_ANSWER = 4 << 20  #: bytes of all that the process says


class Bounds(NamedTuple):
    """What a validation may use."""

    step_s: float = 60.0  #: for one comparison, or for reading one result
    total_s: float = 600.0
    memory_bytes: int = 0  #: 0: no limit


class Judgement(NamedTuple):
    """What a validation came to. With a `fault` there are no classes."""

    groups: Tuple[Group, ...] = ()
    unfit: Tuple[Tuple[int, str], ...] = ()
    fault: str = ""  #: why nothing was found, in one line
    transient: bool = False  #: the fault may be gone another time


def judge(
    returned: Sequence[Returned], wish: Wish, bounds: Optional[Bounds] = None
) -> Judgement:
    """The classes of these results, or the validator's fault. Takes at most `bounds.total_s`."""
    bounds = bounds if bounds is not None else Bounds()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _compare_and_exit(returned, wish, bounds, writing)
    os.close(writing)
    end = os.pidfd_open(pid)
    try:
        said = _listen(reading, end, bounds)
    finally:
        os.close(reading)
        os.close(end)
        process.kill_tree(pid, root_too=True)  # it has ended, or it must
        _, status = os.waitpid(pid, 0)
    return _heard(said, status, {each.replica for each in returned})


def as_tree(judgement: Judgement) -> Dict[str, Any]:
    """A judgement as JSON, for a report."""
    return {
        "classes": [[list(g.members), g.centre, list(g.near)] for g in judgement.groups],
        "unfit": [list(each) for each in judgement.unfit],
        "fault": judgement.fault,
        "transient": judgement.transient,
    }


# The process that compares


def _compare_and_exit(
    returned: Sequence[Returned], wish: Wish, bounds: Bounds, writing: int
) -> NoReturn:
    own = os.getpid()
    status = 1
    try:
        process.die_with_parent(signal.SIGKILL)
        process.become_subreaper()
        with limits.Around(Order("", "", "", memory=bounds.memory_bytes)):
            answer = _answer(returned, wish, writing)
        if os.getpid() == own:  # not a child that the submitter's function forked
            _say(writing, answer)
            status = 0
    except BaseException as error:  # noqa: BLE001  also SystemExit: nothing may come back from here
        if os.getpid() == own:
            with contextlib.suppress(BaseException):
                _say(writing, {"fault": _raised(error)})
                status = 0
    finally:
        if os.getpid() == own:
            process.end_children()
        os._exit(status)


def _answer(returned: Sequence[Returned], wish: Wish, writing: int) -> Dict[str, Any]:
    try:
        found = comparing.compare(returned, wish, lambda text: _say(writing, {"at": text}))
    except comparing.Fault as fault:
        return {"fault": str(fault)}
    except comparing.Later as later:
        return {"fault": str(later), "transient": True}
    return {
        "groups": [[list(g.members), g.centre, list(g.near)] for g in found.groups],
        "unfit": [[number, why] for number, why in found.unfit.items()],
    }


def _raised(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it ran out of memory"
    if isinstance(error, SystemExit):
        return "it ended the process instead of returning"
    return f"{type(error).__name__}: {error}"


def _say(fd: int, words: Dict[str, Any]) -> None:
    data = memoryview(json.dumps(words).encode() + b"\n")
    while data:
        data = data[os.write(fd, data) :]


# The one that waits for it


class _Said(NamedTuple):
    """What was heard: the last thing that was begun, the answer, and whether time ran out."""

    at: str
    answer: Optional[Dict[str, Any]]
    overtime: str


def _listen(fd: int, ended: int, bounds: Bounds) -> _Said:
    """Hear the process on `fd` until it answers, or is gone (`ended`), or its time is up."""
    now = time.monotonic()
    end, step_end = now + bounds.total_s, now + bounds.step_s
    at, heard, pending = "starting", 0, b""
    while True:
        left = min(end, step_end) - time.monotonic()
        if left <= 0:
            over = bounds.total_s if end <= step_end else bounds.step_s
            return _Said(at, None, f"it took more than {over:g} s")
        ready = select.select([fd, ended], [], [], left)[0]
        if fd not in ready:
            if ready:  # it is gone, though a child of its own may hold its end of the pipe
                return _Said(at, None, "")
            continue
        data = os.read(fd, 64 << 10)
        heard += len(data)
        if not data or heard > _MOST_ANSWER:
            return _Said(at, None, "")
        *lines, pending = (pending + data).split(b"\n")
        for words in _parsed(lines):
            if "at" not in words:
                return _Said(at, words, "")
            at = str(words["at"])
            step_end = time.monotonic() + bounds.step_s


def _parsed(lines: List[bytes]) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            words = json.loads(line)
            if isinstance(words, dict):
                found.append(words)
    return found


def _heard(said: _Said, status: int, asked: Collection[int]) -> Judgement:
    """What the answer means; no answer is the validator's fault, while it did what it did last."""
    answer = said.answer
    if said.overtime:
        return _fault(f"{said.overtime} while {said.at}")
    if answer is None:
        return _fault(f"{_death(status)} while {said.at}")
    if "fault" in answer:
        text = f"{answer['fault']} (while {said.at})"
        return _fault(text, transient=bool(answer.get("transient")))
    try:
        groups = tuple(
            Group(tuple(map(int, members)), int(centre), tuple(map(int, near)))
            for members, centre, near in answer["groups"]
        )
        unfit = tuple((int(number), str(why)) for number, why in answer["unfit"])
    except (KeyError, TypeError, ValueError):
        return _fault("its answer makes no sense")
    found = [each for group in groups for each in group.members] + [each for each, _ in unfit]
    if sorted(found) != sorted(asked):
        return _fault("its answer leaves a result out, or has one twice")
    return Judgement(groups, unfit)


def _fault(text: str, *, transient: bool = False) -> Judgement:
    return Judgement(fault=f"the validator: {results.one_line(text)}", transient=transient)


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"it died of {signal.Signals(number).name}"
        return f"it died of signal {number}"
    return f"it ended the process (exit code {os.WEXITSTATUS(status)})"
