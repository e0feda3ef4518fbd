"""What a restart finds: tasks in flight, another daemon, a journal that is lost or damaged."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolmw import Spool
from tests.support.daemon import Daemon, end, left_over, running, trailer
from tests.support.waiting import wait_until

TWO_SLOTS = '[intake]\nsettle_s = 0.2\n[agents.local]\nkind = "local"\nslots = 2\n'
EXIT_START, EXIT_FAILED, EXIT_BUSY = 2, 3, 75


def brief(number: int, gate: str = "") -> int:
    """A task of 20 ms, or one that also waits for a file."""
    time.sleep(0.02)
    while gate and not os.path.exists(gate):
        time.sleep(0.02)
    return number * number


def test_after_a_kill_of_everything_all_300_results_come_each_once(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        spool = Spool(daemon.spool).options(keep=True)
        tasks = [spool.submit(brief, number) for number in range(300)]
        wait_until(lambda: len(daemon.results()) >= 40, last=daemon.log_text)
        daemon.kill_everything()
        assert len(daemon.results()) < 300
        began = time.monotonic()
        daemon.start()
        for number, task in enumerate(tasks):
            assert task.result(timeout=15) == number * number
        assert time.monotonic() - began < 15
        ids = sorted(str(trailer(path)["id"]) for path in daemon.results())
        assert ids == sorted(task.id for task in tasks)


def test_a_task_that_ran_when_the_daemon_died_runs_again_at_once_and_alone(
    tmp_path: Path,
) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        marks = tmp_path / "marks"
        gate = tmp_path / "gate"
        script = f"#!/bin/sh\necho $$ >>{marks}\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"
        daemon.drop("long.sh", script)
        wait_until(marks.exists)
        daemon.kill()
        daemon.start()
        wait_until(lambda: len(marks.read_text().split()) == 2)
        first, second = marks.read_text().split()
        assert not Path(f"/proc/{first}").exists()
        assert Path(f"/proc/{second}").exists()
        gate.touch()
        found = trailer(daemon.result("long.sh"))
        assert found["state"] == "done"
        attempts = found["attempts"]
        assert isinstance(attempts, list)
        assert [a["outcome"] for a in attempts] == ["lost", "success"]
        assert attempts[0]["blame"] == "host"


def test_when_the_daemon_dies_its_runner_and_workers_die_too(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        mark = tmp_path / "mark"
        daemon.drop(
            "long.sh",
            f"#!/bin/sh\ntrap '' TERM\nsetsid sleep 300 &\necho x >{mark}\nsleep 300\n",
        )
        wait_until(mark.exists)
        daemon.kill()
        wait_until(lambda: not left_over(daemon.spool), last=lambda: left_over(daemon.spool))


def test_a_second_daemon_refuses_and_names_the_first(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        second = Daemon(tmp_path / "second")
        second.home.mkdir()
        second.spool = daemon.spool
        second.start(wait=False)
        assert second.wait_exit() == EXIT_BUSY
        assert f"process {daemon.pid}" in second.log_text()
        daemon.drop("still.sh", "#!/bin/sh\necho served\n")
        daemon.result("still.sh")


def test_the_lock_of_a_killed_daemon_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        daemon.kill()
        assert (daemon.spool / "lock").read_text().strip() == str(daemon.pid)
        daemon.start()


def test_a_task_whose_file_is_removed_after_its_acceptance_ends_and_says_so(
    tmp_path: Path,
) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        daemon.ctl("pause", "local")
        daemon.drop("gone.sh", "#!/bin/sh\necho x\n")
        [file] = wait_until(lambda: list((daemon.spool / "active").glob("*/*gone.sh")))
        wait_until(lambda: daemon.ctl_json("ls"))
        file.unlink()
        daemon.ctl("resume", "local")
        found = trailer(daemon.result("gone.sh"))
        assert found["state"] == "failed"
        assert "was removed from the spool" in str(found["message"])
        attempts = found["attempts"]
        assert isinstance(attempts, list)
        assert len(attempts) == 1


# -- the journal


def in_the_middle(daemon: Daemon) -> list[str]:
    """Submit 60 tasks and kill everything when a third is delivered; the tasks' ids."""
    spool = Spool(daemon.spool).options(keep=True)
    gate = daemon.home / "gate"
    tasks = [
        spool.submit(brief, number, str(gate) if number > 29 else "") for number in range(60)
    ]
    daemon.drop("script.sh", "#!/bin/sh\n#SPOOLMW key = 'one'\necho from a script\n", box="lab")
    daemon.drop(
        "count.toml",
        '[run]\ncommand = ["sh", "-c", "wc -w <words.txt"]\n[files]\ninputs = ["words.txt"]\n',
        inputs={"words.txt": "one two three\n"},
    )
    wait_until(lambda: len(daemon.results()) >= 20, last=daemon.log_text)
    daemon.kill_everything()
    gate.touch()
    return [task.id for task in tasks]


