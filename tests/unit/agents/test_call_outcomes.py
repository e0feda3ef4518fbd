"""How Python calls end on the local agent: outcome, cause, blame, message, and what is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local

MB = 1_000_000


def failed(end: Reported | Lost) -> Reported:
    """The report of a failure that is the task's own fault."""
    assert isinstance(end, Reported)
    assert (end.outcome, end.blame) == (Outcome.ERROR, Blame.TASK)
    assert end.message
    return end


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def pid_in(path: Path) -> int:
    return wait_until(
        lambda: int(path.read_text()) if path.exists() and path.read_text() else 0
    )


# -- values


@pytest.mark.parametrize("value", [None, 1, "text", [1, 2.5], {"a": (1, 2)}, b"\0" * 1000])
def test_a_plain_value_comes_back_by_the_safe_codec(shared: Local, value: Any) -> None:
    work = shared.call(lambda: value)
    assert shared.run(work).cause is Cause.FINISHED
    assert shared.result(work).header["codec"] == "safe"
    assert shared.value(work) == value


def test_any_other_value_comes_back_pickled(shared: Local) -> None:
    work = shared.call(lambda: Path("/tmp"))
    shared.run(work)
    assert shared.result(work).header["codec"] == "pickle"
    assert shared.value(work) == Path("/tmp")


def test_even_a_function_can_be_a_value(shared: Local) -> None:
    work = shared.call(lambda: lambda x: x + 1)
    shared.run(work)
    assert shared.value(work)(1) == 2


def test_a_value_that_nothing_can_encode_fails_with_its_type(shared: Local) -> None:
    end = failed(shared.run(shared.call(lambda: (x for x in [1]))))
    assert end.cause is Cause.CODEC
    assert "generator" in end.message


def test_a_value_that_must_be_safe_and_is_not_fails(shared: Local) -> None:
    end = failed(shared.run(shared.call(lambda: Path("/tmp"), result="safe")))
    assert end.cause is Cause.CODEC


def test_a_value_can_be_asked_for_pickled(shared: Local) -> None:
    work = shared.call(lambda: 1, result="pickle")
    shared.run(work)
    assert shared.result(work).header["codec"] == "pickle"


def test_a_megabyte_goes_in_and_out(shared: Local) -> None:
    data = os.urandom(MB)
    work = shared.call(lambda x: x[::-1], data)
    shared.run(work)
    assert shared.value(work) == data[::-1]


# -- failures


def test_an_exception_travels_with_its_type_text_and_traceback(shared: Local) -> None:
    def bad() -> None:
        raise ValueError("seven is not even")

    work = shared.call(bad)
    end = failed(shared.run(work))
    assert end.cause is Cause.EXCEPTION
    assert end.message == "ValueError: seven is not even"
    told = shared.result(work).header["exception"]
    assert (told["type"], told["module"]) == ("ValueError", "builtins")
    assert told["message"] == "seven is not even"
    assert "in bad" in told["traceback"]
    assert "spoolmw_runner" not in told["traceback"]
    assert repr(shared.value(work)) == "ValueError('seven is not even')"


def test_an_exception_that_cannot_travel_is_told_as_text(shared: Local) -> None:
    class Odd(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")

    def bad() -> None:
        raise Odd(1, 2)

    work = shared.call(bad)
    failed(shared.run(work))
    header = shared.result(work).header
    assert header["codec"] == ""
    assert header["exception"]["message"] == "1 and 2"


def test_an_exception_without_a_text_of_its_own_is_told(shared: Local) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def bad() -> None:
        raise Mute

    end = failed(shared.run(shared.call(bad)))
    assert end.message.startswith("Mute")


def test_sys_exit_is_an_end_with_that_code(shared: Local) -> None:
    end = failed(shared.run(shared.call(lambda: sys.exit(3))))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 3)
    assert "sys.exit(3)" in end.message


def test_os_exit_is_an_end_with_that_code_and_the_next_call_runs(shared: Local) -> None:
    end = failed(shared.run(shared.call(lambda: os._exit(4))))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 4)
    assert shared.run(shared.call(lambda: 1)).cause is Cause.FINISHED


