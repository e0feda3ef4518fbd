"""Damaged, newer, full and failing journals (threats 33, 35, 68 to 72)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlite_utils

from spoolmw.errors import BadSpool, DiskFull, JournalCorrupt
from spoolmw.model.attempt import Saved
from spoolmw.store import schema
from spoolmw.store.journal import Changed, Journal
from spoolmw.store.reports import Reports
from tests.unit.store.builders import a_task, an_array, commit, submitted

ROOT = Path(__file__).parents[3]


def filled(path: Path, tasks: int = 300) -> None:
    """A closed journal with some tasks in it."""
    journal = Journal.open(path)
    commit(journal, *(submitted(a_task(n)) for n in range(1, tasks + 1)))
    journal.close()


VERSION_1 = Path(__file__).with_name("version1.sql")


class TestDamage:
    def test_flipped_bytes_are_found_at_the_start(self, path: Path) -> None:
        filled(path)
        data = bytearray(path.read_bytes())
        for place in range(3 * 4096, len(data), 4096):
            data[place : place + 40] = b"\xff" * 40
        path.write_bytes(data)
        with pytest.raises(JournalCorrupt) as caught:
            Journal.open(path).load()
        assert "--rebuild" in caught.value.fix

    @pytest.mark.parametrize("size", [100, 4096, 20_000])
    def test_a_truncated_journal_is_refused(self, path: Path, size: int) -> None:
        filled(path)
        os.truncate(path, size)
        with pytest.raises(JournalCorrupt):
            Journal.open(path).load()

    def test_a_file_that_is_no_database_is_refused(self, path: Path) -> None:
        path.write_bytes(b"hello" * 1000)
        with pytest.raises(JournalCorrupt):
            Journal.open(path)

    def test_a_database_of_another_program_is_refused(self, path: Path) -> None:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE songs (name)")
        other.commit()
        other.close()
        with pytest.raises(JournalCorrupt, match="another program"):
            Journal.open(path)
        assert _tables(path) == {"songs"}

    def test_a_missing_journal_is_not_silently_made_anew(self, path: Path) -> None:
        with pytest.raises(JournalCorrupt, match="missing"):
            Journal.open(path, create=False)
        assert not path.exists()

    def test_a_lost_shm_is_made_anew(self, path: Path) -> None:
        _crashed(path)
        path.with_name(path.name + "-shm").unlink()
        journal = Journal.open(path)
        assert len(journal.load()) == 1
        journal.close()

    def test_a_lost_wal_leaves_an_older_but_whole_journal(self, path: Path) -> None:
        filled(path, 5)
        _crashed(path, number=6)
        path.with_name(path.name + "-wal").unlink()
        path.with_name(path.name + "-shm").unlink()
        journal = Journal.open(path)
        assert len(journal.load()) == 5
        journal.close()

    def test_a_torn_end_of_the_wal_costs_only_what_was_not_committed(self, path: Path) -> None:
        _crashed(path)
        wal = path.with_name(path.name + "-wal")
        with wal.open("ab") as file:
            file.write(b"\x7f" * 5000)
        journal = Journal.open(path)
        assert len(journal.load()) == 1
        journal.close()

    def test_a_row_that_makes_no_sense_names_itself(self, path: Path) -> None:
        filled(path, 3)
        raw = sqlite3.connect(path)
        raw.execute("UPDATE tasks SET spec = '{' WHERE seq = 2")
        raw.commit()
        raw.close()
        with pytest.raises(JournalCorrupt, match="task 2 "):
            Journal.open(path).load()


class TestVersions:
    def test_a_newer_journal_is_refused_untouched(self, path: Path) -> None:
        filled(path, 1)
        raw = sqlite3.connect(path)
        raw.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        raw.close()
        with pytest.raises(BadSpool, match=f"version {schema.VERSION + 1}") as caught:
            Journal.open(path)
        assert "newer" in caught.value.why

    def test_an_older_one_is_copied_before_it_is_changed(self, path: Path) -> None:
        filled(path, 3)
        now = schema.VERSION
        db = sqlite_utils.Database(sqlite3.connect(path, isolation_level=None))
        add = {now: lambda db: db.execute("ALTER TABLE tasks ADD COLUMN extra TEXT")}
        schema.bring_up_to_date(db, path, target=now + 1, migrations=add)
        assert schema.version(db) == now + 1
        db.close()
        old = sqlite3.connect(path.with_name(f"spoolmw.db.v{now}"))
        assert old.execute("PRAGMA user_version").fetchone() == (now,)
        assert old.execute("SELECT count(*) FROM tasks").fetchone() == (3,)
        old.close()

    def test_a_migration_that_fails_changes_nothing(self, path: Path) -> None:
        filled(path, 3)
        now = schema.VERSION
        db = sqlite_utils.Database(sqlite3.connect(path, isolation_level=None))

        def fail(db: sqlite_utils.Database) -> None:
            db.execute("DELETE FROM tasks")
            raise OSError("power")

        now = schema.VERSION
        with pytest.raises(OSError, match="power"):
            schema.bring_up_to_date(db, path, target=now + 1, migrations={now: fail})
        assert schema.version(db) == now
        assert db["tasks"].count == 3
        db.close()

    def test_a_journal_of_version_1_is_brought_up_to_date_with_its_tasks(
        self, path: Path
    ) -> None:
        filled(path, 3)
        made_version_1(path)
        journal = Journal.open(path)
        assert journal.load() == [a_task(n) for n in (1, 2, 3)]
        task = journal.load()[0]
        saved = replace(task, saved=Saved(1, 2, 3.5, 4), since=1)
        commit(journal, Changed(task, saved, ()))
        assert journal.get(task.id) == saved
        columns = journal_columns(path)
        journal.close()
        fresh = path.with_name("fresh.db")
        filled(fresh, 1)
        assert columns == journal_columns(fresh)

    def test_a_journal_of_version_1_takes_arrays_after_that(self, path: Path) -> None:
        filled(path, 2)
        made_version_1(path)
        journal = Journal.open(path)
        commit(journal, submitted(an_array(9)))
        journal.close()
        again = Journal.open(path)
        assert [task.state.value for task in again.load()] == ["queued", "queued", "expanding"]
        again.close()

    def test_who_only_reads_says_what_to_do_with_an_older_one(self, path: Path) -> None:
        filled(path, 3)
        made_version_1(path)
        with pytest.raises(BadSpool, match="version 1") as caught:
            Reports.open(path)
        assert "start the daemon" in caught.value.fix


def made_version_1(path: Path) -> None:
    """The journal as the first version had it, with the same tasks."""
    now = path.with_name("now.db")
    path.rename(now)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.executescript(VERSION_1.read_text("utf-8"))
    columns = ", ".join(row[1] for row in raw.execute("PRAGMA table_info(tasks)"))
    raw.execute("ATTACH ? AS now", (str(now),))
    raw.execute(f"INSERT INTO tasks ({columns}) SELECT {columns} FROM now.tasks")
    raw.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    raw.execute("PRAGMA user_version = 1")
    raw.close()


def journal_columns(path: Path) -> list[str]:
    """The names of the tasks' columns, in their order."""
    raw = sqlite3.connect(path)
    names = [row[1] for row in raw.execute("PRAGMA table_info(tasks)")]
    raw.close()
    return names


