"""What is cleaned on a host: old versions of the archive, and what a keeper that is gone left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import sys
import time
from typing import Iterable

from . import checkpoint, outputs
from .hostfolder import BOOT, HostFolder, boot_id

_ARCHIVE = re.compile(r"\.?[0-9a-f]{32,64}\.pyz(\.\d+)?")
_PYTHON = re.compile(r"python3\.\d+-[0-9a-f]{32}(\.\d+(\.tgz|\.old)?)?")  #: what travelled
_YOUNG_S = 3600.0  #: an archive this young may have been brought for a keeper that starts now
_STALE_S = 7 * 86400.0  #: checkpoints of a replica that nobody went on from for so long
_KEPT = 2  #: checkpoints of a replica


def hold(archive: str) -> None:
    """Keep the archive, and a Python that travelled with it, from being cleaned for as long as
    this process lives; systemd-tmpfiles heeds the lock on a folder too."""
    for path in (archive, _python_beside(archive)):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_SH)


def remove_old(archive: str) -> None:
    """Remove other versions of the archive, and Pythons that travelled, that no keeper uses."""
    folder = os.path.dirname(os.path.abspath(archive))
    ours = {os.path.basename(archive), os.path.basename(_python_beside(archive))}
    with contextlib.suppress(OSError):
        for name in set(os.listdir(folder)) - ours:
            if _ARCHIVE.fullmatch(name) or _PYTHON.fullmatch(name):
                _remove_unused(f"{folder}/{name}")


def _python_beside(archive: str) -> str:
    """The folder of this process's Python, if it travelled; else something that is not there."""
    place = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    is_beside = os.path.dirname(place) == os.path.dirname(os.path.abspath(archive))
    return place if is_beside else ""


def _remove_unused(path: str) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = os.fstat(fd)
            if time.time() - found.st_mtime > _YOUNG_S:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                outputs.remove(path) if stat.S_ISDIR(found.st_mode) else os.unlink(path)
        finally:
            os.close(fd)


def was_rebooted(folder: HostFolder) -> bool:
    """Whether the machine went down since the folder was last used; notes this boot."""
    now = boot_id()
    path = folder.path(BOOT)
    before = ""
    with contextlib.suppress(OSError), open(path) as file:
        before = file.read()
    if before != now:
        with contextlib.suppress(OSError), open(path, "w") as file:
            file.write(now)
    return before != now


def begin_anew(folder: HostFolder) -> None:
    """Remove what only a keeper that lives needs, what came in part, and old checkpoints."""
    for name in ("active", "packs", "values", "tmp/put"):
        with contextlib.suppress(OSError):
            outputs.empty(folder.path(name))
    for owner in replicas(folder):
        if time.time() - os.stat(owner.folder).st_mtime > _STALE_S:
            remove_checkpoints(owner)
            continue
        for name in os.listdir(owner.folder):
            if name.startswith("."):
                outputs.remove(f"{owner.folder}/{name}")


def keep_staged(folder: HostFolder, attempts: Iterable[str]) -> None:
    """Remove from `stage/` what is none of these."""
    kept = set(attempts)
    for name in os.listdir(folder.path("stage")):
        path = folder.path(f"stage/{name}")
        if name not in kept and name[: -len(".files")] not in kept:
            with contextlib.suppress(OSError):
                outputs.remove(path) if os.path.isdir(path) else os.unlink(path)


def replicas(folder: HostFolder) -> "list[checkpoint.Owner]":
    """All that have checkpoints here."""
    place = folder.path("checkpoints")
    return [checkpoint.Owner(place, task, int(each)) for task, each in _owners(place)]


def prune(owner: checkpoint.Owner, busy: str) -> None:
    """Remove all but the newest checkpoints of a replica; not the one at `busy`."""
    for attempt, sequence in checkpoint.orders(owner)[_KEPT:]:
        path = f"{owner.folder}/{attempt}-{sequence}"
        if path != busy:
            with contextlib.suppress(OSError):
                outputs.remove(path)


def remove_checkpoint(owner: checkpoint.Owner, name: str) -> None:
    """Remove one of them."""
    with contextlib.suppress(OSError):
        outputs.remove(f"{owner.folder}/{name}")


def remove_checkpoints(owner: checkpoint.Owner) -> None:
    """Remove all of a replica."""
    with contextlib.suppress(OSError):
        outputs.remove(owner.folder)
        os.rmdir(os.path.dirname(owner.folder))


def _owners(place: str) -> "list[tuple[str, str]]":
    found = []
    for task in os.listdir(place):
        with contextlib.suppress(OSError):
            found += [(task, each) for each in os.listdir(f"{place}/{task}") if each.isdigit()]
    return found
