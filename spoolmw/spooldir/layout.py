"""Knows every path of a spool, and makes and checks the tree.

Rule 1: no other module joins a folder's name to the spool's root.
Rule 2: whoever may swap a folder of the spool owns its tasks, so a spool that strangers can
write to, above it or in it, is refused (as sshd does with StrictModes).
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from shlex import quote

from spoolmw.errors import BadSpool
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.spooldir.publish import rename_noreplace

#: Folders that others may have to reach, with a group configured.
SHARED = ("incoming", "results", "rejected", "tmp")
#: Folders that only the daemon enters.
PRIVATE = ("active", "inputs", "values", "stage", "checkpoints", "journal", "runner")
#: File systems of other machines or of programs: rename, flock or SQLite's WAL are not safe there.
REFUSED_TYPES = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "coda"),
        *("ceph", "glusterfs", "gfs2", "lustre", "ocfs2", "vboxsf"),
    }
)
JOURNAL_NAME = "spoolmw.db"
SHARDS = tuple(f"{n:02x}" for n in range(256))
_ID_DIGITS = 32
_HEX = frozenset("0123456789abcdef")

README = """\
This is a spool of spoolmw. Drop a task file into incoming/, find its result in results/.

  incoming/[BOX/]NAME         drop here: *.task (the Python helper), a script, or *.toml
  results/[BOX/]NAME.result   the result; yours to move or delete
  results/[BOX/]NAME.files/   of a command: stdout, stderr and its output files
  rejected/[BOX/]NAME         a refused file; NAME.reason says why and how to mend it
  tmp/                        half-written files; publish by a rename into incoming/
  active/ inputs/ values/ stage/ checkpoints/ runner/ journal/ done.log
                              the daemon's own; do not touch. Lost the journal? spoolmwd --rebuild
  control.sock, lock          the running daemon
"""


class Layout:
    """All paths of the spool at `root`. Making one touches nothing."""

    __slots__ = (
        "active",
        "ballast",
        "checkpoints",
        "control",
        "done_log",
        "incoming",
        "inputs",
        "journal",
        "lock",
        "output",
        "rejected",
        "results",
        "root",
        "runner",
        "scratch",
        "stage",
        "tmp",
        "values",
    )

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.incoming = self.root / "incoming"
        self.results = self.root / "results"
        self.rejected = self.root / "rejected"
        self.tmp = self.root / "tmp"
        self.scratch = self.tmp / "scratch"  #: working directories of attempts
        self.output = self.tmp / "output"  #: what running attempts print
        self.active = self.root / "active"
        self.inputs = self.root / "inputs"
        self.values = self.root / "values"  #: results that successors read, by the task's id
        self.stage = self.root / "stage"
        self.checkpoints = self.root / "checkpoints"
        self.runner = self.root / "runner"
        self.journal = self.root / "journal" / JOURNAL_NAME
        self.ballast = self.root / "journal" / "ballast"
        self.done_log = self.root / "done.log"
        self.control = self.root / "control.sock"
        self.lock = self.root / "lock"

    def __repr__(self) -> str:
        return f"Layout({str(self.root)!r})"


def shard_of(task_id: TaskId) -> str:
    """Which folder in `active/` is a task's: two digits of the time in its id, a quarter of a second.

    So tasks that come together lie together: a tick changes few folders, which is what a sync costs.
    """
    return task_id[8:10]


def active_name(task_id: TaskId, box: str, dropped: str) -> str:
    """Where in `active/` a task's file lies: `xx/ID~BOX~DROPPED`, xx being `shard_of` the task.

    A box may not have a `~` in its name (`format.names` sees to it); a dropped name may.
    """
    return f"{shard_of(task_id)}/{task_id}~{box}~{dropped}"


def sort_active(layout: Layout) -> None:
    """Have each file in `active/` lie where its id says; earlier versions went by its last digits."""
    for shard in SHARDS:
        for name in os.listdir(layout.active / shard):
            digits = TaskId(name[:_ID_DIGITS])
            is_ours = len(digits) == _ID_DIGITS and name[_ID_DIGITS : _ID_DIGITS + 1] in "~."
            if is_ours and not set(digits) - _HEX and shard_of(digits) != shard:
                os.rename(layout.active / shard / name, layout.active / shard_of(digits) / name)


def active_of(task: Task) -> str:
    """Where in `active/` the file of `task` lies; the elements of an array share their array's."""
    owner = task.id if task.element is None else task.element.array
    return active_name(owner, task.box, task.dropped)


def parse_active(name: str) -> tuple[TaskId, str, str] | None:
    """Id, box and dropped name of a file in `active/` (with or without its shard); None: not one."""
    base = name.rpartition("/")[2]
    digits, tilde, rest = base[:_ID_DIGITS], base[_ID_DIGITS : _ID_DIGITS + 1], base[33:]
    box, separator, dropped = rest.partition("~")
    if tilde != "~" or not separator or not dropped or set(digits) - _HEX:
        return None
    return TaskId(digits), box, dropped


def prepare(root: Path, *, force_fs: bool = False, group: int | None = None) -> Layout:
    """Make the tree at `root` where it is missing and check what is there; BadSpool says why not.

    New folders are for the daemon's user alone; with `group`, its members may drop files,
    read and remove results, and read the journal. Modes of folders that exist are left as they
    are, but for the journal's: its members see all tasks, whenever the group was configured.
    """
    layout = Layout(Path(root).resolve())
    _check_parents(layout.root)
    try:
        _make_tree(layout, group)
        if not force_fs:
            _check_file_system(layout.root)
        _check_folders(layout)
        if group is not None:
            _share_journal(layout.journal.parent, group)
    except OSError as error:
        raise BadSpool(
            f"the spool {layout.root} cannot be made",
            why=f"{error.strerror}: {error.filename}",
            fix="give the daemon's user a folder of its own, or name another with --spool",
        ) from error
    return layout


