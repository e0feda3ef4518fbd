"""Debian's programs as `.ci/unpacked` keeps them in a cache, for tests that need the real ones."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.daemon import ROOT

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
IS_ROOT = os.geteuid() == 0  #: whoever we may become for a while later


@functools.cache
def folder_of(name: str) -> Path:
    """Where `.ci/NAME` keeps them; its `usr` has the programs."""
    told = subprocess.run(
        [ROOT / ".ci" / name, "where"], capture_output=True, text=True, check=True
    )
    return Path(told.stdout.strip())


@functools.cache
def lacks(name: str, what: str) -> str:
    """Why `what` of `.ci/NAME` cannot be had here; empty: it can."""
    if not (folder_of(name) / "complete").exists():
        return f"{what} not there (`make test` fetches them, by .ci/{name})"
    needed = ("setpriv", "unshare") if IS_ROOT else ()
    missing = [each for each in needed if shutil.which(each, path=PATH) is None]
    return (
        f"not installed: {', '.join(missing)} (apt-get install util-linux)" if missing else ""
    )
