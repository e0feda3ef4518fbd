"""Each sentence of the documentation of `concurrent.futures`, with a real daemon behind it."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError
from pathlib import Path

import pytest

from spoolmw.client import Spool
from spoolmw.client.executor import SpoolExecutor
from tests.support.daemon import ROOT, Daemon, running
from tests.support.gates import is_running, pass_gate
from tests.support.waiting import wait_until

TWO_SLOTS = '[agents.local]\nkind = "local"\nslots = 2\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("served"), config=TWO_SLOTS) as daemon:
        yield daemon


@pytest.fixture
def pool(served: Daemon) -> Iterator[SpoolExecutor]:
    executor = Spool(served.spool).executor()
    yield executor
    executor.shutdown()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Calls of `pass_gate` wait here until the test touches it, or ends."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def divide(a: int, b: int) -> float:
    return a / b


def outer(a: int) -> float:
    try:
        return divide(a, 0)
    except ZeroDivisionError as error:
        raise LookupError("not found") from error


# -- Executor.submit ---------------------------------------------------------------------------


def test_submit_schedules_the_callable_and_returns_a_future(pool: SpoolExecutor) -> None:
    future = pool.submit(divide, 6, b=3)
    assert isinstance(future, futures.Future)
    assert future.result(60) == 2.0


def test_fn_and_self_may_be_keywords_of_the_call(pool: SpoolExecutor) -> None:
    assert pool.submit(dict, fn=1, self=2).result(60) == {"fn": 1, "self": 2}


# -- Executor.map ------------------------------------------------------------------------------


def test_map_is_like_the_builtin_map(pool: SpoolExecutor) -> None:
    assert list(pool.map(pow, range(10), range(10))) == list(map(pow, range(10), range(10)))
    assert list(pool.map(pow, range(5), [2, 2])) == [0, 1], "the shortest iterable ends it"


def test_maps_iterables_are_collected_immediately(pool: SpoolExecutor) -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for n in range(3):
            taken.append(n)
            yield n

    values = pool.map(abs, numbers())
    assert taken == [0, 1, 2]
    assert list(values) == [0, 1, 2]


def test_maps_values_come_in_order_and_as_soon_as_they_can(
    pool: SpoolExecutor, tmp_path: Path
) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    values = pool.map(pass_gate, map(str, gates), ["a", "b"])
    gates[0].touch()
    assert next(values) == "a", "though the second call has not ended"
    gates[1].touch()
    assert list(values) == ["b"]


def test_maps_calls_are_made_concurrently(pool: SpoolExecutor, tmp_path: Path) -> None:
    gates = [tmp_path / "a", tmp_path / "b"]
    values = pool.map(pass_gate, map(str, gates))
    wait_until(lambda: all(map(is_running, gates)))
    for gate in gates:
        gate.touch()
    assert list(values) == [None, None]


def test_map_raises_timeouterror_counted_from_the_call_of_map(
    pool: SpoolExecutor, gate: Path
) -> None:
    values = pool.map(pass_gate, [str(gate)], timeout=0.3)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        next(values)
    assert time.monotonic() - began < 5


def test_an_exception_of_map_is_raised_when_its_value_is_retrieved(pool: SpoolExecutor) -> None:
    values = pool.map(divide, [1, 1, 1, 1], [2, 1, 0, 1])
    assert [next(values), next(values)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(values)


def test_map_takes_a_chunksize(pool: SpoolExecutor) -> None:
    assert list(pool.map(pow, range(40), range(40), chunksize=6)) == [n**n for n in range(40)]
    assert list(pool.map(pow, range(40), range(40), chunksize=50)) == [n**n for n in range(40)]


# -- Executor.shutdown -------------------------------------------------------------------------


def test_submit_and_map_after_shutdown_raise_runtimeerror(served: Daemon) -> None:
    pool = Spool(served.spool).executor()
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(pow, 2, 5)
    with pytest.raises(RuntimeError):
        pool.map(pow, [2], [5])


def test_shutdown_with_wait_returns_when_all_pending_futures_are_done(served: Daemon) -> None:
    pool = Spool(served.spool).executor()
    pending = [pool.submit(time.sleep, 0.05) for _ in range(8)]
    pool.shutdown(wait=True)
    assert all(future.done() for future in pending)


def test_shutdown_without_wait_returns_at_once_and_the_futures_go_on(
    served: Daemon, gate: Path
) -> None:
    pool = Spool(served.spool).executor()
    future = pool.submit(pass_gate, str(gate), "through")
    pool.shutdown(wait=False)
    assert not future.done()
    gate.touch()
    assert future.result(60) == "through"


def test_a_with_statement_waits_as_shutdown_does(served: Daemon) -> None:
    with Spool(served.spool).executor() as pool:
        future = pool.submit(divide, 1, 2)
    assert future.done()
    with pytest.raises(RuntimeError):
        pool.submit(divide, 1, 2)


def test_cancel_futures_spares_what_runs_and_cancels_the_rest(
    served: Daemon, tmp_path: Path
) -> None:
    pool = Spool(served.spool).executor(cpus=2)  # one call at a time
    gate = tmp_path / "gate"
    first = pool.submit(pass_gate, str(gate), "ran")
    wait_until(lambda: is_running(gate))
    rest = [pool.submit(pass_gate, str(tmp_path / "no")) for _ in range(5)]
    threading.Timer(0.5, gate.touch).start()
    try:
        pool.shutdown(wait=True, cancel_futures=True)
    finally:
        (tmp_path / "no").touch()  # nobody else waits for what was not cancelled
    assert first.result(0) == "ran"
    assert all(future.cancelled() for future in rest)
    assert not is_running(tmp_path / "no")


def test_the_program_ends_only_when_all_pending_futures_are_done(
    served: Daemon, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""\
            import sys, time
            from spoolmw import Spool

            def late():
                time.sleep(0.3)
                return "late, but there"

            pool = Spool(sys.argv[1]).executor()
            pool.submit(late).add_done_callback(lambda future: print(future.result()))
            pool.shutdown(wait=False)
            print("main is done")
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), str(served.spool)],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["main is done", "late, but there"]
    assert done.stderr == ""


def test_submit_while_the_interpreter_ends_raises_runtimeerror(
    served: Daemon, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""\
            import atexit, sys

            @atexit.register
            def last():
                try:
                    pool.submit(id, None)
                except RuntimeError as error:
                    print(error)

            from spoolmw import Spool
            pool = Spool(sys.argv[1]).executor()
            print(pool.submit(abs, -42).result())
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), str(served.spool)],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "42",
        "cannot schedule new futures after interpreter shutdown",
    ]


class Weighty:
    """Can be weakly referenced."""

    def itself(self) -> Weighty:
        return self


def test_values_that_were_taken_are_not_kept(pool: SpoolExecutor) -> None:
    for value in pool.map(Weighty.itself, [Weighty(), Weighty()]):
        reference = weakref.ref(value)
        del value
        wait_until(lambda: reference() is None)  # noqa: B023


# -- Future ------------------------------------------------------------------------------------


def test_cancel_of_a_running_call_returns_false(pool: SpoolExecutor, gate: Path) -> None:
    future = pool.submit(pass_gate, str(gate), "went on")
    wait_until(lambda: is_running(gate))
    assert future.running()
    assert not future.cancel()
    gate.touch()
    assert future.result(60) == "went on"


def test_cancel_of_a_call_that_waits_returns_true(served: Daemon, gate: Path) -> None:
    with Spool(served.spool).executor(cpus=2) as pool:
        first = pool.submit(pass_gate, str(gate))
        wait_until(lambda: is_running(gate))
        waits = pool.submit(pass_gate, str(gate))
        assert waits.cancel()
        assert waits.cancelled()
        assert waits.done()
        assert not waits.running()
        with pytest.raises(CancelledError):
            waits.result(60)
        with pytest.raises(CancelledError):
            waits.exception(5)
        gate.touch()
        first.result(60)


def test_cancel_of_a_finished_call_returns_false(pool: SpoolExecutor) -> None:
    future = pool.submit(divide, 1, 2)
    future.result(60)
    assert not future.cancel()
    assert not future.cancelled()


def test_result_raises_timeouterror_and_may_be_asked_again(
    pool: SpoolExecutor, gate: Path
) -> None:
    future = pool.submit(pass_gate, str(gate), 7)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.1)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    gate.touch()
    assert future.result(timeout=None) == 7
    assert future.exception() is None


def test_result_raises_the_same_exception_as_the_call(pool: SpoolExecutor) -> None:
    future = pool.submit(divide, 1, 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        future.result(60)
    assert isinstance(future.exception(), ZeroDivisionError)


def test_the_cause_shows_the_remote_traceback_with_all_its_causes(pool: SpoolExecutor) -> None:
    error = pool.submit(outer, 1).exception(20)
    assert isinstance(error, LookupError)
    text = str(error.__cause__)
    assert "in outer" in text
    assert "in divide" in text
    assert "The above exception was the direct cause" in text


def test_callbacks_come_in_the_order_in_which_they_were_added(
    pool: SpoolExecutor, gate: Path
) -> None:
    called: list[tuple[int, object]] = []
    future = pool.submit(pass_gate, str(gate))
    for n in range(3):
        future.add_done_callback(lambda done, n=n: called.append((n, done)))  # type: ignore[misc]
    gate.touch()
    wait_until(lambda: len(called) == 3)
    assert called == [(0, future), (1, future), (2, future)]


def test_a_callback_that_raises_is_logged_and_ignored(
    pool: SpoolExecutor, gate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    future = pool.submit(pass_gate, str(gate), 1)
    called = []
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.touch()
        assert future.result(60) == 1
        wait_until(lambda: called)
    assert "exception calling callback" in caplog.text


def test_a_callback_of_a_completed_future_is_called_at_once(pool: SpoolExecutor) -> None:
    future = pool.submit(divide, 1, 2)
    future.result(60)
    called = []
    future.add_done_callback(called.append)
    assert called == [future]


# -- wait and as_completed ---------------------------------------------------------------------


def test_wait_returns_when_all_completed(pool: SpoolExecutor) -> None:
    several = [pool.submit(divide, n, 1) for n in range(6)]
    done, not_done = futures.wait([*several, *several], 20, return_when=ALL_COMPLETED)
    assert (done, not_done) == (set(several), set()), "duplicates are returned once"


def test_wait_returns_at_the_first_completed(pool: SpoolExecutor, gate: Path) -> None:
    slow, quick = pool.submit(pass_gate, str(gate)), pool.submit(divide, 1, 1)
    done, not_done = futures.wait([slow, quick], 20, return_when=FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {slow})


def test_wait_returns_at_the_first_exception(pool: SpoolExecutor, gate: Path) -> None:
    slow, bad = pool.submit(pass_gate, str(gate)), pool.submit(divide, 1, 0)
    done, not_done = futures.wait([slow, bad], 20, return_when=FIRST_EXCEPTION)
    assert (done, not_done) == ({bad}, {slow})


def test_wait_returns_after_its_timeout(pool: SpoolExecutor, gate: Path) -> None:
    slow = pool.submit(pass_gate, str(gate))
    assert futures.wait([slow], timeout=0.1) == (set(), {slow})


def test_wait_counts_cancelled_futures_as_done(served: Daemon, gate: Path) -> None:
    with Spool(served.spool).executor(cpus=2) as pool:
        first = pool.submit(pass_gate, str(gate))
        wait_until(lambda: is_running(gate))
        waits = pool.submit(divide, 1, 1)
        threading.Timer(0.1, waits.cancel).start()
        done, _ = futures.wait([first, waits], 20, return_when=FIRST_COMPLETED)
        assert done == {waits}
        gate.touch()


def test_as_completed_yields_each_once_and_the_completed_first(
    pool: SpoolExecutor, gate: Path
) -> None:
    early = pool.submit(divide, 1, 1)
    early.result(60)
    late = pool.submit(pass_gate, str(gate))
    order = futures.as_completed([late, early, early], timeout=20)
    assert next(order) is early
    gate.touch()
    assert list(order) == [late]


def test_as_completed_raises_timeouterror(pool: SpoolExecutor, gate: Path) -> None:
    with pytest.raises(TimeoutError):
        list(futures.as_completed([pool.submit(pass_gate, str(gate))], timeout=0.1))