def test_a_segfault_is_the_tasks_own_signal(shared: Local) -> None:
    def bad() -> None:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

    work = shared.call(bad)
    end = failed(shared.run(work))
    assert end.cause is Cause.SIGNAL
    assert "SIGSEGV" in end.message
    header = shared.result(work).header
    assert header["signal"] == signal.SIGSEGV
    assert header["stdout_tail"] == "last words\n"
    assert header["name"] == "t"


def test_a_worker_killed_from_outside_is_lost_and_counts(shared: Local) -> None:
    work = shared.call(time.sleep, 60)
    shared.agent.launch([work])
    shared.heard.start_of(work)
    [sighting] = shared.agent.sightings()
    os.kill(sighting.pid, signal.SIGKILL)
    end = shared.heard.end_of(work)
    assert isinstance(end, Lost)
    assert (end.cause, end.blame, end.counts) == (Cause.VANISHED, Blame.HOST, True)
    assert not shared.staged(work).exists()


def test_a_dead_worker_takes_only_its_own_attempt_with_it(shared: Local) -> None:
    works = [shared.call(lambda: None) for _ in range(30)]
    works.insert(10, shared.call(lambda: os._exit(1)))
    shared.agent.launch(works)
    ends = [shared.heard.end_of(each) for each in works]
    assert [each.cause for each in ends].count(Cause.FINISHED) == 30
    assert ends[10].cause is Cause.EXIT


def test_a_module_that_is_missing_here_is_named(shared: Local) -> None:
    body = b"cno_such_module\nfunction\n(tR"
    work = shared._work("pickle", body, 1, {})
    end = failed(shared.run(work))
    assert end.cause is Cause.CODEC
    assert "no_such_module" in end.message
    assert sys.executable in end.message


def test_a_body_that_was_changed_is_not_run(shared: Local) -> None:
    work = shared.call(lambda: 1, sha256="0" * 64)
    end = failed(shared.run(work))
    assert end.cause is Cause.CODEC
    assert "digest" in end.message


def test_a_task_file_that_is_gone_is_a_failure(shared: Local) -> None:
    work = shared.call(lambda: 1)
    (shared.root / work.path).unlink()
    end = failed(shared.run(work))
    assert end.cause is Cause.LAUNCH
    assert "No such file" in end.message


def test_a_result_that_cannot_be_written_is_nobodys_fault(shared: Local) -> None:
    work = shared.call(lambda: 1)
    shared.staged(work).mkdir()
    end = shared.run(work)
    assert isinstance(end, Lost)
    assert (end.cause, end.blame, end.counts) == (Cause.LAUNCH, Blame.AGENT, False)


# -- interpreters


def test_a_missing_interpreter_is_named(shared: Local) -> None:
    work = shared.call(lambda: 1, interpreter="/nowhere/bin/python", python="2.6")
    end = failed(shared.run(work))
    assert end.cause is Cause.INTERPRETER
    assert "/nowhere/bin/python" in end.message
    assert "2.6" in end.message
    assert shared.result(work).header["outcome"] == "error"


def test_another_interpreter_of_the_same_version_steps_in(shared: Local) -> None:
    version = "{}.{}".format(*sys.version_info)
    work = shared.call(lambda: 1, interpreter="/nowhere/bin/python", python=version)
    assert shared.run(work).cause is Cause.FINISHED


def test_an_interpreter_of_another_version_is_refused(shared: Local) -> None:
    work = shared.call(lambda: 1, interpreter=sys.executable, python="3.1")
    end = failed(shared.run(work))
    assert end.cause is Cause.INTERPRETER
    assert "Python 3.1" in end.message


def test_a_program_that_is_no_python_fails_only_its_own_calls(shared: Local) -> None:
    end = failed(shared.run(shared.call(lambda: 1, interpreter="/bin/false", python="3.11")))
    assert end.cause is Cause.INTERPRETER
    assert "/bin/false" in end.message


# -- limits


def test_the_time_limit_ends_a_call(shared: Local) -> None:
    end = failed(shared.run(shared.call(time.sleep, 60, time_s=0.3)))
    assert end.cause is Cause.TIMEOUT
    assert "0.3 s" in end.message
    assert end.ended_at - end.started_at < 5


