"""Hosts that are full, slow or gone, under a whole daemon."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.grid import Grid, in_haste, where
from tests.support.lab import Host, needs_hosts
from tests.support.waiting import wait_until
from tests.support.wandering import steps_done, wander

pytestmark = needs_hosts

MEGABYTE = 1_000_000
STEPS = 200


class TightGrid(Grid):
    """The first host has a disk of 8 MB for us."""

    def prepare(self) -> None:
        mount = ("mount", "-t", "tmpfs", "-o", "size=8m,mode=1777", "tmpfs", "/var/tmp")
        self.lab.hosts[0].run(*mount)

    def fill(self) -> None:
        """Not a byte is left there."""
        self.lab.hosts[0].run("sh", "-c", "cat /dev/zero >/var/tmp/ballast 2>/dev/null || true")

    def make_room(self) -> None:
        self.lab.hosts[0].run("rm", "/var/tmp/ballast")


def large(number: int) -> tuple[int, bytes]:
    return number, bytes(MEGABYTE)


def test_a_full_disk_on_a_host_costs_no_task_a_retry(tmp_path: Path) -> None:
    with TightGrid(tmp_path / "grid") as grid:
        held = grid.hold(agents=["lab:pc01"])
        held.host()
        grid.fill()
        tasks = grid.spool.options(agents=["lab"], retries=0).map(large, range(12))
        assert [number for number, _ in tasks] == list(range(12))
        only = grid.spool.options(agents=["lab:pc01"], retries=0).submit(large, 1)
        lost = wait_until(
            lambda: [each for each in attempts(grid, only.id) if each["outcome"] == "lost"],
            last=grid.daemon.log_text,
        )
        assert {each["blame"] for each in lost} <= {"host", "agent"}
        assert not only.done()
        held.let_go()
        grid.make_room()
        assert held.task.result(timeout=60) == "pc01"
        assert only.result(timeout=60)[0] == 1


def attempts(grid: Grid, task: str) -> list[dict[str, object]]:
    [record] = grid.daemon.ctl_json("show", task)
    return list(record["attempts"])  # type: ignore[call-overload]


def size_of(data: bytes) -> int:
    return len(data)


@contextmanager
def slowly(host: Host, runs_s: float = 0.1, rests_s: float = 0.3) -> Iterator[None]:
    """A host that has a moment of time now and then."""
    is_over = threading.Event()

    def pulse() -> None:
        while not is_over.is_set():
            host.freeze()
            is_over.wait(rests_s)
            host.thaw()
            is_over.wait(runs_s)

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_slow_host_keeps_no_other_waiting_and_is_no_dead_one(tmp_path: Path) -> None:
    with Grid(tmp_path / "grid") as grid:
        slow = grid.lab.hosts[0]
        to_slow = grid.spool.options(agents=["lab:pc01"])
        to_slow.submit(where, 1).result(60)
        grid.spool.options(agents=["lab:pc02"]).submit(where, 1).result(60)
        slow.freeze()
        began = time.monotonic()
        many = [to_slow.submit(size_of, bytes(8 * MEGABYTE)) for _ in range(4)]
        quick = grid.spool.options(agents=["lab:pc02"]).map(where, range(12))
        assert [value for value, _ in quick] == [n * n for n in range(12)]
        assert time.monotonic() - began < 7, "before the silence ends the slow one's connection"
        assert not any(each.done() for each in many)
        slow.thaw()
        with slowly(slow):
            assert [each.result(60) for each in many] == [8 * MEGABYTE] * 4
        assert [len(attempts(grid, each.id)) for each in many] == [1] * 4


def test_a_checkpointed_task_goes_from_host_to_host_and_home_when_none_is_left(
    tmp_path: Path,
) -> None:
    more = "[agents.local]\nslots = 1\n"
    with Grid(tmp_path / "grid", give_up="5s", more=more, env=in_haste(tmp_path)) as grid:
        grid.daemon.ctl("pause", "local")
        note = grid.shared / "note"
        task = grid.spool.options(checkpoint_every=0, retries=0).submit(
            wander, STEPS, str(note)
        )

        def places() -> list[str]:
            """Where it went, in order."""
            been = [machine for _, machine in steps_done(note)]
            return [each for n, each in enumerate(been) if n == 0 or been[n - 1] != each]

        def goes_on(after: int) -> None:
            """It has done forty steps more, at its so many-th place."""
            wait_until(lambda: len(places()) == after)
            done = len(steps_done(note))
            wait_until(lambda: len(steps_done(note)) >= done + 40)

        for number in (1, 2):
            goes_on(number)
            next(each for each in grid.lab.hosts if each.name == places()[-1]).stop()
        grid.daemon.ctl("resume", "local")
        assert task.result(timeout=60) == wander(STEPS)
        assert set(places()[:2]) == {"pc01", "pc02"}
        assert places()[2:] == [os.uname().nodename]
        steps = [step for step, _ in steps_done(note)]
        assert sorted(set(steps)) == list(range(STEPS))
        assert len(steps) <= STEPS + 30, "at most the steps at hand are done twice"
