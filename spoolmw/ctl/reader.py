"""Whether the daemon may read a dropped file: it tells only its log of one that it may not."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from spoolmw.spooldir.layout import Layout


@dataclass(frozen=True, slots=True)
class Reader:
    """The user that takes files from `incoming/`."""

    uid: int
    gids: frozenset[int]
    name: str

    def may_read(self, path: Path) -> bool:
        """By owner, group and mode; true where that cannot be told."""
        if not self.uid:
            return True
        try:
            found = path.lstat()
        except OSError:
            return True
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IRUSR)
        bit = stat.S_IRGRP if found.st_gid in self.gids else stat.S_IROTH
        return bool(found.st_mode & bit)


def reader_of(layout: Layout) -> Reader:
    """Who runs the daemon: the control socket is his, and while there is none the spool."""
    try:
        found = layout.control.stat()
    except OSError:
        found = layout.root.stat()
    try:
        user = pwd.getpwuid(found.st_uid)
    except KeyError:
        return Reader(found.st_uid, frozenset({found.st_gid}), str(found.st_uid))
    known = os.getgrouplist(user.pw_name, user.pw_gid)
    return Reader(found.st_uid, frozenset({found.st_gid, *known}), user.pw_name)
