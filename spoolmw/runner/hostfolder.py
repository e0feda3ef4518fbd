"""The folder that one daemon's work has on a host: a small spool, this user's alone.

Rule 1: nobody else can write into it or into a folder above it, and it is no link.
Rule 2: it lies on a disk of the host itself: home folders are often shared, and two hosts in one
folder would take each other's workers for leftovers.
Rule 3: what a place may look like that something is put to stands here, as an allow-list.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from typing import NamedTuple, Optional

FOLDERS = (
    "active", "inputs", "values", "stage", "checkpoints", "outbox",
    "packs", "tmp", "tmp/scratch", "tmp/output", "tmp/put",
)  # fmt: skip
SOCKET = "keeper.sock"  #: relative: the whole path may be longer than an address can be
LOCK = "keeper.lock"
LOG = "keeper.log"
BOOT = "boot"  #: holds the id of the boot that the folder was last used in
_MOST_LOG_BYTES = 256 << 10
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs"}
_NETWORK |= {"beegfs", "fuse.sshfs", "fuse.glusterfs", "ncpfs", "ocfs2", "gfs2", "virtiofs"}

_TASK = r"[0-9a-f]{32}"
_NUMBER = r"\d{1,9}"
_ACTIVE = re.compile(rf"active/[0-9a-f]{{2}}/{_TASK}~[^/\0\n]{{1,222}}")
_INPUT = re.compile(r"inputs/[0-9a-f]{64}")
_VALUE = re.compile(rf"values/{_TASK}")
_SAVED = re.compile(rf"(checkpoints/{_TASK}/{_NUMBER})/({_NUMBER}-{_NUMBER})/([^\0]{{1,1000}})")
REPLICA = re.compile(rf"{_TASK}/{_NUMBER}")
ATTEMPT = re.compile(rf"{_TASK}\.{_NUMBER}\.{_NUMBER}")


class Unfit(Exception):
    """The folder cannot be used; the text says why and what to do."""


class Place(NamedTuple):
    """Where something is put to, relative to the folder."""

    kind: str  #: "active", "inputs", "values" or "checkpoints"
    path: str
    sealed: str = ""  #: of a checkpoint's MANIFEST: what its folder is called when it is whole


def place_of(text: object) -> Place:
    """The place of that name. Raises ValueError for what is none."""
    if isinstance(text, str) and _is_plain(text):
        for pattern in (_ACTIVE, _INPUT, _VALUE):
            if pattern.fullmatch(text):
                return Place(text[: text.index("/")], text)
        found = _SAVED.fullmatch(text)
        if found:
            owner, name, rest = found.groups()
            sealed = f"{owner}/{name}" if rest == "MANIFEST" else ""
            return Place("checkpoints", f"{owner}/.{name}.put/{rest}", sealed)
    raise ValueError(f"{str(text)[:200]!r} is no place that something is put to")


def _is_plain(text: str) -> bool:
    """Whether no part of a path is hidden, empty, or leads elsewhere."""
    return not any(part in ("", ".", "..") for part in text.split("/"))


class HostFolder:
    """The paths in a folder that was checked, and the lock on it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._lock = -1

    def path(self, relative: str) -> str:
        return f"{self.root}/{relative}"

    def take_lock(self) -> bool:
        """Be its keeper; False when there is another."""
        fd = os.open(
            self.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._lock = fd
        return self.is_ours()

    def is_ours(self) -> bool:
        """Whether the folder is still the one that was locked: it may have been removed."""
        try:
            return os.path.samestat(os.stat(self.path(LOCK)), os.fstat(self._lock))
        except OSError:
            return False

    def make_tree(self) -> None:
        """Make what is missing of the folders in it."""
        for name in FOLDERS:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.path(name), 0o700)

    def log(self, line: str) -> None:
        """Append to the log, which begins anew when it is long; a full disk is no error."""
        path = self.path(LOG)
        with contextlib.suppress(OSError):
            if os.path.exists(path) and os.stat(path).st_size > _MOST_LOG_BYTES:
                os.replace(path, f"{path}.old")
            with open(path, "a", errors="replace") as file:
                file.write(line)


def make(path: str, *, in_job: bool = False) -> HostFolder:
    """Make the folder if it is not there, and check it. Raises Unfit.

    `in_job`: it lies in a batch job's own folder. What is above it is the batch system's matter,
    and it has a name that no other job has, so that it may also lie on a network file system.
    """
    path = os.path.normpath(path)
    if not os.path.isabs(path) or path.count("/") < 2:
        raise Unfit(f"{path} is no absolute path of a folder of its own; set another `folder`")
    try:
        _make_missing(path)
        above = os.path.dirname(path)
        for each in (above, path):
            if os.path.islink(each):
                raise Unfit(f"{each} is a link; remove it, or set another `folder`")
        root = os.path.join(os.path.realpath(above), os.path.basename(path))
        if not in_job:
            _check_above(os.path.dirname(root))
        _check_own(root)
        kind = "" if in_job else file_system(root)
    except OSError as error:
        raise Unfit(
            f"{path} cannot be used: {error.strerror}; set another `folder` for this host"
        ) from error
    if kind in _NETWORK:
        raise Unfit(
            f"{path} lies on a network file system ({kind}), which other hosts may share; "
            "set `folder` to a folder on a disk of the host itself"
        )
    return HostFolder(root)


def _make_missing(path: str) -> None:
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each, 0o700)


def _check_above(path: str) -> None:
    """Nobody but root and this user may rename what lies in these folders."""
    while True:
        found = os.lstat(path)
        open_to_others = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or open_to_others:
            raise Unfit(
                f"{path} belongs to another user, or others may write into it "
                f"(owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}); "
                "mend that, or set another `folder`"
            )
        if path == "/":
            return
        path = os.path.dirname(path)


def _check_own(path: str) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Unfit(
            f"{path} is no folder of this user (owner {found.st_uid}); "
            "remove it, or set another `folder`"
        )
    if found.st_mode & 0o077:
        raise Unfit(
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):o}); "
            "look what is in it, then chmod 700 it or set another `folder`"
        )


def file_system(path: str) -> str:
    """The type of the file system that `path` lies on, as the kernel calls it; "" if unknown."""
    best, kind = "", ""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", errors="replace") as file:
        for line in file:
            fields = line.split()
            at = fields[4].replace("\\040", " ")
            inside = path == at or path.startswith(at.rstrip("/") + "/")
            if inside and len(at) >= len(best) and "-" in fields:
                best, kind = at, fields[fields.index("-") + 1]
    return kind


def boot_id() -> str:
    """The id of this boot of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def free_bytes(path: str) -> Optional[int]:
    """Bytes that this user may still write at `path`."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
