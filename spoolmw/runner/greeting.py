"""What a keeper and a client that comes anew tell each other of themselves."""

from __future__ import annotations

import os
import pwd
import time
from typing import Any, Dict, List, Mapping, Optional

from . import PROTOCOL, checkpoint, host, hostfolder
from .hostfolder import HostFolder
from .sending import Saved

_MOST_TOLD = 10_000  #: of what the other side could do without
_SPARE = ("active", "values")


def bounded(told: Dict[str, Any]) -> Dict[str, Any]:
    """A hello that fits into a frame, however many reports wait: what is long is not told whole.

    All reports, attempts and inputs are in it: 100,000 of each fit.
    """
    some = {key: told[key][:_MOST_TOLD] for key in _SPARE}
    few = dict(list(told["checkpoints"].items())[:_MOST_TOLD])
    return {**told, **some, "checkpoints": few}


def hello(folder: HostFolder, pythons: Dict[str, str]) -> Dict[str, Any]:
    """What there is on this host and in the folder; attempts are not in it."""
    return {
        "event": "hello",
        "protocol": PROTOCOL,
        **host.facts(),
        "keeper_pid": os.getpid(),
        "boot": hostfolder.boot_id(),
        "clock": time.time(),
        "pythons": pythons,
        "inputs": os.listdir(folder.path("inputs")),
        "values": os.listdir(folder.path("values")),
        "free_bytes": hostfolder.free_bytes(folder.root),
    }


def active(folder: HostFolder) -> List[str]:
    """The places of tasks' files that are files of their own."""
    return [
        f"active/{shard}/{name}"
        for shard in os.listdir(folder.path("active"))
        for name in os.listdir(folder.path(f"active/{shard}"))
    ]


def orders(owners: Mapping[str, checkpoint.Owner]) -> Dict[str, List[str]]:
    """The names of all checkpoints here, by replica."""
    return {key: names(owner) for key, owner in owners.items()}


def names(owner: checkpoint.Owner) -> List[str]:
    """The names of a replica's checkpoints, the newest first."""
    return ["%d-%d" % each for each in checkpoint.orders(owner)]


def key_of(owner: checkpoint.Owner) -> str:
    return f"{owner.task}/{owner.replica}"


def newest(owner: checkpoint.Owner) -> Optional[Saved]:
    """The newest checkpoint of a replica, as it is told."""
    for attempt, sequence in checkpoint.orders(owner):
        try:
            manifest = checkpoint.read_manifest(f"{owner.folder}/{attempt}-{sequence}")
        except checkpoint.Damaged:
            continue
        name = f"{owner.task}.{owner.replica}.{attempt}"
        told = {
            "attempt": name,
            "sequence": sequence,
            "bytes": sum(each["bytes"] for each in manifest["files"]),
            "saved_at": manifest["saved_at"],
        }
        return Saved(name, told, owner)
    return None


def setup_of(
    told: Dict[str, Any], interpreters: List[str], found: Dict[str, str]
) -> Dict[str, Any]:
    """What the runner is told: what the client leaves open is as it is on this host."""
    env = {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": _home(),
    }
    env.update({str(name): str(value) for name, value in (told.get("env") or {}).items()})
    return {
        "agent": str(told["agent"]).replace("/", "_")[:100],
        "slots": max(0, int(told.get("slots") or 0)) or host.usable_cores(),
        "gpus": [str(each) for each in told.get("gpus") or ()],
        "interpreters": [*interpreters, *found.values()],
        "env": env,
        "umask": int(told["umask"]) if told.get("umask") is not None else 0o022,
        "values": str(told.get("values") or ""),
        "brings": bool(told.get("brings")),
        "memory": max(0, int(told.get("memory") or 0)),
        "foreign": True,
    }


def _home() -> str:
    """This user's home; batch systems run jobs under users that nobody has written down."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")
