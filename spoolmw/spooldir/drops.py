"""Takes dropped files out of `incoming/`: what is ready, opened safely and read once.

Rule 1: decisions about a file come from the open descriptor, never from its name (it may be
swapped in between), and opening never follows a link, blocks or touches a device.
Rule 2: what a `Drop` or `Refusal` names is claimed, rejected or deferred before the next `take`.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spoolmw.errors import BadTaskFile
from spoolmw.format.names import escape, name_problem
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.scan import Scan, Turn
from spoolmw.spooldir.settling import Settling, Watched

#: How much of a file is read at once; a header fits into it.
HEAD_BYTES = 65_536
#: Names looked at in one call, so that files that wait never hold up those that are ready.
MOST_LOOKED_AT = 2048
#: A file that is cut off is refused when it stayed so for this long.
CUT_OFF_S = 5.0
#: An unreadable file is looked at again after this.
UNREADABLE_S = 60.0
#: When the machine has no descriptor left, or the disk fails: try again after this.
PAUSE_S = 1.0
#: Notices kept for who asks seldom.
MOST_NOTICES = 100
#: Names remembered as moved in; a watch that tells more is only a hint lost.
MOST_ARRIVED = 50_000
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a folder"),
)


@dataclass(slots=True)
class Drop:
    """A dropped file that is ready. `data` is its first HEAD_BYTES bytes."""

    box: str
    name: str
    place: str  #: its path
    data: bytes
    stat_size: int
    owner_uid: int
    own: bool  #: it belongs to the daemon's user, so a rename takes it
    fd: int | None  #: open when it is not our own: copy from here, then close
    mtime_ns: int = 0
    inode: int = 0

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.place)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dropped file that cannot be a task; `rejects.reject` moves it."""

    box: str
    name: str
    error: BadTaskFile


