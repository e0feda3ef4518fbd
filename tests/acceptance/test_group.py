"""A lab's server: the daemon has a user of its own, and the members of a group drop files.

Three of the users that every Debian has play the parts; the tests need root to become them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, end, trailer
from tests.support.waiting import wait_until

DAEMON, MEMBER, STRANGER = 9, 5, 7  #: news, games, lp
GROUP, GROUP_NAME = 60, "games"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is not root, on a spool that it shares with a group.

    It may read everything, but no more than that: its Python may lie in somebody's home.
    """
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, DAEMON, GROUP)
    daemon = Daemon(home, config=f'[intake]\nsettle_s = 0.2\ngroup = "{GROUP_NAME}"\n')
    read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    bound = ("--bounding-set=-all,+dac_read_search",)
    who = (f"--reuid={DAEMON}", f"--regid={GROUP}", "--clear-groups")
    daemon.prefix = ("setpriv", *who, *read, *bound)
    try:
        yield daemon.start()
    finally:
        end(daemon)


def drop_as(
    user: int, daemon: Daemon, name: str, text: str, *, mode: int = 0o640, **inputs: str
) -> None:
    """Drop a file, and input files in a folder beside it, as `user` would."""
    incoming = daemon.spool / "incoming"
    if inputs:
        folder = incoming / f"{name}.in"
        folder.mkdir(mode=0o750)
        for input_name, content in inputs.items():
            own(folder / input_name, content, user, 0o640)
        os.chown(folder, user, GROUP)
    half = daemon.spool / "tmp" / f"{name}.part"
    own(half, text, user, mode)
    half.rename(incoming / name)


def own(path: Path, text: str, user: int, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, user, GROUP)


def test_the_daemon_is_not_root(lab: Daemon) -> None:
    status = Path(f"/proc/{lab.pid}/status").read_text().splitlines()
    assert f"Uid:\t{DAEMON}\t{DAEMON}\t{DAEMON}\t{DAEMON}" in status


def test_a_members_script_runs_as_the_daemons_user(lab: Daemon) -> None:
    drop_as(MEMBER, lab, "who.sh", "#!/bin/sh\nid -u\n")
    assert trailer(lab.result("who.sh"))["state"] == "done"
    assert (lab.spool / "results/who.sh.files/stdout").read_text() == f"{DAEMON}\n"


def test_a_members_input_files_are_taken_with_the_task(lab: Daemon) -> None:
    """The folder of inputs is the member's: the daemon can read it, but not rename it away."""
    drop_as(MEMBER, lab, "read.sh", "#!/bin/sh\ncat data\n", data="of a member\n")
    assert trailer(lab.result("read.sh"))["state"] == "done", lab.log_text()
    assert (lab.spool / "results/read.sh.files/stdout").read_text() == "of a member\n"


def test_a_strangers_file_is_refused(lab: Daemon) -> None:
    drop_as(STRANGER, lab, "theirs.sh", "#!/bin/sh\n")
    assert "owner" in lab.rejected("theirs.sh") or "belongs" in lab.rejected("theirs.sh")
    assert not lab.results()


def test_nothing_that_a_member_drops_ends_the_daemon(lab: Daemon) -> None:
    """Folders, modes and owners in any mixture cost one refusal each, at most."""
    incoming = lab.spool / "incoming"
    drop_as(MEMBER, lab, "closed.sh", "#!/bin/sh\n", mode=0o000, data="x")
    drop_as(STRANGER, lab, "strange.sh", "#!/bin/sh\n", data="x")
    locked = incoming / "locked.sh.in"
    locked.mkdir()
    own(locked / "data", "x", STRANGER, 0o600)
    os.chown(locked, MEMBER, GROUP)
    locked.chmod(0o000)
    drop_as(MEMBER, lab, "locked.sh", "#!/bin/sh\n")
    drop_as(DAEMON, lab, "good.sh", "#!/bin/sh\n")
    assert trailer(lab.result("good.sh"))["state"] == "done"
    wait_until(lambda: lab.rejected("strange.sh"))
    assert lab.process is not None
    assert lab.process.poll() is None, lab.log_text()


def test_a_member_may_move_and_remove_what_was_delivered(lab: Daemon) -> None:
    """Results belong to who consumes them: also the folder of a command's files."""
    drop_as(MEMBER, lab, "out.sh", "#!/bin/sh\nmkdir sub\necho 1 >sub/one\n")
    lab.result("out.sh")
    files = lab.spool / "results/out.sh.files"
    for folder in (files.parent, files, files / "sub"):
        found = folder.stat()
        assert (found.st_gid, found.st_mode & 0o070) == (GROUP, 0o070), folder
