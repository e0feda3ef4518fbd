"""The executor behaves as the documentation of `concurrent.futures` says; without a daemon."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import Executor
from pathlib import Path

import pytest

from spoolmw.client import Spool
from tests.support.answering import AnsweringMachine

ROOT = Path(__file__).resolve().parents[3]


def square(n: int) -> int:
    return n * n


def test_it_is_an_executor_of_the_library(spool: Spool) -> None:
    assert isinstance(spool.executor(cpus=1, retries=2), Executor)


def test_its_options_stand_in_the_files(spool: Spool, machine: AnsweringMachine) -> None:
    pool = spool.executor(cpus=3, retries=1)
    pool.submit(square, 1)
    machine.answer()
    assert machine.seen[0].spec.resources.cpus == 3
    assert machine.seen[0].spec.retry.max == 1


def test_map_puts_chunksize_calls_into_a_task(spool: Spool, answered: AnsweringMachine) -> None:
    with spool.executor() as pool:
        assert list(pool.map(square, range(25), chunksize=10)) == [n * n for n in range(25)]
    assert len(answered.seen) == 3


def test_a_chunksize_below_one_is_refused(spool: Spool) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        spool.executor().map(square, range(3), chunksize=0)


def test_a_future_that_waits_can_be_cancelled(spool: Spool, machine: AnsweringMachine) -> None:
    future = spool.executor().submit(square, 2)
    assert future.cancel()
    assert machine.waiting() == []


def test_shutdown_with_cancel_futures_takes_waiting_ones_back(
    spool: Spool, machine: AnsweringMachine
) -> None:
    pool = spool.executor()
    futures = [pool.submit(square, n) for n in range(5)]
    pool.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert machine.waiting() == []


def test_submit_after_shutdown_raises_runtimeerror(spool: Spool) -> None:
    pool = spool.executor()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 2)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(square, [2])


def test_leaving_map_early_cancels_the_rest(spool: Spool, machine: AnsweringMachine) -> None:
    pool = spool.executor()
    values = pool.map(square, range(10), timeout=0.05)
    with pytest.raises(TimeoutError):
        next(values)
    assert machine.waiting() == []
    pool.shutdown()


def test_the_interpreter_ends_only_when_the_futures_have(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""\
            import sys
            from spoolmw import Spool
            pool = Spool(sys.argv[1]).executor()
            pool.submit(pow, 2, 5).add_done_callback(lambda future: print(future.result(), flush=True))
            print("end of the program", flush=True)
        """)
    )
    machine = AnsweringMachine(tmp_path / "spool")
    program = subprocess.Popen(
        [sys.executable, str(script), str(machine.layout.root)],
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "end of the program\n"
    assert machine.answer() == 1
    assert program.communicate(timeout=30) == ("32\n", "")
    assert program.returncode == 0


def test_a_plain_task_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    machine = AnsweringMachine(tmp_path / "spool")
    program = (
        f"from spoolmw import Spool; Spool({str(machine.layout.root)!r}).submit(pow, 2, 5)"
    )
    subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, timeout=30, check=True
    )
    assert len(machine.waiting()) == 1