class Drops:
    """What lies in `incoming/` and is ready. One thread uses it, but for `arrived`."""

    def __init__(
        self,
        layout: Layout,
        *,
        settle_s: float = 1.0,
        max_task_bytes: int = 4_000_000_000,
        owner_allowed: Callable[[int], bool] = lambda uid: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_task_bytes = max_task_bytes
        self.owner_allowed = owner_allowed
        self._clock = clock
        self._root = f"{layout.incoming}/"
        self._scan = Scan(str(layout.incoming))
        self._settling = Settling(settle_s)
        self._arrived: set[str] = set()
        self._expected: set[str] = set()  # what had arrived when this pass began
        self._notices: list[str] = []
        self._pass_began = clock()
        self._euid = os.geteuid()
        self._pause_until: float | None = None
        self._is_amid = False  # the last call ended within a pass over the folders
        self._is_restless = False  # what this pass has read may have changed meanwhile

    def take(self, limit: int) -> list[Drop | Refusal]:
        """Up to `limit` files that are ready.

        `next_due` then says when to call again: at once, until a whole pass finds nothing.
        """
        found: list[Drop | Refusal] = []
        now = self._clock()
        if not self._is_amid:
            self._begin_pass(now)
        try:
            self._take(limit, now, found)
        except OSError as error:
            self._notices[:] = self._notices[-MOST_NOTICES:]
            self._notices.append(f"cannot go on reading incoming/: {error.strerror}")
            self._pause_until, self._is_amid = now + PAUSE_S, False
        self._is_restless |= bool(found)
        self._scan.close()
        return found

    def _take(self, limit: int, now: float, found: list[Drop | Refusal]) -> None:
        looked_at = 0
        while len(found) < limit and looked_at < MOST_LOOKED_AT:
            turn = self._scan.turn(limit - len(found))
            if turn is not None:
                looked_at += len(turn.files)
                self._look_at(turn, now, found)
                continue
            self._settling.drop_vanished(self._pass_began)
            self._arrived -= self._expected  # what was not found is gone
            self._is_restless |= bool(found)
            self._is_amid = self._is_restless
            if found or not self._is_restless:
                break
            self._begin_pass(now)

    def _begin_pass(self, now: float) -> None:
        self._scan.begin()
        self._expected = self._arrived.copy()
        self._pass_began = now
        self._is_amid, self._is_restless = True, False
        self._pause_until = None

    def arrived(self, name: str) -> None:
        """A watch saw `NAME` or `BOX/NAME` (below `incoming/`) arrive by rename: it is complete."""
        self._is_restless = True
        if len(self._arrived) < MOST_ARRIVED:
            self._arrived.add(self._root + name)

    def defer(self, drop: Drop, error: BadTaskFile | None = None) -> None:
        """The file is cut off: give it again when it grew, refuse it when it stays so."""
        now = self._clock()
        cut_off = error or BadTaskFile(
            f"{escape(drop.name)} is cut off",
            why=f"it has {drop.stat_size} bytes, which is less than its header says",
            fix="write it completely: into tmp/ first, then rename it into incoming/",
        )
        watched = Watched(drop.stat_size, drop.mtime_ns, drop.inode, now + 0.1, now, cut_off)
        self._settling.put(drop.place, watched)

    def leave(self, place: str) -> None:
        """The file at `place` cannot be moved from there: look at it again much later."""
        now = self._clock()
        self._settling.put(place, Watched(0, 0, 0, now + UNREADABLE_S, now, told=True))

    def is_waiting(self) -> bool:
        """Some file may become ready without a change by its owner: it settles, or is yet to be read."""
        return self._is_amid or self._pause_until is not None or self._settling.is_waiting()

    def next_due(self) -> float | None:
        """When (on the clock) it is worth to `take` again without a hint; None: nothing waits."""
        if self._is_amid:
            return self._clock()
        return self._pause_until or self._settling.next_due()

    def notices(self) -> list[str]:
        """What the operator should know of files that stay where they are, each told once."""
        told, self._notices = self._notices + self._scan.notices, []
        self._scan.notices = []
        return told

    def settle(self, settle_s: float) -> None:
        """Change the time after which a file that does not change is whole."""
        self._settling.settle_s = settle_s

    def _look_at(self, turn: Turn, now: float, found: list[Drop | Refusal]) -> None:
        for name in turn.odd:
            self._look_at_odd(turn, name, now, found)
        base = turn.folder + "/"
        settling = self._settling
        for name in turn.files:
            place = base + name
            if settling and settling.is_early(place, now) and place not in self._arrived:
                continue
            try:
                drop = self._open(turn, name, place, now)
            except BadTaskFile as error:
                settling.forget(place)
                found.append(Refusal(turn.box, name, error))
            except OSError as error:
                self._not_opened(place, now, error)
            else:
                if drop is not None:
                    found.append(drop)

    def _open(self, turn: Turn, name: str, place: str, now: float) -> Drop | None:
        """The file, when it is ready. Raises BadTaskFile to refuse it."""
        has_arrived = place in self._arrived  # asked first: what arrives now is another file
        if has_arrived:
            self._arrived.discard(place)
        fd = os.open(name, _OPEN, dir_fd=turn.fd)
        keep = False
        try:
            found = os.fstat(fd)
            own = found.st_uid == self._euid
            self._check(turn, name, found, own=own)
            if not self._is_ready(place, fd, found, now, has_arrived=has_arrived):
                return None
            size = found.st_size
            data = os.read(fd, size if size < HEAD_BYTES else HEAD_BYTES)
            keep = not own
            return Drop(
                turn.box, name, place, data, size, found.st_uid, own,
                fd if keep else None, found.st_mtime_ns, found.st_ino,
            )  # fmt: skip
        finally:
            if not keep:
                os.close(fd)

    def _check(self, turn: Turn, name: str, found: os.stat_result, *, own: bool) -> None:
        """What can be said of a file without reading it."""
        if not stat.S_ISREG(found.st_mode):
            raise _odd(name, found.st_mode)
        if turn.box_problem:
            raise _bad_name("box", turn.box, turn.box_problem)
        if problem := name_problem(name):
            raise _bad_name("file", name, problem)
        if not own and not self.owner_allowed(found.st_uid):
            raise BadTaskFile(
                f"{escape(name)} belongs to user {found.st_uid}, who may not submit here",
                why=f"the daemon runs as user {self._euid}; tasks run as that user",
                fix="join the group in the configuration's [intake] group",
            )
        if found.st_size > self.max_task_bytes:
            raise BadTaskFile(
                f"{escape(name)} has {found.st_size} bytes",
                why=f"the most is {self.max_task_bytes} ([intake] max_task_bytes)",
                fix="pass large data as input files, or by their path",
            )

    def _is_ready(
        self, place: str, fd: int, found: os.stat_result, now: float, *, has_arrived: bool
    ) -> bool:
        settling = self._settling
        watched = settling.get(place) if settling else None
        if watched is not None and watched.error is not None:
            return self._grew(place, watched, fd, found, now)
        if found.st_size and found.st_nlink == 1:
            if place.endswith(".task"):  # tells by its length whether it is whole
                return True
            if has_arrived:
                settling.forget(place)
                return True
        if not settling.has_settled(place, fd, found, now):
            return False
        settling.forget(place)
        if not found.st_size:
            raise BadTaskFile(
                "the file is empty", why="it has 0 bytes", fix="see docs/taskfile.md"
            )
        if found.st_nlink != 1:
            raise BadTaskFile(
                f"the file has {found.st_nlink} names (hard links)",
                why="through the other ones it could be changed after its acceptance",
                fix="drop a copy of it, or rename it into incoming/",
            )
        return True

    def _grew(
        self, place: str, watched: Watched, fd: int, found: os.stat_result, now: float
    ) -> bool:
        """A file that was cut off changed, so it is worth reading again."""
        if not watched.is_as(found):
            self._settling.forget(place)
            return True
        if watched.is_being_written(fd):
            watched.since = now
        if now - watched.since >= CUT_OFF_S and watched.error is not None:
            raise watched.error
        watched.due = now + min(1.0, CUT_OFF_S / 5)
        return False

    def _not_opened(self, place: str, now: float, error: OSError) -> None:
        """A file that could not be opened: gone, swapped for something odd, or closed to us."""
        if error.errno == errno.ENOENT:
            self._settling.forget(place)
            return
        if error.errno in _SCARCE:
            raise error
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return  # it was a file a moment ago; the next pass sees what it is
        watched = self._settling.get(place)
        if watched is None or not watched.told:
            self._notices.append(
                f"cannot read {escape(place)}: {error.strerror}; it stays there"
            )
        self._settling.put(place, Watched(0, 0, 0, now + UNREADABLE_S, now, told=True))

    def _look_at_odd(
        self, turn: Turn, name: str, now: float, found: list[Drop | Refusal]
    ) -> None:
        place = f"{turn.folder}/{name}"
        if self._settling.is_early(place, now):
            return
        try:
            mode = os.stat(name, dir_fd=turn.fd, follow_symlinks=False).st_mode
        except OSError:
            return
        if not stat.S_ISDIR(mode):
            found.append(Refusal(turn.box, name, _odd(name, mode)))
            return
        if self._settling.get(place) is None:
            self._notices.append(f"{escape(place)} is a folder inside a box; it is ignored")
        self._settling.put(place, Watched(0, 0, 0, now + 86_400.0, now, told=True))


def _odd(name: str, mode: int) -> BadTaskFile:
    kind = next((text for test, text in _KINDS if test(mode)), "no regular file")
    return BadTaskFile(
        f"{escape(name)} is {kind}",
        why="only regular files can be tasks; nothing behind it was opened",
        fix="copy the file itself into incoming/",
    )


def _bad_name(what: str, name: str, problem: str) -> BadTaskFile:
    return BadTaskFile(
        f"the {what} '{escape(name)}' cannot have this name",
        why=problem,
        fix="use letters, digits, dots, dashes and underscores; not a dot or dash in front",
    )
