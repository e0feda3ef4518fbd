"""Trees of processes: who descends from whom, and how a whole tree is ended.

Rule 1: workers and runner are subreapers, so nothing that an attempt starts can leave its tree.
Rule 2: a tree is stopped before it is killed: a stopped process cannot fork away from us.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from typing import Callable, Iterable, Iterator, List, NamedTuple, Set

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 100  #: of looking for new descendants before killing what was found
_PAUSE_S = 0.001  #: between two looks
_AGAIN_S = 0.1  #: for what was killed to be gone, before it is looked for more
_GONE = (b"Z", b"X", b"")  #: states of processes that do nothing any more
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None, use_errno=True)


class Usage(NamedTuple):
    """What a tree uses now."""

    memory_bytes: int
    cpu_s: float


def die_with_parent(number: int) -> None:
    """Get this signal when the parent's spawning thread ends; 0 switches it off."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def become_subreaper() -> None:
    """Orphans among the descendants become children of this process."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int) -> List[int]:
    """The direct children of a process; none when it is gone."""
    found: List[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def descendants(pid: int) -> List[int]:
    """All below a process, parents before their children."""
    found: List[int] = []
    todo = children(pid)
    while todo:
        found += todo
        todo = [below for above in todo for below in children(above)]
    return found


def send(pid: int, number: int) -> None:
    """Signal one process; that it is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_tree(pid: int, number: int, *, root_too: bool) -> int:
    """Signal a process's descendants, and the process itself if asked; returns how many."""
    found = descendants(pid) + ([pid] if root_too else [])
    for each in found:
        send(each, number)
    return len(found)


def stop_tree(pid: int, *, root_too: bool) -> Set[int]:
    """Let all that descend from a process stand still, and itself if asked; returns whom.

    A process that forks meanwhile is found when it is looked again: who is in the middle of a fork
    when the signal comes ends it first, so the last look comes after all were seen to stand still.
    """
    if root_too:
        send(pid, signal.SIGSTOP)
    seen: Set[int] = set()
    for _ in range(_ROUNDS):
        stand_still = not any(map(_moves, [*seen, pid] if root_too else seen))
        new = [each for each in descendants(pid) if each not in seen]
        for each in new:
            send(each, signal.SIGSTOP)
        seen.update(new)
        if not new:
            if stand_still:
                break
            time.sleep(_PAUSE_S)
    return seen


def kill_tree(pid: int, *, root_too: bool) -> None:
    """Kill all that descend from a process, and the process itself if asked."""
    for each in stop_tree(pid, root_too=root_too):
        send(each, signal.SIGKILL)
    if root_too:
        send(pid, signal.SIGKILL)


def reap_all(timeout_s: float) -> bool:
    """Collect every child of this process; False when one lives on after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if not pid:
            if time.monotonic() > until:
                return False
            time.sleep(_PAUSE_S)


def end_children(timeout_s: float = 5.0) -> bool:
    """End what runs below this process; True when there was something alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # a child that ended unwaited for
    except ChildProcessError:
        return False
    until = time.monotonic() + timeout_s
    is_over = False
    while not is_over:
        # An orphan may come to this process just behind the look: it is found by the next one.
        kill_tree(os.getpid(), root_too=False)
        is_over = reap_all(_AGAIN_S) or time.monotonic() > until
    return True


def usage(pid: int) -> Usage:
    """Memory and processor time of a tree; the pages that a forked child shares count once."""
    memory = cpu = 0
    for position, each in enumerate([pid, *descendants(pid)]):
        try:
            with open(f"/proc/{each}/statm", "rb") as file:
                _, resident, shared = map(int, file.read().split()[:3])
            fields = _stat(each)
        except (OSError, ValueError):
            continue  # it ended meanwhile
        memory += resident if position == 0 else max(0, resident - shared)
        cpu += int(fields[11]) + int(fields[12])
    return Usage(memory * _PAGE_BYTES, cpu / _TICKS)


def spent(pid: int) -> float:
    """The processor time in seconds of a tree, with that of its ended processes."""
    ticks = 0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks += sum(map(int, _stat(each)[11:15]))
    return ticks / _TICKS


def carrying(marks: Iterable[bytes], *, inside: str = "") -> Iterator[int]:
    """This user's processes whose environment holds all `marks`, or that stand in folder `inside`."""
    wanted = [b"\0" + mark + b"\0" for mark in marks]
    me, mine = os.getpid(), os.geteuid()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == me:
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != mine:
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                text = b"\0" + file.read()
            marked = bool(wanted) and all(mark in text for mark in wanted)
            if marked or (inside and _stands_in(name, inside)):
                yield int(name)
        except OSError:
            continue  # it ended meanwhile, or is another's


def kill_leftovers(root: str, *, timeout_s: float = 10.0) -> int:
    """Kill what an earlier daemon's runners on the spool `root` left; returns how many it were.

    Returns when they are gone, so that no attempt runs beside its successor. What descends
    from this very process is no leftover: a daemon may have several local agents.
    """
    spool = b"SPOOLMW_SPOOL=" + os.fsencode(root)
    inside = os.path.join(root, "tmp", "scratch")
    return _kill_until_gone(lambda: _left(spool, inside), timeout_s)


def kill_marked(mark: bytes, *, timeout_s: float = 10.0) -> int:
    """Kill all processes that carry this mark in their environment; returns when they are gone."""
    return _kill_until_gone(lambda: carrying([mark]), timeout_s)


def _kill_until_gone(find: Callable[[], Iterable[int]], timeout_s: float) -> int:
    """Kill what `find` finds until it finds nothing, twice: in the middle of an exec a process
    has no environment, so nobody knows it for a moment."""
    killed: Set[int] = set()
    until = time.monotonic() + timeout_s
    clean = 0
    while clean < 2 and time.monotonic() < until:
        alive = [pid for pid in find() if _lives(pid)]
        clean = 0 if alive else clean + 1
        for pid in alive:
            if pid not in killed:
                kill_tree(pid, root_too=True)
                killed.add(pid)
        if clean < 2:
            time.sleep(0.005)
    return len(killed)


def _left(spool: bytes, inside: str) -> Iterator[int]:
    own = set(descendants(os.getpid()))
    for pid in carrying([spool], inside=inside):
        if pid in own:
            continue
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                text = b"\0" + file.read()
        except OSError:
            continue
        # The spool alone is no mark: a user's shell may name it for spoolmw-ctl.
        if (
            b"\0SPOOLMW_WORKER=" in text
            or b"\0SPOOLMW_TOKEN=" in text
            or _stands_in(pid, inside)
        ):
            yield pid


def _stands_in(pid: object, folder: str) -> bool:
    """Whether a process works in `folder` and is no user's shell that looks around there."""
    try:
        here = os.readlink(f"/proc/{pid}/cwd")
        return here.startswith(folder + "/") and _stat(pid)[4] == b"0"  # no terminal
    except (OSError, IndexError):
        return False


def _stat(pid: object) -> List[bytes]:
    """The fields of a process's stat line that follow its name, the state first."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def _state(pid: object) -> bytes:
    """The letter that the kernel gives to what a process does; none for one that is gone."""
    try:
        return _stat(pid)[0]
    except (OSError, IndexError):
        return b""


def _moves(pid: int) -> bool:
    """It lives and is not stopped."""
    return _state(pid) not in (b"T", b"t", *_GONE)


def _lives(pid: int) -> bool:
    return _state(pid) not in _GONE
