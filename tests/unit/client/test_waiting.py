"""A caller never hangs, and waiting costs one thread whatever is waited for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from spoolmw.client import Spool, inquiry
from spoolmw.client.future import SpoolTask
from spoolmw.errors import BadResultFile, ResultGone, TaskRejected, UnknownTask
from spoolmw.format.taskfile import read_header
from spoolmw.runner import results
from tests.support.answering import AnsweringMachine
from tests.support.asked import asked
from tests.support.waiting import wait_until


def add(a: int, b: int = 1) -> int:
    return a + b


def raise_stop_iteration() -> None:
    raise StopIteration("odd")


def waiting_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("spoolmw ")}


def test_one_thread_waits_for_many_tasks_and_ends_with_them(
    spool: Spool, machine: AnsweringMachine
) -> None:
    before = waiting_threads()
    tasks = [spool.submit(add, n) for n in range(300)]
    [thread] = waiting_threads() - before
    machine.answer()
    assert [task.result(60) for task in tasks] == list(range(1, 301))
    wait_until(lambda: not thread.is_alive())
    task = spool.submit(add, 1)
    machine.answer()
    assert task.result(60) == 2, "a new one comes with the next task"


def test_results_in_any_order_are_all_found(spool: Spool, machine: AnsweringMachine) -> None:
    tasks = [spool.submit(add, n) for n in range(200)]
    for box, path in reversed(machine.waiting()):
        machine.answer_one(box, path)
    assert [task.result(60) for task in tasks] == list(range(1, 201))


def test_a_late_first_task_does_not_hide_those_behind_it(
    spool: Spool, machine: AnsweringMachine
) -> None:
    tasks = [spool.submit(add, n) for n in range(100)]
    for task in tasks[40:]:
        machine.answer_one("", machine.layout.incoming / task.dropped)
    futures.wait(tasks[40:], timeout=60)
    assert all(task.done() for task in tasks[40:])
    machine.answer()
    assert tasks[0].result(60) == 1


def test_a_result_that_comes_after_a_long_rest_is_found_by_the_watch(
    spool: Spool, machine: AnsweringMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SWEEP_S", "FLOWING_SWEEP_S"):
        monkeypatch.setattr(f"spoolmw.client.waiter.{name}", 600.0)
    task = spool.submit(add, 1)
    waiter = spool._link.waiter
    wait_until(lambda: waiter._resting)
    machine.answer()
    assert task.result(60) == 2, "woken, and not found by the look of each second"


def test_without_a_watch_a_result_is_found_within_about_a_second(
    spool: Spool, machine: AnsweringMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolmw.spooldir.watch.Doorbell.arm", lambda _: False)
    task = spool.submit(add, 1)
    wait_until(lambda: spool._link.waiter._resting)
    machine.answer()
    assert task.result(60) == 2


def test_result_times_out(spool: Spool) -> None:
    with pytest.raises(TimeoutError):
        spool.submit(add, 1).result(timeout=0.05)


def test_a_task_has_all_that_a_future_of_the_library_has(spool: Spool) -> None:
    task, plain = spool.submit(pow, 2, 3), futures.Future()
    assert vars(plain).keys() <= vars(task).keys()
    ours, theirs = vars(task), vars(plain)
    same = theirs.keys() - {"_condition"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_waiting_in_vain_leaves_nothing_with_the_task(spool: Spool) -> None:
    task = spool.submit(pow, 2, 3)
    before = {key: str(value) for key, value in vars(task).items()}
    for ask in (task.result, task.exception):
        with pytest.raises(TimeoutError):
            ask(0.01)
    assert {key: str(value) for key, value in vars(task).items()} == before


def test_a_timeout_that_the_task_raised_is_its_error(
    spool: Spool, answered: AnsweringMachine
) -> None:
    def late() -> None:
        raise TimeoutError("of the task")

    task = spool.submit(late)
    assert isinstance(task.exception(30), TimeoutError)
    with pytest.raises(TimeoutError, match="of the task"):
        task.result(30)


def test_many_threads_may_wait_for_one_task(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.submit(pow, 2, 3)
    with futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(task.result, 30) for _ in range(8)]
        machine.answer()
        assert [answer.result(30) for answer in answers] == [8] * 8


def test_callbacks_are_called_once_with_the_task(
    spool: Spool, answered: AnsweringMachine
) -> None:
    called: list[SpoolTask] = []
    task = spool.submit(add, 1)
    task.add_done_callback(called.append)  # type: ignore[arg-type]
    task.result(60)
    wait_until(lambda: called)
    assert called == [task]


def test_a_callback_that_fails_harms_nobody_else(
    spool: Spool, answered: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    task.add_done_callback(lambda _: 1 / 0)
    assert spool.submit(add, 2).result(60) == 3


def test_a_task_can_be_awaited(spool: Spool, answered: AnsweringMachine) -> None:
    async def main() -> list[Any]:
        one, two = spool.submit(add, 1), spool.submit(add, 2)
        return [await one, await asyncio.wait_for(two, 10), await one]

    assert asyncio.run(main()) == [2, 3, 2]


def test_awaiting_a_failed_task_raises_what_it_raised(
    spool: Spool, answered: AnsweringMachine
) -> None:
    async def main() -> None:
        await spool.submit(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(main())


def test_awaiting_never_hangs_on_a_stop_iteration(
    spool: Spool, answered: AnsweringMachine
) -> None:
    async def main() -> None:
        await spool.submit(raise_stop_iteration)

    with pytest.raises(RuntimeError):
        asyncio.run(asyncio.wait_for(main(), 10))


def test_giving_up_to_await_cancels_the_task(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.submit(add, 1)

    async def main() -> None:
        await asyncio.wait_for(task, 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    wait_until(task.cancelled)
    assert machine.waiting() == []


def test_the_library_waits_for_tasks_too(spool: Spool, answered: AnsweringMachine) -> None:
    tasks = [spool.submit(add, n) for n in range(10)]
    assert futures.wait(tasks, timeout=60).not_done == set()
    more = [spool.submit(add, n) for n in range(10)]
    assert sorted(task.result() for task in futures.as_completed(more, 10)) == list(
        range(1, 11)
    )
    mine = [spool.submit(add, n) for n in range(10)]
    assert {task.id for task in spool.as_completed(mine, 10)} == {task.id for task in mine}


def test_the_library_sees_a_cancelled_task_as_done(
    spool: Spool, machine: AnsweringMachine
) -> None:
    tasks = [spool.submit(add, 1), spool.submit(add, 2)]
    threading.Timer(0.05, lambda: [task.cancel() for task in tasks]).start()
    assert futures.wait(tasks, timeout=60).not_done == set()


def test_ctrl_c_ends_the_waiting(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.submit(add, 1)

    def interrupted() -> object:
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        return task.result(60)

    with pytest.raises(KeyboardInterrupt):
        interrupted()


# -- never hang ---------------------------------------------------------------------------


def test_a_refused_file_ends_in_its_reason(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.submit(add, 1)
    [(_, path)] = machine.waiting()
    machine.reject(
        path, "x.task was refused: cpus.\nWhy: cpus: too many\nTo do: ask for fewer\n"
    )
    with pytest.raises(TaskRejected) as raised:
        task.result(60)
    assert raised.value.what == "x.task was refused: cpus."
    assert raised.value.why == "cpus: too many"
    assert raised.value.fix == "ask for fewer"


def test_a_name_that_somebody_took_does_not_take_the_result(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    squatter = Path(task.result_file)
    squatter.write_text("mine!")
    [(box, path)] = machine.waiting()
    machine.answer_one(box, path, result_name=f"{path.stem}.{task.id}")
    assert task.result(60) == 2
    assert squatter.read_text() == "mine!", "what is not ours stays untouched"


def test_a_link_in_the_results_place_is_not_followed(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    task = spool.submit(add, 1)
    Path(task.result_file).symlink_to(tmp_path / "secret")
    [(box, path)] = machine.waiting()
    machine.answer_one(box, path, result_name=f"{path.stem}.{task.id}")
    assert task.result(60) == 2


def test_the_result_of_another_task_is_not_taken_for_ones_own(
    spool: Spool, machine: AnsweringMachine
) -> None:
    first, second = spool.submit(add, 1), spool.submit(add, 2)
    one, two = (machine.layout.incoming / task.dropped for task in (first, second))
    name = Path(second.result_file).stem
    machine.answer_one("", one, result_name=name)
    machine.answer_one("", two, result_name=f"{name}.{second.id}")
    assert second.result(60) == 3
    assert not first.done()


def test_a_result_that_somebody_moved_away_ends_in_resultgone(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    machine.waiting()[0][1].unlink()
    name = task.dropped.removesuffix(".task")
    record = {"state": "done", "result": f"results/{name}.result"}
    with asked(machine.layout.root, {task.id: record}):
        error = task.exception(15)
    assert isinstance(error, ResultGone)
    assert "moved or deleted" in str(error)


def test_a_result_under_a_name_that_only_the_daemon_knows_is_found(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    [(box, path)] = machine.waiting()
    machine.answer_one(box, path, result_name="elsewhere")
    record = {"state": "done", "result": "results/elsewhere.result"}
    with asked(machine.layout.root, {task.id: record}):
        assert task.result(15) == 2


def test_a_damaged_result_is_told_as_such(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.submit(add, 1)
    machine.answer_one("", machine.layout.incoming / task.dropped, result_name="x")
    data = (machine.layout.results / "x.result").read_bytes()
    half = machine.layout.results / "half"
    half.write_bytes(data[:-20])
    half.rename(task.result_file)  # it may be looked for at any moment
    name = task.dropped.removesuffix(".task")
    record = {"state": "done", "result": f"results/{name}.result"}
    with asked(machine.layout.root, {task.id: record}):
        error = task.exception(15)
    assert isinstance(error, BadResultFile)
    assert "not a whole result" in str(error)


def test_a_task_that_nobody_knows_any_more_ends_in_unknowntask(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    machine.waiting()[0][1].unlink()
    with asked(machine.layout.root, {}), pytest.raises(UnknownTask, match="not in the spool"):
        task.result(60)


def test_a_daemon_that_is_down_is_warned_of_with_what_is_waited_for(
    spool: Spool,
    machine: AnsweringMachine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inquiry, "WARN_AFTER_S", 0.5)
    task = spool.submit(add, 1)
    wait_until(lambda: "still waiting" in caplog.text)
    assert "spoolmwd does not answer" in caplog.text
    assert f"waits in {machine.layout.incoming}" in caplog.text
    machine.answer()
    assert task.result(60) == 2
    assert caplog.text.count("still waiting") == 1, "said once"


def test_a_file_that_the_daemon_does_not_take_is_warned_of(
    spool: Spool,
    machine: AnsweringMachine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inquiry, "WARN_AFTER_S", 0.5)
    task = spool.submit(add, 1)
    with asked(machine.layout.root, {}):
        wait_until(lambda: "whether intake is closed" in caplog.text)
    machine.answer()
    assert task.result(60) == 2


def test_a_value_that_cannot_be_loaded_leaves_its_file(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    [(box, path)] = machine.waiting()
    ended = results.Ended()
    ended.codec, ended.value = "pickle", (b"cnowhere\nThing\n.",)
    data = path.read_bytes()
    parsed = read_header(data, size=len(data), dropped=path.name)
    machine.deliver(box, path.name, parsed, ended)
    with pytest.raises(BadResultFile, match="cannot be unpickled here"):
        task.result(60)
    assert task.path.exists()


# -- forks ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_waits_for_its_own_tasks_and_for_inherited_ones(
    spool: Spool, machine: AnsweringMachine
) -> None:
    inherited = spool.options(keep=True).submit(add, 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if (inherited.result(60), spool.submit(add, 5).result(60)) == (2, 6) else 2
        finally:
            os._exit(code)
    with machine:
        assert inherited.result(60) == 2
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
