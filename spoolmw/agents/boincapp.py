"""The application that a stock BOINC client runs: one file, a script and behind it the runner.

A client checks the signature of each file of an application and starts the one that is its main
program in a slot. A script of /bin/sh finds a Python there, and ends with `exec`; what follows it
is the runner's archive, which Python finds from the file's end. So one file is signed, and it
fits every host that has a /bin/sh.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from spoolmw.agents import bundle

APP = "spoolmw"  #: the application's name
_SCRIPT = Path(__file__).parent / "batch" / "boinc.sh"


@cache
def application() -> bytes:
    """The main program's bytes; the same as long as this installation is."""
    return _SCRIPT.read_bytes() + bundle.archive()


def file_name() -> str:
    """What the main program is called among a client's files: it is named by its content."""
    return f"{APP}_{hashlib.sha256(application()).hexdigest()[:32]}"
