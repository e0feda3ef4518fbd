"""Threats 10, 13, 24 and 84 from within: what members of the group may do, and do by mistake.

They may run code as the daemon's user, so there is nothing to be gained for them; but nothing that
they do, by a wrong mode or a strange name, may end the daemon, lose a file or hold others up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, trailer
from tests.support.people import Person
from tests.support.waiting import wait_until
from tests.threats.users import (
    DAEMON,
    GROUP_NAME,
    MEMBER,
    STRANGER,
    SUPERUSER,
    acting_as,
    ctl_as,
    needs_users,
    serving,
)

GOOD = "#!/bin/sh\necho good\n"
BAD = "nonsense\n"

pytestmark = needs_users


@pytest.fixture(scope="module")
def one() -> Iterator[Daemon]:
    with serving() as daemon:
        yield daemon


@pytest.fixture
def lab(one: Daemon) -> Iterator[Daemon]:
    """The same daemon for all tests; it has to outlive each of them."""
    yield one
    with acting_as(DAEMON):
        one.drop("after.sh", GOOD)
    assert trailer(one.result("after.sh"))["state"] == "done"
    shutil.rmtree(one.spool / "results" / "after.sh.files")
    (one.spool / "results" / "after.sh.result").unlink()
    assert "Traceback" not in one.log_text(), one.log_text()


def closed_box(incoming: Path) -> Path:
    """A box as mkdir makes it: its files are the member's alone."""
    box = incoming / "closed"
    box.mkdir(mode=0o755)
    return box


def sticky_box(incoming: Path) -> Path:
    """A box in which everybody may only move files of his own."""
    box = incoming / "sticky"
    box.mkdir()
    box.chmod(0o3770)
    return box


@pytest.mark.parametrize("make", [closed_box, sticky_box])
@pytest.mark.parametrize("text", [GOOD, BAD])
def test_a_file_that_the_daemon_may_not_move_stays_and_is_told_once(
    lab: Daemon, make: Callable[[Path], Path], text: str
) -> None:
    with acting_as(MEMBER):
        box = make(lab.spool / "incoming")
        (box / "stays.sh").write_text(text)
    try:
        wait_until(lambda: str(box / "stays.sh") in lab.log_text(), last=lab.log_text)
        assert (box / "stays.sh").read_text() == text
        assert lab.log_text().count(f"path={box / 'stays.sh'}") == 1
    finally:
        shutil.rmtree(box)


def test_a_box_that_is_opened_later_is_served(lab: Daemon) -> None:
    with acting_as(MEMBER):
        box = closed_box(lab.spool / "incoming")
        (box / "early.sh").write_text(GOOD)
        wait_until(lambda: str(box / "early.sh") in lab.log_text(), last=lab.log_text)
        box.chmod(0o2770)
        (box / "late.sh").write_text(GOOD)
    assert trailer(lab.result("closed/late.sh"))["state"] == "done"
    shutil.rmtree(box)


def test_inputs_as_mkdir_makes_their_folder_are_taken(lab: Daemon) -> None:
    with acting_as(MEMBER):
        folder = lab.spool / "incoming" / "count.sh.in"
        folder.mkdir()
        (folder / "data").write_text("of a member\n")
        (lab.spool / "incoming" / "count.sh").write_text("#!/bin/sh\ncat data\n")
    result = lab.result("count.sh")
    assert (result.with_suffix(".files") / "stdout").read_text() == "of a member\n"


def test_a_refused_file_whose_inputs_cannot_be_moved_is_still_refused(lab: Daemon) -> None:
    with acting_as(MEMBER):
        folder = lab.spool / "incoming" / "bad.in"
        folder.mkdir()
        (folder / "data").write_text("kept\n")
        (lab.spool / "incoming" / "bad").write_text(BAD)
    assert "#!" in lab.rejected("bad")
    assert (folder / "data").read_text() == "kept\n"


def test_inputs_behind_a_link_are_not_read(lab: Daemon) -> None:
    secret = lab.home / "secrets"
    secret.mkdir()
    (secret / "key").write_text("do not tell")
    with acting_as(MEMBER):
        (lab.spool / "incoming" / "peep.sh.in").symlink_to(secret)
        (lab.spool / "incoming" / "peep.sh").write_text("#!/bin/sh\ncat key\n")
    result = lab.result("peep.sh")
    assert trailer(result)["state"] == "failed"
    assert (result.with_suffix(".files") / "stdout").read_text() == ""
    assert "symbolic link" in lab.rejected("peep.sh.in")


def test_a_box_may_be_called_as_a_refused_file_is(lab: Daemon) -> None:
    with acting_as(MEMBER):
        (lab.spool / "incoming" / "fold").write_text(BAD)
    lab.rejected("fold")
    with acting_as(MEMBER):
        box = lab.spool / "incoming" / "fold"
        box.mkdir()
        box.chmod(0o2770)
        (box / "bad").write_text(BAD)
        (box / "good.sh").write_text(GOOD)
    assert trailer(lab.result("fold/good.sh"))["state"] == "done"
    assert "#!" in lab.rejected("fold.1/bad")
    assert (lab.spool / "rejected" / "fold").read_text() == BAD


