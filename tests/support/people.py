"""Users of this machine that a test can become; only root can."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import ROOT


@dataclass(frozen=True)
class Person:
    """A user with one group."""

    uid: int
    gid: int


@functools.cache
def becoming(person: Person) -> Sequence[str]:
    """The words before a command that make it run as `person`, without any capability.

    Where this Python lies in somebody's closed home, with that of reading everything.
    """
    who = ("setpriv", f"--reuid={person.uid}", f"--regid={person.gid}", "--clear-groups")
    bare = (*who, "--inh-caps=-all", "--bounding-set=-all")
    probe = "import sys, spoolmw.daemon.main; print(sys.prefix, sys._stdlib_dir)"
    told = [
        subprocess.run(
            [*words, sys.executable, "-c", probe],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for words in ((), bare)
    ]
    if told[0] == told[1]:
        return bare
    read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    return (*who, *read, "--bounding-set=-all,+dac_read_search")


def as_user(uid: int, work: Callable[[Path], str]) -> str:
    """What `work` says when a child process of another user does it in a folder of its own."""
    mine = Path("/tmp") / f"spoolmw-test-{os.getpid()}"  # tmp_path is root's alone
    mine.mkdir(mode=0o755)
    os.chown(mine, uid, uid)
    try:
        return said_by(uid, lambda: work(mine / "spool"))
    finally:
        shutil.rmtree(mine)


def said_by(uid: int, work: Callable[[], str]) -> str:
    """What `work` says, or raises, when a child process of another user does it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(write, work().encode())
        except BaseException as error:  # noqa: BLE001  # the parent is told
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    said = os.read(read, 1000).decode()
    os.close(read)
    os.waitpid(child, 0)
    return said