class TestFullDisk:
    def test_a_full_database_is_no_damage_and_the_commit_can_be_tried_again(
        self, journal: Journal
    ) -> None:
        pages = journal._conn.execute("PRAGMA page_count").fetchone()[0]
        journal._conn.execute(f"PRAGMA max_page_count = {pages}")
        many = [submitted(a_task(n)) for n in range(1, 200)]
        with pytest.raises(DiskFull):
            commit(journal, *many)
        assert journal.load() == []
        journal._conn.execute("PRAGMA max_page_count = 100000")
        commit(journal, *many)
        assert len(journal.load()) == 199

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
    @pytest.mark.parametrize("limit", ["size=600k", "size=300k"])
    def test_a_really_full_disk_neither_damages_nor_ends_the_journal(self, limit: str) -> None:
        assert _in_small_disk(limit, FILL) == "full, whole, went on"

    @pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the failure")
    @pytest.mark.parametrize("which", [1, 2, 3])
    def test_a_failed_sync_is_never_believed(self, path: Path, which: int) -> None:
        filled(path, 1)
        ran = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
             "-e", f"inject=fdatasync,fsync:error=EIO:when={which}+",
             sys.executable, "-c", SYNC, str(path)],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        if "ptrace" in ran.stderr:
            pytest.skip("no tracing here")
        assert ran.stdout.strip() == "lost", ran.stderr
        journal = Journal.open(path)
        assert len(journal.load()) <= 2 + which
        journal.close()


FILL = """
import os, sys
from pathlib import Path
from spoolmw.errors import DiskFull
from spoolmw.store.journal import Journal
from tests.unit.store.builders import a_task, an_array, commit, submitted
path = Path(sys.argv[1]) / "spoolmw.db"
ballast = path.with_name("ballast")
journal = Journal.open(path)
with open(ballast, "wb") as file:
    file.write(bytes(100_000))
done, said = 0, []
try:
    while done < 100_000:
        commit(journal, *(submitted(a_task(done + n)) for n in range(1, 21)))
        done += 20
except DiskFull:
    said.append("full")
for _ in range(3):
    try:
        commit(journal, submitted(a_task(done + 1)), *(submitted(a_task(done + n)) for n in range(2, 99)))
    except DiskFull:
        pass
assert len(journal.load()) == done, "something uncommitted is there"
ballast.unlink()
commit(journal, submitted(a_task(done + 1)))
assert len(journal.load()) == done + 1
journal.close()
journal = Journal.open(path)
said.append("whole")
assert len(journal.load()) == done + 1
said.append("went on")
print(", ".join(said))
"""

SYNC = """
import sys
from dataclasses import replace
from pathlib import Path
from spoolmw.errors import JournalLost
from spoolmw.store.journal import Journal
from tests.unit.store.builders import a_task, an_array, commit, submitted
try:
    journal = Journal.open(Path(sys.argv[1]))
    for n in range(2, 10):
        commit(journal, submitted(a_task(n)))
    print("went on")
except JournalLost:
    print("lost")
"""


def _in_small_disk(limit: str, program: str) -> str:
    script = (
        f'd=$(mktemp -d); mount -t tmpfs -o {limit} none "$d" || exit 77; '
        f'"$0" -c "$1" "$d"; code=$?; umount "$d"; rmdir "$d"; exit $code'
    )
    ran = subprocess.run(
        [
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            sys.executable,
            program,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if ran.returncode == 77 or "unshare:" in ran.stderr:
        pytest.skip(f"no mounts here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def _crashed(path: Path, number: int = 1) -> None:
    """A journal with one more task in its WAL, as a kill leaves it."""
    child = os.fork()
    if child == 0:
        commit(Journal.open(path), submitted(a_task(number)))
        os._exit(0)
    os.waitpid(child, 0)
    assert path.with_name(path.name + "-wal").stat().st_size > 0


def _tables(path: Path) -> set[str]:
    raw = sqlite3.connect(path)
    found = {row[0] for row in raw.execute("SELECT name FROM sqlite_master")}
    raw.close()
    return found
