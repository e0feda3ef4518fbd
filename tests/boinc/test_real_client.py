"""The stock client, unmodified, on two desktops of two owners: from the account file to the result."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw import checkpoint
from spoolmw.client.future import SpoolTask
from spoolmw.errors import TaskFailed
from tests.support.boincclient import Desktop, Desktops, needs_boinc
from tests.support.boincsite import Site
from tests.support.waiting import wait_until

pytestmark = needs_boinc

STEPS = 60


class Lab:
    """A daemon and two desktops with two cores each, that are attached and ask for work."""

    def __init__(self, site: Site, desktops: Desktops) -> None:
        self.site = site
        self.desktops = desktops
        self.spool = site.spool.options(quorum=2, limit=4)

    @property
    def one(self) -> Desktop:
        return self.desktops.all[0]

    @property
    def other(self) -> Desktop:
        return self.desktops.all[1]

    def last(self) -> str:
        return f"{self.site.daemon.log_text()[-4000:]}\n{self.desktops.log_text()}"

    def result(self, task: SpoolTask, timeout_s: float = 90.0) -> Any:
        """The value of a task; what all say of it where there is none in time."""
        wait_until(task.done, timeout_s=timeout_s, last=self.last)
        return task.result()

    def slot_of(self, desktop: Desktop, task: SpoolTask) -> Path:
        """The slot folder in which a desktop runs a task, once it does."""

        def found() -> list[Path]:
            orders = desktop.data.glob("slots/*/order.json")
            return [each.parent for each in orders if task.id in each.read_text()]

        return wait_until(found, timeout_s=60, last=self.last)[0]

    def has_saved(self, slot: Path) -> None:
        """What runs in a slot has saved something since it was started there."""
        known = _saved_in(slot)
        wait_until(lambda: _workers_in(slot) and _saved_in(slot) - known, last=self.last)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Both clients begin to attach at once; what is submitted meanwhile waits for them."""
    home = tmp_path_factory.mktemp("lab")
    with Site(home) as site, Desktops(2, cores=3, hidden=[home]) as desktops:
        for each in desktops.all:
            site.attach(each).start()
        yield Lab(site, desktops)


def where() -> dict[str, Any]:
    """What a task sees of its host that both agree on."""
    print("hello")
    return {"uid": os.getuid() == 0, "files": sorted(os.listdir("."))}


def refuses() -> object:
    return object()


def fails() -> int:
    raise LookupError("no such thing in here")


def walk(steps: int, pause_s: float, gate: str = "") -> float:
    """A random walk that saves after each step, and waits for a file before the last one."""
    state = checkpoint.load({"step": 0, "sum": 0.1, "rng": random.Random(7).getstate()})
    rng = random.Random()
    rng.setstate(state["rng"])
    while state["step"] < steps:
        while gate and state["step"] == steps - 1 and not os.path.exists(gate):
            checkpoint.save(state)
            time.sleep(0.1)
        total = state["sum"] * 1.01 + rng.gauss(0, 1)
        state = {"step": state["step"] + 1, "sum": total, "rng": rng.getstate()}
        checkpoint.save(state)
        time.sleep(pause_s)
    return float(state["sum"])


def ticks_of(number: int, seconds: float) -> int:
    ticks(seconds)
    return number


def ticks(seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
    return "done"


def test_calls_commands_errors_and_what_no_safe_codec_carries(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("some input\n" * 1000)
    call = lab.spool.submit(where)
    command = lab.spool.command(
        ["/bin/sh", "-c", "wc -l <data >lines.txt; echo said"],
        inputs={"data": tmp_path / "data"},
        outputs=["*.txt"],
    )
    error, refused = lab.spool.submit(fails), lab.spool.submit(refuses)
    assert lab.result(call) == {"uid": False, "files": []}
    done = lab.result(command)
    assert (done.exit_code, done.stdout) == (0, "said\n")
    assert done.files["lines.txt"].read_text() == "1000\n"
    with pytest.raises((LookupError, TaskFailed), match="no such thing in here"):
        lab.result(error)
    with pytest.raises(TaskFailed, match="safe"):
        lab.result(refused)
    machines = {each["host"] for each in lab.site.attempts(call.id)}
    assert len(machines) == 2, machines


def test_a_client_that_was_shut_down_killed_or_cut_off_goes_on_from_what_was_saved(
    lab: Lab,
) -> None:
    gate = lab.desktops.folder / "gate"
    task = lab.spool.options(checkpoint_every=0).submit(walk, STEPS, 0.2, str(gate))
    slots = [lab.slot_of(each, task) for each in lab.desktops.all]
    lab.has_saved(slots[0])
    lab.one.kill_client()
    lab.one.start_client_again()  # what the first one ran has not noticed yet
    for end in (Desktop.quit, Desktop.kill):
        lab.has_saved(slots[1])
        end(lab.other)
        lab.other.start()
    gate.touch()
    until = time.monotonic() + 120
    while not task.done() and time.monotonic() < until:
        assert len(_workers_in(slots[0])) <= 1
        time.sleep(0.1)
    assert lab.result(task) == walk(STEPS, 0.0)
    assert len(lab.site.attempts(task.id)) == 2
    assert len(lab.site.show(task.id)["resumes"]) == 2


def test_a_suspended_task_stands_still_and_its_time_does_not_count(lab: Lab) -> None:
    task = lab.spool.options(time="12s").submit(ticks, 8.0)
    slot = lab.slot_of(lab.one, task)
    wait_until(lambda: _workers_in(slot), last=lab.last)
    lab.one.cmd("--set_run_mode", "never")
    wait_until(lambda: _stands_still(slot), last=lab.last)
    time.sleep(6)  # of the twelve
    assert _stands_still(slot)
    lab.one.cmd("--set_run_mode", "always")
    assert lab.result(task) == "done"


def test_what_is_cancelled_is_ended_on_the_desktops(lab: Lab) -> None:
    task = lab.spool.submit(ticks, 600.0)
    slots = [lab.slot_of(each, task) for each in lab.desktops.all]
    wait_until(lambda: all(_processes_in(each) for each in slots), last=lab.last)
    assert task.cancel()
    wait_until(lambda: not any(_processes_in(each) for each in slots), last=lab.last)
    wait_until(lambda: not any(each.tasks() for each in lab.desktops.all), last=lab.last)


def _processes_in(slot: Path) -> list[int]:
    """Processes that run in a slot, or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                there = (entry / "cwd").readlink()
            except OSError:
                continue
            if there.is_relative_to(slot):
                found.append(int(entry.name))
    return found


def _workers_in(slot: Path) -> list[int]:
    """The processes that run tasks in a slot."""
    found = []
    for pid in _processes_in(slot):
        with contextlib.suppress(OSError):
            if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _saved_in(slot: Path) -> set[str]:
    return {each.name for each in slot.glob("checkpoints/*/*/*")}


def _stands_still(slot: Path) -> bool:
    """Whether what runs in a slot is stopped."""
    states = set()
    for pid in _workers_in(slot):
        with contextlib.suppress(OSError):
            states.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
    return states == {"T"}


def test_nothing_is_lost_when_the_daemon_is_killed_while_desktops_work(lab: Lab) -> None:
    chance = random.Random(7)
    tasks = [lab.spool.submit(ticks_of, number, 2.0) for number in range(8)]
    for _ in range(5):
        time.sleep(chance.uniform(2.0, 6.0))  # the moment itself is what varies
        chance.choice((lab.site.kill_link, lab.site.kill_all))()
    assert [lab.result(each) for each in tasks] == list(range(8))
    for each in tasks:
        assert len(lab.site.attempts(each.id)) == 2