def test_a_refused_file_is_never_replaced_by_the_reason_of_another(lab: Daemon) -> None:
    with acting_as(MEMBER):
        (lab.spool / "incoming" / "twin.reason").write_text("the first\n")
    lab.rejected("twin.reason")
    with acting_as(MEMBER):
        (lab.spool / "incoming" / "twin").write_text("the second\n")
    lab.rejected("twin.1")
    rejected = lab.spool / "rejected"
    assert (rejected / "twin.reason").read_text() == "the first\n"
    assert (rejected / "twin.1").read_text() == "the second\n"


def test_a_box_may_be_called_as_a_result_is(lab: Daemon) -> None:
    with acting_as(MEMBER):
        lab.drop("one.sh", GOOD)
    lab.result("one.sh")
    with acting_as(MEMBER):
        box = lab.spool / "incoming" / "one.sh.result"
        box.mkdir()
        box.chmod(0o2770)
        (box / "two.sh").write_text(GOOD)
    waiting = "deliveries wait"
    wait_until(
        lambda: waiting in lab.log_text() or _results_in(lab, box.name), last=lab.log_text
    )
    with acting_as(MEMBER):
        (lab.spool / "results" / "one.sh.result").unlink()
    assert trailer(lab.result("one.sh.result/two.sh"))["state"] == "done"


def _results_in(lab: Daemon, box: str) -> list[Path]:
    return list((lab.spool / "results").glob(f"{box}*/*.result"))


@pytest.mark.parametrize(
    "kind",
    [
        "rejected",
        "results",
    ],
)
def test_a_link_in_the_place_of_a_boxs_folder_is_not_followed(lab: Daemon, kind: str) -> None:
    elsewhere = lab.home / f"elsewhere-{kind}"
    elsewhere.mkdir()
    os.chown(elsewhere, DAEMON.uid, DAEMON.gid)
    name, before = f"linked-{kind}", len(lab.log_text())
    with acting_as(MEMBER):
        (lab.spool / kind / name).symlink_to(elsewhere)
        box = lab.spool / "incoming" / name
        box.mkdir()
        box.chmod(0o2770)
        (box / "good.sh").write_text(GOOD)
        (box / "bad").write_text(BAD)
    wait_until(lambda: not list(box.iterdir()), last=lab.log_text)
    if kind == "rejected":
        assert trailer(lab.result(f"{name}/good.sh"))["state"] == "done"
        assert "#!" in lab.rejected(f"{name}.1/bad")
    else:
        refused = "deliveries wait"
        wait_until(lambda: refused in lab.log_text()[before:] or list(elsewhere.iterdir()))
    assert not list(elsewhere.iterdir())


def test_who_may_not_open_the_socket_is_told_whom_to_ask_as(lab: Daemon) -> None:
    told = ctl_as(STRANGER, lab, "agents").output
    assert "may not open the socket" in told
    assert "the daemon's user" in told
    assert "[intake] group" in told
    assert "start it" not in told


def test_refused_files_that_one_may_not_see_are_not_none(lab: Daemon) -> None:
    told = ctl_as(STRANGER, lab, "ls", "--rejected")
    assert told.exit_code == 2, told.output
    assert f"{lab.spool / 'rejected'} cannot be read" in told.output
    assert ctl_as(MEMBER, lab, "ls", "--rejected").exit_code == 0


@pytest.mark.parametrize("person", [DAEMON, SUPERUSER])
@pytest.mark.parametrize("first_group", [GROUP_NAME, ""])
def test_members_see_all_tasks_also_where_the_group_came_later(
    person: Person, first_group: str
) -> None:
    with serving(person=person, group=first_group) as lab:
        with acting_as(person):
            lab.drop("ours.sh", GOOD)
        lab.result("ours.sh")
        if not first_group:
            lab.kill_everything()  # what it has of the journal stays as it is
            (lab.home / "spoolmw.toml").write_text(f'[intake]\ngroup = "{GROUP_NAME}"\n')
            lab.start()
        for verb in ("why", "show", "wait"):
            told = ctl_as(MEMBER, lab, verb, "ours.sh")
            assert told.exit_code == 0, (verb, told.output, told.exc_info)
        assert "ours.sh" in ctl_as(MEMBER, lab, "ls").output
        assert "cannot be read" in ctl_as(STRANGER, lab, "ls").output
        lab.stop()
        assert "ours.sh" in ctl_as(MEMBER, lab, "ls").output
        with acting_as(MEMBER), pytest.raises(PermissionError):
            os.open(lab.spool / "journal" / "spoolmw.db", os.O_WRONLY)