def test_the_time_limit_ends_what_the_call_started(shared: Local, tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def family() -> None:
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        note.write_text(str(child.pid))
        time.sleep(60)

    assert shared.run(shared.call(family, time_s=3.0)).cause is Cause.TIMEOUT
    assert not alive(pid_in(note))


def test_memory_beyond_the_limit_is_refused(shared: Local) -> None:
    end = failed(shared.run(shared.call(lambda: len(bytearray(8_000 * MB)), memory=100 * MB)))
    assert end.cause is Cause.MEMORY


def test_memory_that_grows_beyond_the_limit_is_noticed(shared: Local) -> None:
    def grow() -> None:
        kept = [bytearray(b"x" * 10 * MB) for _ in range(20)]
        time.sleep(60)
        kept.clear()

    end = failed(shared.run(shared.call(grow, memory=100 * MB)))
    assert end.cause is Cause.MEMORY
    assert end.memory_bytes > 100 * MB


def test_without_a_limit_a_memory_error_is_an_exception(shared: Local) -> None:
    def bad() -> None:
        raise MemoryError

    assert shared.run(shared.call(bad)).cause is Cause.EXCEPTION


def test_endless_output_is_ended(shared: Local) -> None:
    def chatter() -> None:
        while True:
            print("x" * 1000)

    work = shared.call(chatter, output=MB)
    end = failed(shared.run(work))
    assert end.cause is Cause.OUTPUT
    assert len(shared.result(work).header["stdout_tail"]) <= 8192


# -- nothing is left


def test_output_is_told_and_does_not_show_up_with_the_next_call(shared: Local) -> None:
    def speak() -> None:
        print("out", end="")
        os.write(2, b"err")

    work, silent = shared.call(speak), shared.call(lambda: None)
    shared.run(work)
    shared.run(silent)
    header = shared.result(work).header
    assert (header["stdout_tail"], header["stderr_tail"]) == ("out", "err")
    assert shared.result(silent).header["stdout_tail"] == ""


def spoil() -> None:
    Path("left").write_text("x")
    Path("folder").mkdir()
    os.chdir("/")
    os.environ["SPOILED"] = "yes"
    del os.environ["HOME"]
    os.umask(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    sys.stdout = sys.stderr


def look() -> tuple[Any, ...]:
    time.sleep(0.1)  # the alarm of the spoiler would ring now
    umask = os.umask(0o022)
    os.umask(umask)
    return (
        os.listdir(),
        Path.cwd().parent.name,
        os.environ.get("SPOILED"),
        "HOME" in os.environ,
        umask != 0,
        signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        sys.stdout is not sys.stderr,
    )


def test_folder_environment_and_signals_are_as_new_for_the_next_call(local: Local) -> None:
    local.agent.set_slots(1)
    local.run(local.call(spoil))
    work = local.call(look)
    local.run(work)
    assert local.value(work) == ([], "scratch", None, True, True, True, True)


def spoil_briefly(how: str) -> None:
    if how == "umask":
        os.umask(0)
    elif how == "alarm":
        signal.alarm(1)
    else:
        signal.setitimer(signal.ITIMER_REAL, 60)


def look_back() -> tuple[int, float]:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask, signal.getitimer(signal.ITIMER_REAL)[0]


@pytest.mark.parametrize("how", ["umask", "alarm", "timer"])
def test_a_call_too_short_to_be_looked_at_leaves_nothing_either(local: Local, how: str) -> None:
    local.agent.set_slots(1)
    untouched = local.call(look_back)
    local.run(untouched)
    for _ in range(3):
        local.run(local.call(spoil_briefly, how))
    local.run(local.call(os.umask, 0))
    local.run(local.call(signal.alarm, 1))
    work = local.call(look_back)
    local.run(work)
    assert local.value(work) == local.value(untouched)


def test_what_the_shortest_calls_used_is_told_in_sum(local: Local) -> None:
    local.agent.set_slots(1)
    local.run(local.call(lambda: None))  # its worker starts
    works = [local.call(lambda: None) for _ in range(200)]
    ends = [local.run(work) for work in works]
    told = [end.cpu_s for end in ends if isinstance(end, Reported)]
    assert len(told) == 200
    assert all(0 <= each < 0.05 for each in told)
    assert 200 * 20e-6 < sum(told) < 200 * 2e-3
    assert all(end.memory_bytes > MB for end in ends if isinstance(end, Reported))


def test_what_a_call_used_is_not_that_of_the_short_ones_before_it(local: Local) -> None:
    def burn() -> None:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass

    local.agent.set_slots(1)
    for _ in range(1000):
        local.run(local.call(lambda: None))
    end = local.run(local.call(burn))
    assert isinstance(end, Reported)
    assert 0.2 <= end.cpu_s < 0.25


def test_every_call_draws_other_numbers(local: Local) -> None:
    def draw(seeded: bool) -> float:
        if seeded:
            random.seed(1)
        return random.random()

    local.agent.set_slots(1)
    works = [local.call(draw, seeded) for seeded in (True, False, False)]
    for work in works:
        local.run(work)
    assert len({local.value(work) for work in works}) == 3


def test_a_call_knows_who_it_is(shared: Local) -> None:
    work = shared.call(lambda: dict(os.environ), env={"OWN": "1"}, name="my task")
    shared.run(work)
    seen = shared.value(work)
    assert seen["SPOOLMW_TASK"] == work.attempt.task
    assert seen["SPOOLMW_ATTEMPT"] == "1"
    assert seen["SPOOLMW_TOKEN"] == work.token
    assert seen["SPOOLMW_NAME"] == "my task"
    assert seen["OWN"] == "1"
    assert "PYTHONPATH" not in seen


def left_running(note: str, how: Callable[[], int]) -> None:
    Path(note).write_text(str(how()))


def a_child() -> int:
    return subprocess.Popen(["sleep", "60"]).pid


def a_grandchild() -> int:
    out = subprocess.check_output(
        ["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"], text=True
    )
    return int(out)


@pytest.mark.parametrize("how", [a_child, a_grandchild])
def test_what_outlives_its_call_is_killed(
    shared: Local, tmp_path: Path, how: Callable[[], int]
) -> None:
    note = tmp_path / "pid"
    assert shared.run(shared.call(left_running, str(note), how)).cause is Cause.FINISHED
    assert not alive(int(note.read_text()))


def test_a_forked_child_that_returns_does_not_become_a_second_worker(shared: Local) -> None:
    def fork() -> str:
        return "child" if os.fork() == 0 else "parent"

    work = shared.call(fork)
    shared.run(work)
    assert shared.value(work) == "parent"
    assert len(shared.heard.ends_of(work.attempt)) == 1


def test_a_thread_that_outlives_its_call_ends_with_its_worker(local: Local) -> None:
    def start() -> int:
        threading.Thread(target=time.sleep, args=(60,)).start()
        return os.getpid()

    work = local.call(start)
    assert local.run(work).cause is Cause.FINISHED
    pid = local.value(work)
    wait_until(lambda: not alive(pid))
    assert local.run(local.call(lambda: 1)).cause is Cause.FINISHED


def test_a_stopped_call_ends_with_all_that_it_started(shared: Local, tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def family() -> None:
        child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 60 & wait; wait"])
        note.write_text(str(child.pid))
        time.sleep(60)

    work = shared.call(family)
    shared.agent.launch([work])
    pid = pid_in(note)
    shared.agent.stop([work.attempt])
    wait_until(lambda: not alive(pid))
    assert shared.heard.ends_of(work.attempt) == []


# -- devices


def test_each_attempt_sees_only_its_own_devices(shared: Local, tmp_path: Path) -> None:
    def mine(own: str, other: str) -> str:
        Path(own).touch()
        until = time.monotonic() + 20
        while not Path(other).exists() and time.monotonic() < until:
            time.sleep(0.005)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    works = [shared.call(mine, a, b, gpus=1), shared.call(mine, b, a, gpus=1)]
    shared.agent.launch(works)
    for work in works:
        shared.heard.end_of(work)
    assert {shared.value(work) for work in works} == {"0", "1"}
