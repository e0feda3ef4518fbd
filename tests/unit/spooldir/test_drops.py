"""Taking dropped files: what is ready, what waits, what is refused (threats 1-16, 18, 28-32)."""

from __future__ import annotations

import os
import resource
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolmw.errors import BadTaskFile
from spoolmw.model.ids import TaskId
from spoolmw.spooldir.drops import CUT_OFF_S, HEAD_BYTES, Drop, Drops, Refusal
from spoolmw.spooldir.layout import Layout, active_name
from spoolmw.spooldir.publish import claim
from tests.support.people import as_user
from tests.unit.spooldir.conftest import Clock


def drop(layout: Layout, name: str, data: bytes = b"SPOOLMW-TASK 1\n", box: str = "") -> Path:
    folder = layout.incoming / box
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def names(found: list[Drop | Refusal]) -> set[str]:
    return {f"{item.box}/{item.name}" if item.box else item.name for item in found}


def only_drop(found: list[Drop | Refusal]) -> Drop:
    (item,) = found
    assert isinstance(item, Drop)
    return item


def only_refusal(found: list[Drop | Refusal]) -> BadTaskFile:
    (item,) = found
    assert isinstance(item, Refusal)
    return item.error


def take_all(drops: Drops, layout: Layout, limit: int = 7) -> list[str]:
    """Take until nothing is left, as the daemon does."""
    taken = []
    while found := drops.take(limit):
        for item in found:
            assert isinstance(item, Drop)
            taken.append(item.name)
            task_id = TaskId(f"{len(taken):032x}")
            assert claim(item.place, layout.active / active_name(task_id, item.box, item.name))
    return taken


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def right_after_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> None:
    """Do something once, between the first look at a file's size and whatever comes next."""
    acts = [act]
    look = os.fstat

    def look_and_act(fd: int) -> os.stat_result:
        found = look(fd)
        if acts and stat.S_ISREG(found.st_mode):
            acts.pop()()
        return found

    monkeypatch.setattr(os, "fstat", look_and_act)