def _make_tree(layout: Layout, group: int | None) -> None:
    if not layout.root.exists():
        layout.root.mkdir(parents=True)
        layout.root.chmod(0o755)
    for name in SHARED:
        _make_folder(layout.root / name, 0o700 if group is None else 0o2770, group)
    for name in PRIVATE:
        _make_folder(layout.root / name, 0o700, None)
    if group is not None:
        _give_group(layout.stage, group)
    for folder in (layout.scratch, layout.output):
        _make_folder(folder, 0o700, None)
    for shard in SHARDS:
        (layout.active / shard).mkdir(mode=0o700, exist_ok=True)
    readme = layout.root / "README"
    if not readme.exists():
        readme.write_text(README, encoding="utf-8")


def _give_group(folder: Path, group: int) -> None:
    """Have what is made in our own `folder` belong to the group, which still may not enter it."""
    if folder.stat().st_gid != group:
        os.chown(folder, -1, group)
        folder.chmod(0o2700)


def _share_journal(folder: Path, group: int) -> None:
    """Have the members of `group` read the journal, which only we may write.

    Our own group needs no set-group-id bit, which a hardened service may not set.
    """
    bit = 0 if group == os.getegid() else stat.S_ISGID
    found = folder.stat()
    if found.st_gid != group or stat.S_IMODE(found.st_mode) not in (0o750 | bit, 0o2750):
        os.chown(folder, -1, group)
        folder.chmod(0o750 | bit)
    for file in folder.glob(f"{JOURNAL_NAME}*"):
        with contextlib.suppress(FileNotFoundError):  # an older daemon ends in this moment
            if stat.S_ISREG(file.lstat().st_mode):
                os.chown(file, -1, group)
                file.chmod(0o640)


def _make_folder(folder: Path, mode: int, group: int | None) -> None:
    if os.path.lexists(folder):
        return
    folder.mkdir(mode=0o700)
    if group is not None:
        os.chown(folder, -1, group)
    folder.chmod(mode)


def _check_parents(root: Path) -> None:
    """No folder above the spool may be writable by everybody, unless it is sticky."""
    for folder in (root, *root.parents):
        try:
            found = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if _open_to_all(found):
            raise _world_writable(folder)


def _check_folders(layout: Layout) -> None:
    """Each folder of the spool is a real one, ours, on the same device, closed to strangers."""
    device = layout.root.stat().st_dev
    ours = {0, os.geteuid()}
    for folder in (layout.root, *(layout.root / name for name in SHARED + PRIVATE)):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise BadSpool(
                f"{folder} is not a folder",
                why="the spool's folders must be real ones: a link could be turned elsewhere",
                fix="move it away and start again; for another disk, move the whole spool",
            )
        if found.st_dev != device:
            raise BadSpool(
                f"{folder} is on another device than {layout.root}",
                why="files are published by rename, which works only within one file system",
                fix="keep the whole spool on one file system",
            )
        if found.st_uid not in ours:
            raise BadSpool(
                f"{folder} belongs to user {found.st_uid}, and the daemon runs as {os.geteuid()}",
                why="its owner could replace accepted tasks",
                fix="run the daemon as the spool's owner, or chown the spool to its user",
            )
        if _open_to_all(found):
            raise _world_writable(folder)


def _open_to_all(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX


def _world_writable(folder: Path) -> BadSpool:
    return BadSpool(
        f"{folder} may be written by everybody",
        why="anybody could run code as the daemon's user, or replace the spool",
        fix=f"chmod o-w {quote(str(folder))}; share a spool through a group ([intake] group)",
    )


def check_rename(layout: Layout) -> None:
    """Send a probe the way of every task: renames between the folders must work; else BadSpool.

    Only for who holds the spool's lock; a probe that a crash left is taken away first.
    """
    folders = (layout.tmp, layout.incoming, layout.active, layout.stage, layout.results)
    at, *places = (folder / ".probe" for folder in folders)
    try:
        for old in (at, *places):
            old.unlink(missing_ok=True)
        at.write_bytes(b"")
        for target in places:
            rename_noreplace(at, target)
            at = target
        at.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            at.unlink()
        raise BadSpool(
            f"files cannot be renamed within {layout.root}",
            why=f"{error.strerror} at {at}",
            fix="put the whole spool on one local, writable file system (ext4, XFS, btrfs)",
        ) from error


def _check_file_system(root: Path) -> None:
    kind, source = file_system(root)
    if kind in REFUSED_TYPES or kind == "fuse" or kind.startswith(("fuse.", "fuseblk")):
        raise BadSpool(
            f"{root} is on {kind} ({source})",
            why="locks, renames and the journal are not safe on a network or FUSE file system",
            fix="keep the spool on a local disk (clients may drop files through an export of it),"
            " or pass --force-fs at your own risk",
        )


def file_system(path: Path) -> tuple[str, str]:
    """Type and source of the file system that `path` (absolute) is on; ("", "") when unknown."""
    best, found = -1, ("", "")
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return found
    for line in lines:
        left, _, right = line.partition(" - ")
        place = _unescape(left.split(" ")[4])
        inside = path == Path(place) or Path(place) in path.parents
        if inside and len(place) >= best:  # the last of equal ones lies on top
            kind, source = right.split(" ")[:2]
            best, found = len(place), (kind, source)
    return found


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
