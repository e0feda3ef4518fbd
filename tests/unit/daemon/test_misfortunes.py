"""What goes wrong around the reactor: odd requests, folders that vanish, disks that fill up."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolmw.client import Spool
from spoolmw.daemon import claims
from spoolmw.daemon.clock import boot_s, wall_s
from spoolmw.daemon.control import Peer, Request
from spoolmw.daemon.rebuild import rebuild
from spoolmw.errors import BadSpool, DiskFull, JournalLost, SpoolmwError, TaskRejected
from spoolmw.format import resultfile
from spoolmw.format.ids import new_task_id
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import MOST_PRIORITY
from spoolmw.model.task import TaskState
from spoolmw.runner import host, results
from spoolmw.spooldir import inputs
from spoolmw.store.journal import Journal
from tests.support.bench import LAB, Bench

KEYED = "#!/bin/sh\n#SPOOLMW key = fold/1\ntrue\n"


def no_room(*_args: object, **_kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def run_one(bench: Bench, name: str, text: str = "#!/bin/sh\ntrue\n", box: str = "") -> str:
    """Drop a task and let it succeed; its id."""
    before = len(bench.agent.launched)
    bench.drop(f"{box}/{name}" if box else name, text)
    bench.until(lambda: len(bench.agent.launched) > before)
    attempt = bench.agent.launched[-1].attempt
    bench.agent.finish(attempt)
    bench.until(lambda: not len(bench.parts.table))
    return attempt.task


# -- folders of results and refused files ---------------------------------------------------------


def test_a_box_of_results_that_was_removed_is_made_again(bench: Bench) -> None:
    (bench.layout.incoming / "lab").mkdir()
    run_one(bench, "a.sh", box="lab")
    shutil.rmtree(bench.layout.results / "lab")
    run_one(bench, "b.sh", box="lab")
    assert bench.trailer("lab/b.sh")["state"] == "done"


def test_a_result_whose_box_is_a_file_waits_until_that_is_gone(bench: Bench) -> None:
    (bench.layout.incoming / "lab").mkdir()
    (bench.layout.results / "lab").write_text("in the way", encoding="utf-8")
    bench.drop("lab/a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.ticks()
    assert len(bench.parts.table) == 1
    (bench.layout.results / "lab").unlink()
    bench.until(lambda: bench.delivered("lab/a.sh"))


def test_a_refused_file_stays_where_it_is_when_it_cannot_be_moved(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_layout: object, path: str, *_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("spoolmw.daemon.intake.reject", closed)
    (bench.layout.incoming / "lab").mkdir()
    bench.drop("lab/bad.toml", "no = such = toml")
    (bench.layout.incoming / "lab" / "link").symlink_to("/etc/passwd")
    bench.drop("good.sh")
    bench.until(lambda: bench.agent.launched)
    bench.ticks(30)
    assert (bench.layout.incoming / "lab" / "bad.toml").exists()
    assert bench.parts.reactor.intake.rejected == 2
    bench.until(lambda: bench.parts.reactor.timeout_s() > 0)  # not tried again and again


def test_a_file_that_cannot_be_claimed_stays_where_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def closed(source: str, target: str) -> None:
        if str(source).endswith("closed.sh"):
            raise PermissionError(errno.EACCES, "Permission denied", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", closed)
    bench.drop("closed.sh")
    bench.drop("open.sh")
    bench.until(lambda: bench.agent.launched)
    bench.ticks()
    assert len(bench.agent.launched) == 1
    assert (bench.layout.incoming / "closed.sh").exists()
    bench.ticks(30)
    bench.until(lambda: bench.parts.reactor.timeout_s() > 0)


def swap(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def append(place: Path) -> None:
    with place.open("a") as file:
        file.write("echo more\n")


@pytest.mark.parametrize(("act", "says"), [(swap, "was replaced"), (append, "was written to")])
def test_what_was_swapped_or_changed_before_it_was_claimed_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None], says: str
) -> None:
    bench.drop("a.sh")
    take = bench.parts.drops.take

    def take_and_act(limit: int) -> object:
        found = take(limit)
        if found:
            act(bench.layout.incoming / "a.sh")
        return found

    reason = bench.layout.rejected / "a.sh.reason"
    with monkeypatch.context() as patched:
        patched.setattr(bench.parts.drops, "take", take_and_act)
        bench.until(reason.exists)
    assert says in reason.read_text(encoding="utf-8")
    assert not len(bench.parts.table)


def test_a_folder_that_lies_in_a_box_does_not_keep_a_drain_waiting(bench: Bench) -> None:
    (bench.layout.incoming / "lab" / "sub").mkdir(parents=True)
    bench.until(bench.parts.reactor.idle)


def test_a_drain_does_not_wait_for_what_is_held_nor_for_its_twins(bench: Bench) -> None:
    bench.ask("pause")
    bench.drop("a.sh", KEYED)
    bench.until(lambda: len(bench.parts.table) == 1)
    bench.ask("hold", ids=[bench.only_id()])
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 1)
    bench.until(bench.parts.reactor.idle)


@pytest.mark.parametrize("verb", ["pause", "drain"])
def test_a_drain_does_not_wait_for_what_nobody_may_start(bench: Bench, verb: str) -> None:
    bench.ask(verb)
    bench.drop("a.sh")
    bench.until(lambda: bench.parts.table.states[TaskState.QUEUED] == 1)
    bench.until(bench.parts.reactor.idle)
    bench.ask("resume")
    assert not bench.parts.reactor.idle()


def test_a_drain_does_not_wait_for_an_intake_that_is_paused(bench: Bench) -> None:
    bench.ask("pause", intake=True)
    bench.close()
    bench.start()
    bench.drop("a.sh")
    bench.until(bench.parts.reactor.idle)


# -- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("pause", {"agent": ["lab"]}),
        ("agents_set", {"agent": {}, "slots": 1}),
        ("agents_set", {"agent": ["lab"], "slots": 1}),
        ("tail", {"id": "0" * 32, "offset": 2**70}),
        ("prune", {"results_s": 10**400}),
        ("prune", {"results_s": float("nan")}),
        ("cancel", {"ids": [["x"]]}),
        ("why", {"id": {}}),
    ],
)
def test_an_odd_request_gets_an_error_and_harms_nobody(
    bench: Bench, verb: str, args: dict[str, object]
) -> None:
    assert isinstance(bench.ask(verb, **args), SpoolmwError)


def test_a_tail_from_beyond_all_files_gets_an_answer(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    assert isinstance(bench.ask("tail", id=bench.only_id(), offset=2**70), SpoolmwError)


def test_an_id_that_is_named_twice_counts_once(bench: Bench) -> None:
    for name in ("a.sh", "b.sh"):
        bench.drop(name)
    bench.until(lambda: len(bench.agent.launched) == 2)
    first = bench.agent.launched[0].attempt.task
    answer = bench.ask("cancel", ids=[first, first])
    assert isinstance(answer, dict)
    bench.until(lambda: len(bench.parts.table) == 1)
    assert bench.parts.reactor.dispatch.rooms[LAB].attempts == 1
    bench.ask("retry", ids=[first, first])
    assert bench.parts.table.states[TaskState.QUEUED] + bench.parts.table.states[
        TaskState.RUNNING
    ] == len(bench.parts.table)


def test_a_lost_journal_is_not_just_an_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_args: object) -> None:
        raise JournalLost("the sync failed")

    monkeypatch.setattr(bench.parts.journal, "set_meta", lost)
    with pytest.raises(JournalLost):
        bench.ask("pause")


def test_a_retry_is_synced_before_it_is_committed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    task_id = bench.only_id()
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: not len(bench.parts.table))
    bench.ticks(3)
    synced = []
    monkeypatch.setattr(bench.parts.room, "sync", lambda: synced.append(boot_s()))
    bench.ask("pause")
    bench.ask("retry", ids=[task_id])
    assert synced, "after a power cut done.log would tell of an end that was taken back"


def test_a_retry_that_cannot_be_logged_changes_nothing_and_the_next_start_is_not_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    task_id = bench.only_id()
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: not len(bench.parts.table))
    bench.ticks(3)
    with monkeypatch.context() as patch:
        patch.setattr(bench.parts.done_log, "append", no_room)
        assert isinstance(bench.ask("retry", ids=[task_id]), SpoolmwError)
    bench.ticks()
    assert len(bench.agent.launched) == 1
    bench.ask("retry", ids=[task_id])
    bench.until(lambda: len(bench.agent.launched) == 2)
    with open(bench.layout.done_log, "ab") as torn:
        torn.write(f"{task_id} retr\n".encode())
    bench.close()
    bench.start()


def test_a_task_that_was_retried_meanwhile_is_not_pruned(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    task_id = bench.only_id()
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: not len(bench.parts.table))
    bench.ticks(3)
    asked: dict[str, dict[str, object]] = {"retry": {"ids": [task_id]}, "prune": {"story_s": 0}}
    for verb, args in asked.items():
        bench.parts.inbox.put(Request(verb, args, Peer(1, 0, 0), bench.answers.append))
    bench.until(lambda: len(bench.answers) == 2)
    bench.until(lambda: len(bench.agent.launched) == 2)
    assert bench.parts.journal.get(bench.agent.launched[1].attempt.task) is not None


def damaged(journal: Path) -> None:
    journal.write_bytes(b"this is no database\n" * 1000)


@pytest.mark.parametrize("damage", [os.unlink, damaged])
def test_a_journal_that_the_next_start_cannot_use_either_is_a_bad_spool(
    bench: Bench, damage: Callable[[Path], None]
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.close()
    damage(bench.layout.journal)
    with pytest.raises(BadSpool) as told:  # exit status 2: systemd does not try it again
        bench.start()
    assert "--rebuild" in told.value.fix
    rebuild(bench.layout)
    bench.start()


def test_a_row_that_the_next_start_cannot_understand_either_makes_a_bad_spool(
    bench: Bench,
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.close()
    raw = sqlite3.connect(bench.layout.journal)
    raw.execute("UPDATE tasks SET spec = '{'")
    raw.commit()
    raw.close()
    with pytest.raises(BadSpool, match="cannot be understood"):
        bench.start()
    bench.parts.close()
    rebuild(bench.layout)
    bench.start()


def test_a_task_gets_each_priority_afterwards_that_its_file_can_name(bench: Bench) -> None:
    bench.drop("a.sh", f"#!/bin/sh\n#SPOOLMW priority = {-MOST_PRIORITY}\ntrue\n")
    bench.until(lambda: len(bench.parts.table))
    task_id = bench.only_id()
    bench.ask("prio", ids=[task_id], priority=MOST_PRIORITY)
    assert bench.parts.table.tasks[TaskId(task_id)].priority == MOST_PRIORITY
    refused = bench.ask("prio", ids=[task_id], priority=MOST_PRIORITY + 1)
    assert str(MOST_PRIORITY) in str(refused)


# -- one key --------------------------------------------------------------------------------------


def test_a_twin_never_gets_the_result_of_another_task(bench: Bench) -> None:
    run_one(bench, "a.sh", KEYED)
    (bench.layout.results / "a.sh.result").unlink()
    other = run_one(bench, "a.sh")
    assert bench.trailer("a.sh")["id"] == other
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.delivered("b.sh"))
    trailer = bench.trailer("b.sh")
    assert trailer["state"] == "failed"
    assert "took it away" in str(trailer["message"])


def test_a_twin_of_a_task_from_before_a_rebuild_gets_a_whole_copy(bench: Bench) -> None:
    run_one(bench, "a.sh", KEYED)
    bench.close()
    rebuild(bench.layout)
    bench.start()
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.delivered("b.sh"))
    copy = resultfile.read(bench.layout.results / "b.sh.result")
    assert copy.trailer is not None
    assert copy.trailer["state"] == "done"


def test_an_id_that_somebody_made_up_is_not_from_the_future_after_a_rebuild(
    bench: Bench,
) -> None:
    made_up = TaskId("f" * 12 + "0" * 20)
    header = {"id": made_up, "name": "up", "run": {"command": ["true"]}}
    run_one(bench, "up.task", f"SPOOLMW-TASK 1\n{json.dumps(header)}\n")
    bench.close()
    rebuild(bench.layout)
    bench.start()
    task = bench.parts.journal.get(made_up)
    assert task is not None
    assert task.submitted_at <= wall_s()


def test_a_twin_waits_quietly_for_room_for_its_copy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_one(bench, "a.sh", KEYED)
    copy = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", no_room)
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 1)
    bench.ticks(30)
    bench.until(lambda: bench.parts.reactor.timeout_s() > 0.01)
    monkeypatch.setattr(shutil, "copyfile", copy)
    bench.until(lambda: bench.delivered("b.sh"))


def test_a_result_that_cannot_be_copied_ends_its_twin(bench: Bench) -> None:
    run_one(bench, "a.sh", KEYED)
    (bench.layout.results / "a.sh.result").unlink()
    os.mkfifo(bench.layout.results / "a.sh.result")
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.delivered("b.sh"))
    assert bench.trailer("b.sh")["state"] == "failed"


def test_twins_of_tasks_that_are_done_leave_nothing_in_memory(bench: Bench) -> None:
    run_one(bench, "a.sh", KEYED)
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.delivered("b.sh") and not len(bench.parts.table))
    assert not bench.parts.table.twins


# -- a full disk ----------------------------------------------------------------------------------


def test_a_file_for_which_there_is_no_room_is_accepted_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = claims.copy_body
    monkeypatch.setattr(claims, "copy_body", no_room)
    bench.drop("a.sh")
    bench.until(bench.parts.reactor.intake.late)
    assert not len(bench.parts.table)
    monkeypatch.setattr(claims, "copy_body", copy)
    bench.until(lambda: bench.agent.launched)
    assert len(bench.agent.launched) == 1


def test_a_start_on_a_full_disk_adopts_later_what_it_cannot_finish(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = claims.copy_body
    monkeypatch.setattr(claims, "copy_body", no_room)
    bench.drop("a.sh")
    bench.until(bench.parts.reactor.intake.late)
    bench.close()
    bench.start()
    bench.ticks()
    assert not len(bench.parts.table)
    monkeypatch.setattr(claims, "copy_body", copy)
    bench.until(lambda: bench.agent.launched)


def broken(*_args: object, **_kwargs: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("what", ["inputs", "array_file"])
def test_a_file_whose_daemon_died_before_it_took_the_inputs_is_adopted_with_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    given = tmp_path / "given.txt"
    given.write_text("one\n", encoding="utf-8")
    spool = Spool(bench.layout.root)
    if what == "inputs":
        task = spool.command(["cat", "given.txt"], inputs=[given])
    else:
        task = spool.command(["echo", "{line}"], array=given)
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "take", broken)
        with pytest.raises(OSError, match="Input/output error"):
            bench.ticks()
    assert not bench.layout.incoming.joinpath(task.dropped).exists()
    bench.close()
    bench.start()
    bench.until(lambda: bench.agent.launched)
    [launch] = bench.agent.launched
    known = bench.parts.table.get(launch.attempt.task)
    assert known is not None
    if what == "inputs":
        assert [(item.name, item.size_bytes) for item in known.spec.files.inputs] == [
            ("given.txt", 4)
        ]
    else:
        assert known.element is not None
        assert known.element.line == "one"
    assert not list(bench.layout.rejected.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_a_file_of_another_user_that_is_adopted_is_copied_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Spool(bench.layout.root).submit(pow, 2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(bench.parts.reactor.intake, "finish", broken)
        with pytest.raises(OSError, match="Input/output error"):
            bench.ticks()
    [claimed] = bench.layout.active.glob(f"*/{task.id}*")
    os.chown(claimed, 65534, 65534)
    bench.close()
    bench.start()
    bench.until(lambda: bench.agent.launched)
    [canonical] = bench.layout.active.glob(f"*/{task.id}*")
    assert canonical.stat().st_uid == 0


def test_a_delivery_waits_when_done_log_cannot_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    append = bench.parts.done_log.append
    monkeypatch.setattr(bench.parts.done_log, "append", no_room)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.ticks()
    assert not bench.delivered("a.sh")
    monkeypatch.setattr(bench.parts.done_log, "append", append)
    bench.until(lambda: bench.delivered("a.sh"))


def test_while_the_disk_is_full_nothing_spins(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 1)
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: bench.delivered("a.sh"))

    def full(*_args: object, **_kwargs: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(bench.parts.journal, "commit", full)
    bench.until(bench.parts.reactor.is_stuck)
    bench.ticks(3)
    bench.until(lambda: bench.parts.reactor.timeout_s() > 0.01)


def test_housekeeping_on_a_full_disk_is_put_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(bench.parts.journal, "ended_before", full)
    bench.parts.housekeeping.run(boot_s())


def test_a_file_that_leaves_tmp_while_it_is_tidied_harms_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.layout.tmp / "x.task.part").write_text("half", encoding="utf-8")
    scandir = os.scandir

    def late(path: object) -> object:
        found = scandir(path)  # type: ignore[call-overload]
        if path == bench.layout.tmp:
            entries = list(found)
            (bench.layout.tmp / "x.task.part").unlink(missing_ok=True)
            return _Entries(entries)
        return found

    monkeypatch.setattr(os, "scandir", late)
    bench.parts.housekeeping.run(boot_s())


class _Entries(list[object]):
    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        return


# -- untrusted text -------------------------------------------------------------------------------

HEADERS: list[dict[str, object]] = [
    {"name": "\ud800"},
    {"key": "\udcff"},
    {"key": "\ud83d"},
    {"run": {"env": {"A": "\ud800"}}},
    {"run": {"command": ["echo", "\ud800"]}},
    {"run": {"command": ["/bin/echo", "\udcff"]}},
    {"files": {"outputs": ["\ud800"]}},
    {"place": {"interpreter": "/\ud800"}},
    {"priority": 10**9},
    {"resources": {"memory": "9999999999999999999TB"}},
    {"resources": {"memory": "9EB"}},
    {"limits": {"time": "1e400s"}},
    {"limits": {"time": 1e300}},
    {"limits": {"output": "9999999999999999999TB"}},
    {"submitted_at": 1e300},
    {"submitted_at": -1},
    {"submitted_at": 10**400},
    {"submitted_at": "x"},
    {"result_name": "x" * 300},
    {"result_name": "../x"},
    {"result_name": "\ud800"},
]


@pytest.mark.parametrize("extra", HEADERS)
def test_no_header_harms_the_daemon(bench: Bench, extra: dict[str, object]) -> None:
    header = {
        "id": new_task_id(),
        "name": "x",
        "body": {"codec": "pickle", "bytes": 2, "sha256": "0" * 64},
        **extra,
    }
    text = f"SPOOLMW-TASK 1\n{json.dumps(header)}\nab"
    bench.drop("x.task", text)
    bench.until(
        lambda: (
            bench.agent.launched
            or (bench.layout.rejected / "x.task.reason").exists()
            or len(bench.parts.table)
        )
    )
    bench.ticks()
    if bench.agent.launched:
        bench.agent.finish(
            bench.agent.launched[0].attempt,
            results.failed("exit", "\ud800 \0 \x1b", exit_code=1),
        )
        bench.until(lambda: not len(bench.parts.table))
    bench.close()
    bench.start()


def test_a_message_of_half_characters_is_kept_and_shown(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "\ud800 \0 \x1b", exit_code=1)
    )
    bench.until(lambda: bench.delivered("a.sh"))
    assert bench.trailer("a.sh")["state"] == "failed"


# -- rebuild --------------------------------------------------------------------------------------


def test_a_rebuild_that_is_killed_leaves_no_empty_journal_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_one(bench, "a.sh", KEYED)
    bench.close()

    class Killed(BaseException):
        pass

    def killed(*_args: object, **_kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", killed)
        with pytest.raises(Killed):
            rebuild(bench.layout)
    db = sqlite3.connect(bench.layout.journal) if bench.layout.journal.exists() else None
    if db is not None:
        assert db.execute("SELECT count(*) FROM tasks").fetchone()[0] == 1
        db.close()
    rebuild(bench.layout)
    bench.start()
    bench.ticks()
    assert not bench.agent.launched


@pytest.mark.parametrize("name", ["fold", "a\x1b[31m", "x" * 200, 7])
def test_what_ended_is_called_by_its_own_name_after_a_rebuild(
    bench: Bench, name: object
) -> None:
    task_id = run_one(bench, "a.sh", "#!/bin/sh\n#SPOOLMW name = fold\ntrue\n")
    bench.close()
    result = bench.layout.results / "a.sh.result"
    told = json.dumps(name).encode()
    result.write_bytes(result.read_bytes().replace(b'"name": "fold"', b'"name": ' + told))
    rebuild(bench.layout)
    bench.start()
    [task] = bench.parts.journal.ended_before(2e9, limit=9, with_results=True)
    assert (task.id, task.spec.name) == (task_id, "fold" if name == "fold" else "a.sh")


def test_a_result_that_was_decided_but_not_moved_survives_a_rebuild(bench: Bench) -> None:
    (bench.layout.incoming / "lab").mkdir()
    (bench.layout.results / "lab").write_text("in the way", encoding="utf-8")
    bench.drop("lab/a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.ticks()
    bench.close()
    (bench.layout.results / "lab").unlink()
    rebuild(bench.layout)
    bench.start()
    bench.until(lambda: bench.delivered("lab/a.sh"))
    assert not bench.agent.launched


def test_a_cancelled_task_leaves_no_marker(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.ask("cancel", ids=[bench.only_id()])
    bench.until(lambda: not len(bench.parts.table))
    bench.ticks(3)
    assert not list(Path(bench.layout.active).rglob("*.cancel"))


# -- a reload -------------------------------------------------------------------------------------


def test_slots_that_are_set_back_to_auto_are_as_many_as_there_are_cores(bench: Bench) -> None:
    lab = bench.parts.config.agents[0]
    auto = dataclasses.replace(lab, slots=0)
    bench.parts.reconfigure(dataclasses.replace(bench.parts.config, agents=(auto,)))
    bench.ticks(1)
    assert bench.parts.reactor.dispatch.rooms[LAB].capacity.slots == host.usable_cores()


# -- inputs ---------------------------------------------------------------------------------------


def test_inputs_outlive_a_restart_on_a_full_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = claims.copy_body
    monkeypatch.setattr(claims, "copy_body", no_room)
    (bench.layout.incoming / "a.sh.in").mkdir()
    (bench.layout.incoming / "a.sh.in" / "data").write_text("1 2 3", encoding="utf-8")
    bench.drop("a.sh")
    bench.until(bench.parts.reactor.intake.late)
    for _ in range(2):
        bench.close()
        bench.start()
        bench.ticks()
    assert not len(bench.parts.table)
    monkeypatch.setattr(claims, "copy_body", copy)
    bench.until(lambda: bench.agent.launched)
    [item] = bench.agent.launched[0].spec.files.inputs
    assert (bench.layout.inputs / item.digest).read_text(encoding="utf-8") == "1 2 3"


def test_a_drain_waits_for_a_file_for_which_there_is_no_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "copy_body", no_room)
    bench.drop("a.sh")
    bench.until(bench.parts.reactor.intake.late)
    bench.ticks(30)
    assert not bench.parts.reactor.idle()


# -- much to do -----------------------------------------------------------------------------------


def test_much_pruning_by_hand_goes_on_piece_by_piece(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.sh", "b.sh", "c.sh"):
        run_one(bench, name)
    monkeypatch.setattr("spoolmw.daemon.housekeeping.AT_ONCE_S", 0.0)
    for module in ("housekeeping", "requests"):
        monkeypatch.setattr(f"spoolmw.daemon.{module}.PIECE", 1)
    dry = bench.ask("prune", story_s=0, dry_run=True)
    assert isinstance(dry, dict)
    assert (dry["story"], dry["more"]) == (1, True), "it counts no more than that"
    answer = bench.ask("prune", story_s=0, results_s=0)
    assert isinstance(answer, dict)
    assert answer["story"] == 1
    for number in range(1, 7):
        bench.parts.housekeeping.run(boot_s() + 3600 * number)
    assert bench.parts.journal.ended_counts() == {}
    assert not list(bench.layout.results.glob("*.result"))


def test_a_staged_result_that_is_damaged_is_not_published_and_ends_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.sh", "b.sh"):
        bench.drop(name)
    bench.until(lambda: len(bench.agent.launched) == 2)
    journal, commit = bench.parts.journal, bench.parts.journal.commit

    def full(*_args: object, **_kwargs: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(journal, "commit", full)
    for launch in bench.agent.launched:
        bench.agent.finish(launch.attempt)
    bench.until(bench.parts.reactor.is_stuck)
    bench.until(lambda: bench.parts.table.states[TaskState.DELIVERING] == 2)
    damaged, whole = bench.agent.launched
    os.truncate(bench.layout.stage / str(damaged.attempt), 5)
    monkeypatch.setattr(journal, "commit", commit)
    bench.until(lambda: bench.delivered(whole.spec.name))
    bench.ticks()
    assert not bench.delivered(damaged.spec.name)
    assert bench.parts.table.states[TaskState.DELIVERING] == 1


def test_a_command_whose_inputs_somebody_took_away_is_refused_and_does_not_run_without(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "given.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    given = {"given.txt": tmp_path / "given.txt", "empty": tmp_path / "empty"}
    task = Spool(bench.layout.root).command(["cat", "given.txt"], inputs=given)
    shutil.rmtree(bench.layout.incoming / f"{task.dropped}.in")
    bench.until((bench.layout.rejected / task.dropped).exists)
    with pytest.raises(TaskRejected, match=r"given\.txt is missing"):
        task.result(30)
    whole = Spool(bench.layout.root).command(["cat", "given.txt"], inputs=given)
    bench.until(lambda: bench.agent.launched)
    assert bench.agent.launched[0].attempt.task == whole.id
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: not len(bench.parts.table))
    whole.result(30)