class TestWhatIsReady:
    def test_a_task_file_is_taken_at_once(self, layout: Layout, drops: Drops) -> None:
        path = drop(layout, "a.task", b"SPOOLMW-TASK 1\n{}\n")
        item = only_drop(drops.take(10))
        assert (item.box, item.name, item.path) == ("", "a.task", path)
        assert item.data == b"SPOOLMW-TASK 1\n{}\n"
        assert item.stat_size == len(item.data)
        assert item.own
        assert item.fd is None

    def test_only_the_head_of_a_large_file_is_read(self, layout: Layout, clock: Clock) -> None:
        drop(layout, "a.task", b"x" * (HEAD_BYTES + 5))
        item = only_drop(Drops(layout, clock=clock).take(10))
        assert len(item.data) == HEAD_BYTES
        assert item.stat_size == HEAD_BYTES + 5

    def test_a_script_that_a_scan_finds_settles_first(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        drop(layout, "job.sh", b"#!/bin/sh\n")
        assert drops.take(10) == []
        assert drops.next_due() == clock.now + 1.0
        clock.after(1.0)
        (layout.incoming / only_drop(drops.take(10)).name).unlink()
        assert drops.next_due() == clock.now
        assert drops.take(10) == []
        assert drops.next_due() is None

    def test_a_file_that_was_seen_to_arrive_by_rename_is_complete(
        self, layout: Layout, drops: Drops
    ) -> None:
        drop(layout, "job.sh", b"#!/bin/sh\n", box="fold")
        drops.arrived("fold/job.sh")
        assert only_drop(drops.take(10)).name == "job.sh"

    def test_a_file_that_still_changes_is_not_taken(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        path = drop(layout, "job.sh", b"#!/bin/sh\n")
        for _ in range(5):
            assert drops.take(10) == []
            clock.after(0.9)
            path.write_bytes(path.read_bytes() + b"more\n")
        changed = clock.now
        while not (found := drops.take(10)):
            clock.now = drops.next_due() or clock.now
        assert only_drop(found).data.count(b"more") == 5
        assert 1.0 <= clock.now - changed <= 2.0

    def test_a_file_that_somebody_has_open_for_writing_is_not_taken(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        path = drop(layout, "job.sh", b"#!/bin/sh\n")
        with path.open("ab"):
            for _ in range(3):
                assert drops.take(10) == []
                clock.after(1.5)
        assert only_drop(drops.take(10)).name == "job.sh"

    def test_looking_whether_somebody_writes_never_kills_the_daemon(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        """A broken lease sends a signal; its default action would end the process."""
        path = drop(layout, "job.sh", b"#!/bin/sh\n")
        for _ in range(50):
            drops.take(10)
            path.open("ab").close()
            clock.after(1.0)

    def test_what_is_written_while_it_is_looked_at_settles_anew(
        self, layout: Layout, drops: Drops, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = drop(layout, "job.sh", b"#!/bin/sh\n")
        drops.take(10)
        clock.after(1)
        right_after_it_is_looked_at(monkeypatch, lambda: append(path, b"echo more\n"))
        assert drops.take(10) == []
        while not (found := drops.take(10)):
            clock.now = drops.next_due() or clock.now
        assert only_drop(found).stat_size == len(b"#!/bin/sh\necho more\n")

    def test_what_is_renamed_over_a_file_while_that_is_looked_at_is_taken_itself(
        self, layout: Layout, drops: Drops, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = drop(layout, "job.sh", b"#!/bin/sh\n")
        better = layout.tmp / "better"
        better.write_bytes(b"#!/bin/sh\necho better\n")

        def rename() -> None:
            better.rename(path)
            drops.arrived("job.sh")

        right_after_it_is_looked_at(monkeypatch, rename)
        found = drops.take(10) or drops.take(10)
        assert only_drop(found).inode == path.stat().st_ino

    def test_what_arrived_and_went_again_does_not_vouch_for_the_next_of_its_name(
        self, layout: Layout, drops: Drops
    ) -> None:
        drops.arrived("job.sh")
        assert drops.take(10) == []
        drop(layout, "job.sh", b"#!/bin/sh\n")
        assert drops.take(10) == []

    @pytest.mark.parametrize(
        "name", [".hidden", ".job.sh.swp", "a.task.part", "a.tmp", "job.sh~", ".nfs0001"]
    )
    def test_unfinished_names_are_ignored(
        self, layout: Layout, drops: Drops, clock: Clock, name: str
    ) -> None:
        drop(layout, name)
        drops.take(10)
        clock.after(5)
        assert drops.take(10) == []
        assert drops.notices() == []

    def test_the_folder_of_inputs_is_no_box(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        drop(layout, "data.task", box="job.toml.in")
        drop(layout, "data.task", box="fold")
        drop(layout, "x.task", box="fold/job.toml.in")
        drops.take(10)
        clock.after(5)
        assert names(drops.take(10)) == {"fold/data.task"}

    def test_a_time_in_the_past_or_future_decides_nothing(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        for name, when in (("old.sh", 0), ("new.sh", 4_000_000_000)):
            os.utime(drop(layout, name, b"#!/bin/sh\n"), (when, when))
        assert drops.take(10) == []
        clock.after(1)
        assert names(drops.take(10)) == {"old.sh", "new.sh"}

    def test_a_file_deleted_by_its_owner_is_forgotten(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        path = drop(layout, "job.sh", b"#!/bin/sh\n")
        drops.take(10)
        path.unlink()
        clock.after(5)
        assert drops.take(10) == []
        assert drops.next_due() is None


class TestManyFiles:
    def test_everything_is_taken_once_whatever_the_limit(
        self, layout: Layout, drops: Drops
    ) -> None:
        for number in range(100):
            drop(layout, f"{number}.task")
            drop(layout, f"b{number}.task", box=f"box{number % 7}")
        taken = take_all(drops, layout)
        assert len(taken) == len(set(taken)) == 200

    def test_what_was_submitted_first_is_taken_first(
        self, layout: Layout, drops: Drops
    ) -> None:
        ids = [f"{1_700_000_000_000 + n:012x}{'0' * 20}" for n in range(50)]
        for task_id in reversed(ids):
            drop(layout, f"z{task_id[-25]}-{task_id}.task")
        assert [name[-37:-5] for name in take_all(drops, layout)] == ids

    def test_a_box_with_many_files_does_not_keep_another_one_waiting(
        self, layout: Layout, drops: Drops
    ) -> None:
        for number in range(500):
            drop(layout, f"{number}.task", box="greedy")
        drop(layout, "one.task", box="modest")
        assert "modest/one.task" in names(drops.take(100))

    def test_boxes_and_files_that_come_later_are_found(
        self, layout: Layout, drops: Drops
    ) -> None:
        drop(layout, "1.task", box="early")
        assert take_all(drops, layout) == ["1.task"]
        drop(layout, "2.task", box="late")
        drop(layout, "3.task", box="early")
        assert sorted(take_all(drops, layout)) == ["2.task", "3.task"]

    def test_files_that_wait_do_not_hold_up_one_that_is_ready(
        self,
        layout: Layout,
        drops: Drops,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("spoolmw.spooldir.settling.MOST_WATCHED", 50)
        monkeypatch.setattr("spoolmw.spooldir.drops.MOST_LOOKED_AT", 64)
        for number in range(300):
            drop(layout, f"{number:03}.sh", b"#!/bin/sh\n")
        drop(layout, "z.task")
        taken: list[str] = []
        calls = 0
        while len(taken) < 301:
            calls += 1
            assert calls < 200
            for item in drops.take(20):
                taken.append(item.name)
                (layout.incoming / item.name).unlink()
            due = drops.next_due()
            assert due is not None or len(taken) == 301
            clock.now = due or clock.now
        assert taken[0] == "z.task"
        assert len(set(taken)) == 301

    def test_an_empty_box_is_looked_into_again_when_a_file_comes(
        self, layout: Layout, drops: Drops
    ) -> None:
        box = layout.incoming / "fold"
        box.mkdir()
        os.utime(box, (1_000_000_000, 1_000_000_000))  # empty for long
        assert drops.take(10) == []
        assert drops.take(10) == []
        drop(layout, "1.task", box="fold")
        assert names(drops.take(10)) == {"fold/1.task"}

    def test_a_box_that_was_removed_is_no_error(self, layout: Layout, drops: Drops) -> None:
        drop(layout, "1.task", box="fold")
        assert take_all(drops, layout) == ["1.task"]
        (layout.incoming / "fold").rmdir()
        assert drops.take(10) == []

    def test_the_descriptors_of_all_those_folders_are_given_back(
        self, layout: Layout, drops: Drops
    ) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(300):
            drop(layout, f"{number}.task", box=f"box{number}")
        take_all(drops, layout)
        assert len(os.listdir("/proc/self/fd")) == before


def a_symlink(path: Path) -> None:
    secret = path.parents[1] / "secret"
    secret.write_text("secret")
    path.symlink_to(secret)


def a_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def a_device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make devices")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


class TestHostileFiles:
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (a_symlink, "symbolic link"),
            (lambda path: path.symlink_to("nowhere"), "symbolic link"),
            (os.mkfifo, "named pipe"),
            (a_socket, "socket"),
            (a_device, "character device"),
        ],
    )
    def test_what_is_no_regular_file_is_refused_unopened(
        self, layout: Layout, drops: Drops, make: Callable[[Path], None], said: str
    ) -> None:
        make(layout.incoming / "a.task")
        assert said in only_refusal(drops.take(10)).what

    @pytest.mark.parametrize("make", [os.mkfifo, a_symlink])
    def test_a_file_swapped_after_the_listing_is_not_followed(
        self, layout: Layout, drops: Drops, make: Callable[[Path], None]
    ) -> None:
        """The listing says file, the open meets something else."""
        for number in range(40):
            drop(layout, f"{number:02}.task")
        first = drops.take(1)
        rest = [layout.incoming / f"{number:02}.task" for number in range(1, 40)]
        for path in rest[:1]:
            path.unlink()
            make(path)
        assert names(first) == {"00.task"}
        claim(layout.incoming / "00.task", layout.active / "00" / "x")
        found = drops.take(100)
        assert "01.task" not in {item.name for item in found if isinstance(item, Drop)}

    def test_a_hard_link_is_refused_but_a_linking_publisher_gets_its_time(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        other = layout.root / "other"
        other.write_bytes(b"SPOOLMW-TASK 1\n")
        os.link(other, layout.incoming / "a.task")
        assert drops.take(10) == []
        clock.after(1)
        assert "hard links" in only_refusal(drops.take(10)).what
        os.unlink(other)
        assert only_drop(drops.take(10)).name == "a.task"

    def test_an_empty_file_is_refused_when_it_stays_empty(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        drop(layout, "a.task", b"")
        assert drops.take(10) == []
        clock.after(1)
        assert "empty" in only_refusal(drops.take(10)).what

    def test_a_file_that_is_too_large_is_refused_unread(
        self, layout: Layout, drops: Drops
    ) -> None:
        with (layout.incoming / "a.task").open("wb") as file:
            file.truncate(1 << 40)  # sparse
        assert "max_task_bytes" in only_refusal(drops.take(10)).why

    def test_a_folder_in_a_box_is_ignored_and_told_once(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        drop(layout, "a.task", box="fold")
        (layout.incoming / "fold" / "sub").mkdir()
        assert take_all(drops, layout) == ["a.task"]
        clock.after(100)
        assert drops.take(10) == []
        assert len(drops.notices()) == 1
        assert drops.notices() == []

    @pytest.mark.parametrize(
        "name",
        [b"-rf.task", b"a\nb.task", b"\x1b[31m.task", b"\xff\xfe.task", b"x" * 200 + b".task",
         "\u202etxt.task".encode(), "e\u0301.task".encode(), b" .task"],
    )  # fmt: skip
    def test_names_that_could_trip_somebody_are_refused(
        self, layout: Layout, drops: Drops, name: bytes
    ) -> None:
        (Path(os.fsdecode(os.fsencode(layout.incoming) + b"/" + name))).write_bytes(b"x")
        error = only_refusal(drops.take(10))
        assert "cannot have this name" in error.what
        assert error.what.isprintable()
        assert "\\\\" not in error.what, "escaped once, not twice"

    def test_files_in_a_box_with_a_bad_name_are_refused(
        self, layout: Layout, drops: Drops
    ) -> None:
        drop(layout, "a.task", box="a~b")
        assert "box" in only_refusal(drops.take(10)).what

    @pytest.mark.skipif(
        os.geteuid() != 0, reason="root reads everything; another user is needed"
    )
    def test_an_unreadable_file_is_kept_and_told_once(self) -> None:
        """Runs as another user in a child process: root can read everything."""
        from_child = as_user(12345, _drop_unreadable)
        assert from_child == "kept, told 1 time, then 1 drop"


class TestTroubleOfTheMachine:
    def test_without_descriptors_nothing_is_lost_and_it_goes_on_by_itself(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        for number in range(20):
            drop(layout, f"{number}.task")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            assert drops.take(10) == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "Too many open files" in drops.notices()[0]
        due = drops.next_due()
        assert due is not None
        assert due > clock.now
        clock.now = due
        assert len(take_all(drops, layout)) == 20

    def test_a_missing_incoming_is_told_once(self, layout: Layout, drops: Drops) -> None:
        layout.incoming.rmdir()
        for _ in range(3):
            assert drops.take(10) == []
        assert len(drops.notices()) == 1
        layout.incoming.mkdir()
        drop(layout, "a.task")
        assert names(drops.take(10)) == {"a.task"}

    @pytest.mark.skipif(
        os.geteuid() != 0, reason="root reads everything; another user is needed"
    )
    def test_a_box_that_is_closed_to_us_stops_nobody_else(self) -> None:
        assert as_user(12345, _closed_box) == "open/a.task, told 1 time"


def _closed_box(root: Path) -> str:
    layout = Layout(root)
    layout.incoming.mkdir(parents=True)
    drop(layout, "a.task", box="open")
    drop(layout, "b.task", box="closed")
    (layout.incoming / "closed").chmod(0)
    drops = Drops(layout)
    found = names(drops.take(10))
    drops.take(10)
    told = len(drops.notices())
    (layout.incoming / "closed").chmod(0o700)
    return f"{', '.join(found)}, told {told} time"


class TestOwners:
    @pytest.fixture(autouse=True)
    def _root(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("files of another user can be made by root only")

    def test_a_file_of_a_stranger_is_refused(self, layout: Layout, drops: Drops) -> None:
        os.chown(drop(layout, "a.task"), 12345, -1)
        assert "user 12345" in only_refusal(drops.take(10)).what

    def test_a_file_of_an_allowed_user_comes_with_its_descriptor(
        self, layout: Layout, clock: Clock
    ) -> None:
        os.chown(drop(layout, "a.task", b"body"), 12345, -1)
        drops = Drops(layout, owner_allowed=lambda uid: uid == 12345, clock=clock)
        item = only_drop(drops.take(10))
        assert not item.own
        assert item.owner_uid == 12345
        assert item.fd is not None
        os.unlink(item.place)
        assert os.pread(item.fd, 10, 0) == b"body"
        os.close(item.fd)


class TestCutOffFiles:
    def test_a_cut_off_file_is_given_again_when_it_grew(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        path = drop(layout, "a.task", b"half")
        drops.defer(only_drop(drops.take(10)))
        assert drops.take(10) == []
        path.write_bytes(b"half and the rest")
        clock.after(0.2)
        assert only_drop(drops.take(10)).data == b"half and the rest"

    def test_one_that_is_made_whole_in_the_last_moment_is_given_again(
        self, layout: Layout, drops: Drops, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = drop(layout, "a.task", b"half")
        drops.defer(only_drop(drops.take(10)))
        clock.after(CUT_OFF_S)
        right_after_it_is_looked_at(monkeypatch, lambda: append(path, b" and the rest"))
        assert drops.take(10) == []
        clock.after(1)
        assert only_drop(drops.take(10)).data == b"half and the rest"

    def test_one_that_stays_so_is_refused_after_a_grace(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        drop(layout, "a.task", b"half")
        drops.defer(only_drop(drops.take(10)))
        waited = 0.0
        while not (found := drops.take(10)):
            due = drops.next_due()
            assert due is not None
            assert due > clock.now
            waited += due - clock.now
            clock.now = due
        assert "cut off" in only_refusal(found).what
        assert CUT_OFF_S <= waited < 2 * CUT_OFF_S

    def test_one_that_somebody_still_writes_is_not(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        path = drop(layout, "a.task", b"half")
        drops.defer(only_drop(drops.take(10)))
        with path.open("ab"):
            for _ in range(20):
                clock.after(1.0)
                assert drops.take(10) == []

    def test_the_reason_may_be_the_parsers_own(
        self, layout: Layout, drops: Drops, clock: Clock
    ) -> None:
        drop(layout, "a.task", b"half")
        drops.defer(only_drop(drops.take(10)), BadTaskFile("17 bytes are missing"))
        clock.after(CUT_OFF_S)
        assert only_refusal(drops.take(10)).what == "17 bytes are missing"


def _drop_unreadable(root: Path) -> str:
    layout = Layout(root)
    layout.incoming.mkdir(parents=True)
    clock = Clock()
    drops = Drops(layout, clock=clock)
    path = drop(layout, "a.task")
    path.chmod(0)
    told = 0
    for _ in range(5):
        assert drops.take(10) == []
        told += len(drops.notices())
        clock.after(30)
    path.chmod(0o600)
    clock.after(60)
    return f"kept, told {told} time, then {len(drops.take(10))} drop"
