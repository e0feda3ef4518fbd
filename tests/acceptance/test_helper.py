"""The helper with a real daemon: what a caller sees, and that a caller never hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from spoolmw.client import Spool, inquiry
from spoolmw.errors import (
    NotServed,
    ResultGone,
    TaskFailed,
    TaskRejected,
    UnknownTask,
)
from tests.support.daemon import ROOT, Daemon, running
from tests.support.gates import is_running, pass_gate
from tests.support.waiting import wait_until

TWO_SLOTS = '[intake]\nsettle_s = 0.2\n[agents.local]\nkind = "local"\nslots = 2\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("served"), config=TWO_SLOTS) as daemon:
        yield daemon


@pytest.fixture
def spool(served: Daemon) -> Spool:
    return Spool(served.spool)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Calls of `pass_gate` wait here until the test touches it, or ends."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def square(n: int) -> int:
    return n * n


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def test_many_calls_come_back_each_with_its_own_value(spool: Spool) -> None:
    tasks = [spool.submit(square, n) for n in range(500)]
    assert [task.result(30) for task in tasks] == [n * n for n in range(500)]
    assert not any(task.path.exists() for task in tasks)


def test_a_program_of_five_lines_works(served: Daemon) -> None:
    program = (
        "from spoolmw import Spool\n"
        "def simulate(seed, steps): return seed * steps\n"
        "spool = Spool()\n"
        "print(sum(spool.map(simulate, range(100), [10] * 100, chunk=7, progress=True)))\n"
    )
    env = {"PYTHONPATH": str(ROOT), "SPOOLMW_SPOOL": str(served.spool)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30,
        check=True,
    )  # fmt: skip
    assert done.stdout == "49500\n"
    assert "15/15 100 %" in done.stderr


def test_a_program_that_ends_at_once_lets_its_callbacks_end_first(served: Daemon) -> None:
    program = (
        "import time; from spoolmw import Spool\n"
        "def told(task): time.sleep(0.3); print('told', flush=True)\n"
        "task = Spool().submit(abs, -1)\n"
        "task.add_done_callback(told)\n"
        "print(task.result(60), flush=True)\n"
    )
    env = {"PYTHONPATH": str(ROOT), "SPOOLMW_SPOOL": str(served.spool)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\ntold\n"), done.stderr


def test_a_command_gets_its_inputs_and_leaves_its_outputs(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one two three\n")
    task = spool.options(box="count", env={"A": "b"}).command(
        ["sh", "-c", "wc -w < text.txt > words.csv; echo $A; echo oops >&2"],
        inputs=[tmp_path / "text.txt"],
        outputs=["*.csv"],
    )
    result = task.result(30)
    assert result.exit_code == 0
    assert (result.stdout, result.stderr) == ("b\n", "oops\n")
    assert result.files["words.csv"].read_text().strip() == "3"
    assert result.folder == spool.root / "results" / "count" / f"{task.dropped[:-5]}.files"


def test_a_command_that_fails_says_how(spool: Spool) -> None:
    with pytest.raises(TaskFailed, match="no luck") as raised:
        spool.command(["sh", "-c", "echo no luck >&2; exit 3"]).result(30)
    assert raised.value.exit_code == 3
    assert raised.value.blame == "task"


def test_a_call_that_kills_its_worker_is_a_failed_task(spool: Spool) -> None:
    with pytest.raises(TaskFailed, match="signal"):
        spool.options(retries=0).submit(die).result(30)


def test_a_call_that_leaves_by_sys_exit_is_a_failed_task(spool: Spool) -> None:
    with pytest.raises((TaskFailed, SystemExit)):
        spool.submit(sys.exit, 3).result(30)


def test_a_call_that_takes_too_long_is_a_failed_task(spool: Spool) -> None:
    with pytest.raises(TaskFailed, match="time"):
        spool.options(time="0.2s", retries=0).submit(time.sleep, 30).result(30)


def test_cancel_stops_a_running_task(served: Daemon, spool: Spool, gate: Path) -> None:
    task = spool.submit(pass_gate, str(gate))
    wait_until(lambda: is_running(gate))
    assert task.running()
    assert task.cancel()
    with pytest.raises(CancelledError):
        task.result(60)
    wait_until(lambda: not task.path.exists() and _state(spool, task.id) == "cancelled")


def test_cancel_of_a_waiting_task_keeps_it_from_running(
    spool: Spool, gate: Path, tmp_path: Path
) -> None:
    whole = spool.options(cpus=2)
    first = whole.submit(pass_gate, str(gate))
    wait_until(lambda: is_running(gate))
    second = whole.submit(pass_gate, str(tmp_path / "never"))
    assert second.cancel()
    gate.touch()
    first.result(60)
    assert whole.submit(square, 2).result(60) == 4
    assert not is_running(tmp_path / "never")


def test_a_task_is_awaitable(spool: Spool) -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(*(spool.submit(square, n) for n in range(20))))

    assert asyncio.run(main()) == [n * n for n in range(20)]


def test_tasks_are_yielded_as_they_complete(spool: Spool, gate: Path) -> None:
    slow, quick = spool.submit(pass_gate, str(gate)), spool.submit(square, 3)
    order = spool.as_completed([slow, quick], timeout=30)
    assert next(order) is quick
    gate.touch()
    assert next(order) is slow


# -- found again -------------------------------------------------------------------------------


def test_a_task_is_found_again_by_its_key_its_id_and_its_name(served: Daemon) -> None:
    task = Spool(served.spool).options(key="fold/17", name="fold-17").submit(square, 5)
    assert task.result(60) == 25
    later = Spool(served.spool)
    assert later.attach(key="fold/17").result(60) == 25
    assert later.attach(id=task.id).result(60) == 25
    assert later.attach(name="fold-17").result(60) == 25


def test_a_running_task_is_attached_to_and_waited_for(spool: Spool, gate: Path) -> None:
    first = spool.options(key="slow", keep=True).submit(pass_gate, str(gate), 9)
    wait_until(lambda: is_running(gate))
    again = spool.attach(key="slow")
    assert again.id == first.id
    assert not again.done()
    gate.touch()
    assert again.result(60) == 9


def test_the_same_key_is_computed_once_and_answered_twice(spool: Spool, tmp_path: Path) -> None:
    def note(path: str) -> int:
        with open(path, "a") as file:
            file.write("x")
        return 7

    mark = str(tmp_path / "ran")
    keyed = spool.options(key=f"once{tmp_path}")
    tasks = [keyed.submit(note, mark) for _ in range(3)]
    assert [task.result(60) for task in tasks] == [7, 7, 7]
    assert keyed.submit(note, mark).result(60) == 7
    assert Path(mark).read_text() == "x"


def test_find_gives_the_tasks_of_a_box_in_a_state(served: Daemon) -> None:
    box = Spool(served.spool, box="found")
    good, bad = (
        box.options(keep=True).submit(square, 2),
        box.options(keep=True).submit(square, "x"),
    )
    good.result(60)
    bad.exception(20)
    [failed] = wait_until(lambda: box.find(box="found", state="failed"))
    assert failed.id == bad.id
    assert failed.record["state"] == "failed"
    with pytest.raises(TypeError):
        failed.result(60)
    assert {task.id for task in box.find(box="found")} == {good.id, bad.id}
    assert box.find(box="nowhere") == []


def test_attaching_to_what_nobody_knows_is_an_error(spool: Spool) -> None:
    with pytest.raises(UnknownTask, match="no-such-key"):
        spool.attach(key="no-such-key")


def test_stats_tell_of_each_agent(spool: Spool) -> None:
    spool.submit(square, 2).result(60)
    local = [row for row in wait_until(spool.stats) if row["agent"] == "local"]
    assert local[0]["attempts"] >= 1


def test_agents_are_chosen_by_option_and_an_unknown_one_is_refused(spool: Spool) -> None:
    assert spool.options(agents="local").submit(square, 2).result(60) == 4
    with pytest.raises(TaskRejected, match="mars"):
        spool.options(agents=["mars"]).submit(square, 2).result(60)


# -- never hang --------------------------------------------------------------------------------


def test_a_refused_file_ends_in_its_reason(spool: Spool) -> None:
    task = spool.options(agents=["nowhere"]).submit(square, 2)
    with pytest.raises(TaskRejected) as raised:
        task.result(60)
    assert "nowhere" in str(raised.value)
    assert raised.value.why
    assert raised.value.fix
    wait_until((spool.root / "rejected" / task.dropped).exists)  # the reason comes first


def test_a_name_that_was_taken_ends_in_a_result(spool: Spool, gate: Path) -> None:
    task = spool.submit(pass_gate, str(gate), 6)
    wait_until(lambda: is_running(gate))
    squatter = task.path
    squatter.write_text("a squatter")
    gate.touch()
    assert task.result(30) == 6
    assert squatter.read_text() == "a squatter"


def test_a_key_that_is_known_ends_in_a_result_or_in_an_error_that_says_who_took_it(
    spool: Spool,
) -> None:
    keyed = spool.options(key="taken", keep=False)
    assert keyed.submit(square, 4).result(60) == 16
    with pytest.raises(TaskFailed, match="took it away"):
        keyed.submit(square, 4).result(60)


def test_a_result_that_somebody_moved_away_ends_in_resultgone(
    served: Daemon, spool: Spool, gate: Path, tmp_path: Path
) -> None:
    task = spool.submit(pass_gate, str(gate), 6)
    wait_until(lambda: is_running(gate))
    spool._link.waiter._pending.drop(task)  # so that the thief is first, for certain
    gate.touch()
    wait_until(task.path.exists)
    task.path.rename(tmp_path / "stolen")
    spool._link.waiter.add(task)
    with pytest.raises(ResultGone, match="moved or deleted"):
        task.result(30)


def test_an_attached_task_whose_result_is_gone_says_so_at_once(spool: Spool) -> None:
    task = spool.submit(square, 2)
    task.result(60)
    wait_until(lambda: _state(spool, task.id) == "done")
    with pytest.raises(ResultGone):
        spool.attach(id=task.id).result(60)


def test_a_task_file_that_somebody_deletes_ends_in_unknowntask(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        daemon.stop()
        spool = Spool(daemon.spool)
        task = spool.submit(square, 2)
        (spool.root / "incoming" / task.dropped).unlink()
        daemon.start()
        with pytest.raises(UnknownTask):
            task.result(30)


def test_a_daemon_that_is_down_ends_in_a_warning_and_when_it_is_back_in_a_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiry, "WARN_AFTER_S", 0.5)
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        daemon.stop()
        spool = Spool(daemon.spool)
        with caplog.at_level(logging.WARNING, "spoolmw.client"):
            task = spool.submit(square, 3)
            wait_until(lambda: "spoolmwd does not answer" in caplog.text)
        assert f"{task.name} ({task.id}) waits in" in caplog.text
        with pytest.raises(NotServed, match="spoolmwd --spool"):
            spool.attach(key="x")
        daemon.start()
        assert task.result(30) == 9


def test_a_daemon_that_dies_loses_no_caller(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        spool = Spool(daemon.spool)
        tasks = [spool.submit(pow, n, 2) for n in range(50)]
        slow = [spool.submit(time.sleep, 0.05) for _ in range(10)]
        tasks[0].result(60)
        daemon.kill_everything()
        more = [spool.submit(pow, n, 2) for n in range(50)]
        daemon.start()
        assert [task.result(30) for task in tasks + more] == [n**2 for n in range(50)] * 2
        assert [task.result(30) for task in slow] == [None] * 10


def test_waiting_for_a_slow_task_costs_next_to_nothing(spool: Spool, gate: Path) -> None:
    tasks = [spool.submit(pass_gate, str(gate))] + [
        spool.options(cpus=2).submit(square, n) for n in range(200)
    ]
    wait_until(lambda: spool._link.waiter._resting)
    began, cpu = time.monotonic(), time.process_time()
    with pytest.raises(TimeoutError):
        tasks[0].result(2.0)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    assert share < 0.05
    gate.touch()
    assert tasks[-1].result(30) == 199 * 199


def test_asking_and_waiting_leave_no_descriptors_open(spool: Spool) -> None:
    spool.submit(square, 2).result(60)
    before = len(os.listdir("/proc/self/fd"))
    for n in range(50):
        spool.submit(square, n).result(60)
        spool.stats()
    # One connection, and the watch with its pipe where it was armed meanwhile: not some a task.
    assert len(os.listdir("/proc/self/fd")) <= before + 5


def _state(spool: Spool, task_id: str) -> str:
    with spool._link.control() as control:
        return str(control.request("show", {"id": task_id})["state"])
