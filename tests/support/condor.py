"""HTCondor's programs as `.ci/condor` keeps them, and the ordinary user that they run as."""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from tests.support import unpacked
from tests.support.needed import needs
from tests.support.people import Person, becoming
from tests.support.unpacked import IS_ROOT, folder_of


@functools.cache
def programs() -> Path:
    """The folder that is HTCondor's `usr`."""
    return folder_of("condor") / "usr"


def lacks() -> str:
    """Why there can be no pool here; empty: there can."""
    return unpacked.lacks("condor", "HTCondor's packages are")


#: Marks tests that need a pool.
needs_pool = needs(lacks(), "there is HTCondor")


@functools.cache
def user() -> Person:
    """Who a pool runs as, and who may submit to it: we, or nobody when we are root."""
    if not IS_ROOT:
        return Person(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Person(nobody.pw_uid, nobody.pw_gid)


def user_name() -> str:
    return pwd.getpwuid(user().uid).pw_name


def stepping_down() -> Sequence[str]:
    """The words before a command that have it run as the pool's user, and with our Python."""
    return becoming(user()) if os.geteuid() == 0 else ()


def give(path: Path, mode: int = 0o755) -> Path:
    """Make this a folder of the pool's user, or a file that is there already his."""
    if not path.exists():
        path.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(path, user().uid, user().gid)
    path.chmod(mode)
    return path


def environment(config: Path) -> dict[str, str]:
    """What HTCondor's programs find: themselves, the system's, and their configuration."""
    there = f"{programs()}/bin:{programs()}/sbin:/usr/bin:/bin:/usr/sbin:/sbin"
    return {"PATH": there, "HOME": str(config.parent), "CONDOR_CONFIG": str(config)}
