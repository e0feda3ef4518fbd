"""Tells what a host has, as one line of JSON: `ARCHIVE probe FOLDER`."""

from __future__ import annotations

import sys
import time
from typing import Any, Dict, List

from . import PROTOCOL, host, hostfolder, pythons, wire


def look(folder: str, candidates: List[str]) -> Dict[str, Any]:
    """What there is; `unfit` says what is wrong with the folder."""
    found = pythons.find(candidates, closely=True)
    told: Dict[str, Any] = {
        "event": "probe",
        "protocol": PROTOCOL,
        **host.facts(),
        "executable": sys.executable,
        "pythons": pythons.by_version(found),
        "interpreters": [each._asdict() for each in found],
        "boot": hostfolder.boot_id(),
        "clock": time.time(),
        "folder": folder,
        "unfit": "",
    }
    try:
        made = hostfolder.make(folder)
        told["file_system"] = hostfolder.file_system(made.root)
        told["free_bytes"] = hostfolder.free_bytes(made.root)
    except hostfolder.Unfit as error:
        told["unfit"] = str(error)
    return told


def main(argv: List[str], archive: str) -> int:
    """Arguments: the folder, then interpreters to ask too."""
    del archive
    sys.stdout.buffer.write(wire.encode(look(argv[0], argv[1:])) + b"\n")
    sys.stdout.flush()
    return 0
