"""HTCondor's programs as `.ci/condor` keeps them, and the ordinary user that they run as."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.daemon import ROOT
from tests.support.people import Person, becoming

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
IS_ROOT = os.geteuid() == 0  #: whoever we may become for a while later


@functools.cache
def programs() -> Path:
    """The folder that is HTCondor's `usr`."""
    told = subprocess.run(
        [ROOT / ".ci/condor", "where"], capture_output=True, text=True, check=True
    )
    return Path(told.stdout.strip()) / "usr"


@functools.cache
def lacks() -> str:
    """Why there can be no pool here; empty: there can."""
    if not (programs().parent / "complete").exists():
        return "HTCondor's packages are not there (`make test` fetches them, by .ci/condor)"
    needed = ("setpriv", "unshare") if IS_ROOT else ()
    missing = [each for each in needed if shutil.which(each, path=PATH) is None]
    return (
        f"not installed: {', '.join(missing)} (apt-get install util-linux)" if missing else ""
    )


#: Marks tests that need a pool: skipped where none can be had, failed in CI.
needs_pool = pytest.mark.skipif(
    bool(lacks()) and "CI" not in os.environ, reason=lacks() or "there is HTCondor"
)


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
