"""Points at which a program can be stopped: found by one traced run, hit by strace's injection.

strace kills at the *entry* of a call, so a point "before call N" is also "after call N-1". Only
the traced program's first thread is followed (no `-f`): in it the daemon's reactor does all
that changes the spool, so "the N-th rename" means the same call in every run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Calls that change the world. A `?` in front: not every machine has the old ones.
MUTATING = (
    *("write", "pwrite64", "writev", "copy_file_range", "sendfile", "truncate", "ftruncate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "open", "openat", "creat"),
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "fallocate"),
    *(
        "fsync",
        "fdatasync",
        "sync_file_range",
        "syncfs",
        "sendto",
        "sendmsg",
        "bind",
        "exit_group",
    ),
)
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)(.*)$")
_OPENS = ("open", "openat", "creat")
_SENDS = ("sendto", "sendmsg", "exit_group")


@dataclass(frozen=True)
class Point:
    """The `count`-th call of `call`, counted from the program's start."""

    call: str
    count: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.call}#{self.count}"


def trace(out: Path) -> list[str]:
    """The words before a command whose mutating calls are to be listed in `out`."""
    return ["strace", "-qq", "-y", "-s", "0", "-o", str(out), "-e", f"trace={_names(MUTATING)}"]


def kill(point: Point) -> list[str]:
    """The words before a command that is to be killed at `point`."""
    return [
        *["strace", "-qq", "-o", "/dev/null", "-e", f"trace={point.call}"],
        *["-e", f"inject={point.call}:signal=KILL:when={point.count}"],
    ]


def fail(point: Point, error: str) -> list[str]:
    """The words before a command whose call at `point` is to fail."""
    return [
        *["strace", "-qq", "-o", "/dev/null", "-e", f"trace={point.call}"],
        *["-e", f"inject={point.call}:error={error}:when={point.count}"],
    ]


def points(out: Path, root: Path) -> list[Point]:
    """Every call in a trace that changed something below `root` or sent something, and the exit."""
    found = []
    counts: dict[str, int] = {}
    for line in out.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        call, args, result = match[1], match[2], match[3]
        counts[call] = counts.get(call, 0) + 1
        if result.startswith("-") or (
            call in _OPENS and "O_CREAT" not in args and "O_TRUNC" not in args
        ):
            continue
        if str(root) in args or call in _SENDS or "socket:" in args:
            found.append(Point(call, counts[call], args[:400]))
    return found


def spread(found: Iterable[Point], number: int) -> list[Point]:
    """`number` of the points (or all, where there are fewer), evenly spread."""
    every = list(found)
    if number >= len(every):
        return every
    return [every[(2 * i + 1) * len(every) // (2 * number)] for i in range(number)]


def _names(calls: Iterable[str]) -> str:
    return ",".join(f"?{call}" for call in calls)


#: Marks tests that cannot run without strace: skipped locally, failed in CI.
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None and "CI" not in os.environ, reason="strace is not installed"
)
