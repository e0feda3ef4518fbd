"""Who may drop files: the daemon's own user, and members of the configured group."""

from __future__ import annotations

import grp
import os
import pwd

from spoolmw.errors import BadConfig


class Owners:
    """`allowed` is asked for every foreign file, so answers are kept until the next configure."""

    def __init__(self, group: str) -> None:
        self.configure(group)

    def configure(self, group: str) -> None:
        """Let the members of `group` in ("" for none). Raises BadConfig when there is no such group."""
        self._known: dict[int, bool] = {os.geteuid(): True}
        if not group:
            self.gid: int | None = None
            return
        try:
            self.gid = grp.getgrnam(group).gr_gid
        except KeyError:
            raise BadConfig(
                f"[intake] group: there is no group {group!r} on this machine",
                fix=f"make it (groupadd {group}), or name another",
            ) from None

    def allowed(self, uid: int) -> bool:
        """May files of the user `uid` become tasks?"""
        known = self._known.get(uid)
        if known is None:
            known = self._known[uid] = self._is_member(uid)
        return known

    def _is_member(self, uid: int) -> bool:
        if self.gid is None:
            return False
        try:
            user = pwd.getpwuid(uid)
        except KeyError:
            return False
        return self.gid in os.getgrouplist(user.pw_name, user.pw_gid)
