"""What `doctor` looks at in the spool and its daemon. No check changes anything."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from spoolmw.config import Config
from spoolmw.ctl.drops import refused, waiting
from spoolmw.ctl.findings import Finding, bad, ok, warn
from spoolmw.ctl.session import Session
from spoolmw.ctl.words import count, duration, size
from spoolmw.errors import NotServed, SpoolmwError
from spoolmw.spooldir.layout import PRIVATE, REFUSED_TYPES, SHARED, Layout, file_system
from spoolmw.spooldir.lock import holder
from spoolmw.spooldir.where import start_command

#: File systems that forget everything at a power cut.
VOLATILE = frozenset({"tmpfs", "ramfs"})
#: A file that lies in `incoming/` for longer than this while the daemon runs is worth a look.
STUCK_S = 60.0
#: Fewer free inodes than this share of all are worth a look.
FEW_INODES = 0.05


def check_folders(layout: Layout) -> Iterator[Finding]:
    """Nobody may be able to exchange a folder of the spool, or one above it."""
    root = layout.root.resolve()
    owner = root.stat().st_uid
    inside = [root / name for name in SHARED + PRIVATE]
    if missing := [folder.name for folder in inside if not folder.is_dir()]:
        fix = f"Start the daemon once, it makes them: {start_command(root)}"
        yield bad("folders", f"Missing in {root}: {', '.join(missing)}.", fix)
    found = list(
        itertools.chain(
            _open_to_all([root, *root.parents, *inside]),
            _too_open([root / name for name in PRIVATE]),
            _of_others([folder for folder in inside if folder.is_dir()], owner),
        )
    )
    yield from found
    if not found and not missing:
        yield ok("folders", f"{root}: owner and modes are as they should be.")


def _open_to_all(folders: list[Path]) -> Iterator[Finding]:
    for folder in folders:
        mode = folder.stat().st_mode if folder.is_dir() else 0
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            says = f"{folder} may be written by everybody: anybody can run code as the daemon."
            yield bad("folders", says, f"chmod o-w {quote(str(folder))}")


def _too_open(folders: list[Path]) -> Iterator[Finding]:
    for folder in folders:
        closed = 0o027 if folder.name == "journal" else 0o077  # members see all tasks
        if folder.is_dir() and folder.stat().st_mode & closed:
            says = f"{folder} is the daemon's own, but others may look into it."
            yield warn("folders", says, f"chmod 700 {quote(str(folder))}")


def _of_others(folders: list[Path], owner: int) -> Iterator[Finding]:
    for folder in folders:
        uid = folder.stat().st_uid
        if uid not in (0, owner):
            says = f"{folder} belongs to user {uid}, the spool to {owner}."
            yield bad("folders", says, f"chown {owner} {quote(str(folder))}")


def check_may_drop(layout: Layout) -> Iterator[Finding]:
    """Whether who asks may submit tasks."""
    if os.access(layout.incoming, os.W_OK | os.X_OK) and os.access(
        layout.tmp, os.W_OK | os.X_OK
    ):
        yield ok("submitting", "You may drop files into incoming/.")
        return
    fix = "Become a member of the group that [intake] group names, or ask the spool's owner."
    yield warn("submitting", f"You may not write to {layout.incoming}.", fix)


def check_file_system(layout: Layout) -> Iterator[Finding]:
    """Renames, locks and the journal need a local file system."""
    root = layout.root.resolve()
    kind, source = file_system(root)
    devices = {
        (root / name).stat().st_dev for name in SHARED + PRIVATE if (root / name).exists()
    }
    if len(devices) > 1:
        fix = "Keep the whole spool on one file system."
        yield bad("file system", "The spool's folders are on several devices.", fix)
    elif kind in REFUSED_TYPES or kind.startswith("fuse"):
        fix = "Move the spool to a local disk; clients may drop files through an export of it."
        yield bad("file system", f"{kind} ({source}) is not safe for the journal.", fix)
    elif kind in VOLATILE:
        fix = "Fine for trying out; else move the spool to a disk."
        yield warn("file system", f"{kind} forgets every task at a reboot.", fix)
    else:
        yield ok("file system", f"{kind or 'unknown'}, one device.")


def check_disk(layout: Layout, config: Config | None) -> Iterator[Finding]:
    """Room for files, in bytes and in inodes."""
    room = os.statvfs(layout.root)
    free = room.f_bavail * room.f_frsize
    low = config.disk.low_bytes if config is not None else 0
    if free < low:
        fix = "Make room (spoolmw-ctl prune), or lower [disk] low."
        yield bad("disk", f"{size(free)} free: below {size(low)} nothing is taken in.", fix)
    elif free < 2 * low:
        fix = "Make room soon: spoolmw-ctl prune --results 30d"
        yield warn("disk", f"{size(free)} free; the intake stops below {size(low)}.", fix)
    else:
        yield ok("disk", f"{size(free)} free.")
    if room.f_files and room.f_favail / room.f_files < FEW_INODES:
        fix = "Remove old results: spoolmw-ctl prune --results 30d"
        yield warn("disk", f"Only {room.f_favail:,} of {room.f_files:,} inodes are free.", fix)


def check_journal(session: Session) -> Iterator[Finding]:
    """The journal can be read."""
    if not session.layout.journal.exists():
        fix = "If this spool was in use: spoolmw-ctl rebuild. Else start the daemon."
        yield warn("journal", "There is no journal yet.", fix)
        return
    try:
        with session.reports() as reports:
            tasks = sum(reports.counts().values())
    except (SpoolmwError, OSError) as error:
        fix = "Stop the daemon, then: spoolmw-ctl fsck; spoolmw-ctl rebuild"
        yield bad("journal", f"It cannot be read: {' '.join(str(error).splitlines())}", fix)
        return
    yield ok(
        "journal", f"{count(tasks, 'task')}, {size(session.layout.journal.stat().st_size)}."
    )


def check_daemon(session: Session) -> Iterator[Finding]:
    """The daemon runs and answers."""
    layout = session.layout
    try:
        answer = session.control().request("status")
    except NotServed as error:
        pid = holder(layout.lock)
        if pid is None:
            fix = f"Start it: systemctl start spoolmwd, or {start_command(layout.root)}"
            yield bad("daemon", "It does not run; nothing happens until it does.", fix)
        else:
            fix = f"May you open {layout.control}? Else look at its log; it may be starting."
            yield bad("daemon", f"Process {pid} holds the spool but: {error.why}", fix)
        return
    yield ok("daemon", f"Process {answer['pid']} answers.")
    yield from _intake(layout, answer["intake"])


def _intake(layout: Layout, intake: Mapping[str, Any]) -> Iterator[Finding]:
    if not intake["open"]:
        fix = "Mend what it says; when it was paused: spoolmw-ctl resume --intake"
        yield bad("intake", f"It is closed: {intake['reason']}", fix)
    now = time.time()
    files = itertools.islice(waiting(layout), 1000)
    ages = [now - file.changed_at for file in files if file.changed_at]
    old = [age for age in ages if age > STUCK_S]
    if old:
        says = f"{count(len(old), 'file')} in incoming/ for up to {duration(max(old))}."
        yield warn("intake", says, "May the daemon read them? See its log.")
    elif intake["open"]:
        yield ok("intake", f"Open, {count(len(ages), 'file')} in incoming/.")


def check_rejected(layout: Layout) -> Iterator[Finding]:
    """Refused files are somebody's tasks that will not run."""
    number = sum(1 for _ in itertools.islice(refused(layout), 100_000))
    if number:
        fix = "See why: spoolmw-ctl ls --rejected. Remove them when they are of no use."
        yield warn("rejected", f"{count(number, 'file')} refused.", fix)
    else:
        yield ok("rejected", "No refused files.")
