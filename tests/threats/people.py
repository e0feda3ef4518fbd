"""Other users: what they do, they do in processes of their own."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: A user who is in no group of ours, and one who is a member of `MEMBERS`.
STRANGER = 54321
MEMBER = pwd.getpwnam("nobody")
MEMBERS = grp.getgrgid(MEMBER.pw_gid).gr_name

#: Two users need root to play them; in CI they have to be there.
needs_users = pytest.mark.skipif(
    (os.geteuid() != 0 or shutil.which("setpriv") is None) and "CI" not in os.environ,
    reason="only root can play two users (with setpriv)",
)


def by(uid: int, script: str, *, gid: int | None = None) -> subprocess.CompletedProcess[str]:
    """Have another user run a shell script; it has to succeed."""
    group = str(uid if gid is None else gid)
    done = subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={group}", "--clear-groups", "sh", "-ec", script],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def by_member(script: str) -> subprocess.CompletedProcess[str]:
    """Have a member of the configured group do it."""
    return by(MEMBER.pw_uid, script, gid=MEMBER.pw_gid)


@contextmanager
def open_ground() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="spoolmw-threats-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