def all_delivered_once(daemon: Daemon, ids: list[str]) -> None:
    """Every one of `ids` and both commands have one result, with the right content."""
    wait_until(lambda: len(daemon.results()) >= 62, last=daemon.log_text)
    with running_alone(daemon):
        found = [trailer(path) for path in daemon.results()]
    assert sorted(str(t["id"]) for t in found if t["name"] == "brief") == sorted(ids)
    assert sorted(str(t["name"]) for t in found if t["name"] != "brief") == [
        "count.toml",
        "script.sh",
    ]
    assert {t["state"] for t in found} == {"done"}
    assert (
        daemon.spool / "results/lab/script.sh.files/stdout"
    ).read_text() == "from a script\n"
    assert (daemon.spool / "results/count.toml.files/stdout").read_text().strip() == "3"


class running_alone:  # noqa: N801  # reads as a statement
    """Nothing is delivered any more: the daemon has nothing to do."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def __enter__(self) -> None:
        assert self._daemon.stop() == 0

    def __exit__(self, *_: object) -> None:
        self._daemon.start()


@pytest.mark.parametrize("program", ["spoolmwd", "spoolmw-ctl"])
def test_a_lost_journal_is_rebuilt_from_the_spool_and_work_goes_on(
    tmp_path: Path, program: str
) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        ids = in_the_middle(daemon)
        delivered = {path: path.read_bytes() for path in daemon.results()}
        for file in (daemon.spool / "journal").glob("spoolmw.db*"):
            file.unlink()
        if program == "spoolmwd":
            daemon.start("--rebuild", wait=False)
            assert daemon.wait_exit() == 0, daemon.log_text()
        else:
            daemon.ctl("rebuild", "--yes")
        daemon.start()
        all_delivered_once(daemon, ids)
        assert all(path.read_bytes() == content for path, content in delivered.items())


def test_tasks_that_an_earlier_version_kept_elsewhere_in_active_are_found(
    tmp_path: Path,
) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        ids = in_the_middle(daemon)
        active = daemon.spool / "active"
        files = list(active.glob("*/*~*"))
        assert files
        for file in files:
            file.rename(active / file.name[30:32] / file.name)
        daemon.start()
        all_delivered_once(daemon, ids)


def test_a_start_without_the_journal_refuses_where_tasks_were_accepted(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        in_the_middle(daemon)
        for file in (daemon.spool / "journal").glob("spoolmw.db*"):
            file.unlink()
        daemon.start(wait=False)
        assert daemon.wait_exit() == EXIT_START
        assert "--rebuild" in daemon.log_text()


def flip(path: Path) -> None:
    """Turn bits in the middle of the file, page headers included."""
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 512):
        data[place] ^= 0xFF
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Keep the first half."""
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 1000)


@pytest.mark.parametrize("damage", [flip, cut, overwrite])
def test_a_damaged_journal_is_refused_with_what_to_do_and_can_be_rebuilt(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        ids = in_the_middle(daemon)
        journal = daemon.spool / "journal" / "spoolmw.db"
        into_one_file(journal)
        damage(journal)
        daemon.start(wait=False)
        assert daemon.wait_exit() == EXIT_START
        assert "--rebuild" in daemon.log_text()
        daemon.start("--rebuild", wait=False)
        assert daemon.wait_exit() == 0, daemon.log_text()
        daemon.start()
        all_delivered_once(daemon, ids)


def into_one_file(journal: Path) -> None:
    """Move what is in the WAL into the database."""
    db = sqlite3.connect(journal)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def test_a_journal_that_is_moved_away_under_the_daemon_ends_it(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config=TWO_SLOTS).start()
    try:
        journal = daemon.spool / "journal"
        journal.joinpath("spoolmw.db").rename(tmp_path / "elsewhere.db")
        daemon.drop("one.sh", "#!/bin/sh\necho x\n")
        assert daemon.wait_exit() == EXIT_FAILED
        assert "moved or removed" in daemon.log_text()
        (tmp_path / "elsewhere.db").rename(journal / "spoolmw.db")
        daemon.start()
        daemon.result("one.sh")
    finally:
        end(daemon)
