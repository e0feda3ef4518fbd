"""Pilots under a whole daemon: real processes that call it over TLS."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from tests.support.pilots import (
    Fleet,
    Proxy,
    begun,
    go_on_elsewhere,
    hold,
    note,
    outlive_the_daemon,
)


def test_pilots_come_for_work_do_it_and_go(tmp_path: Path) -> None:
    """200 tasks, each run once, by as many pilots as there may be; without work they end."""
    said = tmp_path / "said"
    with Fleet(tmp_path / "home", most=3, more='idle = "1s"\n') as fleet:
        assert fleet.pilots() == []
        tasks = [fleet.spool.submit(note, number, str(said)) for number in range(200)]
        assert [each.result(60) for each in tasks] == [n * n for n in range(200)]
        assert sorted(begun(said)) == list(range(200))
        assert len(fleet.pilots()) <= 3
        fleet.wait_until(lambda: not fleet.pilots())
        fleet.wait_until(lambda: not list(fleet.folder.glob("seat-*")))
        assert not list((fleet.folder / "orders").iterdir())
        assert fleet.spool.submit(note, 7, str(said)).result(60) == 49


def test_the_least_are_there_without_work(tmp_path: Path) -> None:
    more = 'min = 2\nidle = "1s"\n'
    with Fleet(tmp_path / "home", most=3, more=more) as fleet:
        fleet.wait_until(lambda: len(fleet.up()) == 2)
        before = fleet.pilots()
        time.sleep(3)
        assert fleet.pilots() == before


def test_work_goes_on_while_the_daemon_is_dead_and_nothing_runs_twice(tmp_path: Path) -> None:
    with Fleet(tmp_path / "home", more='idle = "60s"\n') as fleet:
        outlive_the_daemon(fleet, tmp_path, fleet.pilots)


def test_a_daemon_that_dies_again_and_again_submits_no_pilot_twice(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with Fleet(tmp_path / "home", most=3, more='idle = "60s"\n') as fleet:
        tasks = [fleet.spool.submit(note, n, str(said), 0.2) for n in range(60)]
        dice = random.Random(1)
        for _ in range(4):
            time.sleep(dice.uniform(0.1, 1.5))
            fleet.daemon.kill()
            assert len(fleet.pilots()) <= 3
            fleet.daemon.start()
        assert [each.result(45) for each in tasks] == [n * n for n in range(60)]
        assert sorted(begun(said)) == list(range(60))
        assert len(fleet.pilots()) <= 3


def test_a_pilot_that_is_killed_costs_its_tasks_no_retry(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    with Fleet(tmp_path / "home", most=1) as fleet:
        spool = fleet.spool.options(retries=0)
        tasks = [spool.submit(hold, n, str(flag), str(said)) for n in range(2)]
        fleet.wait_until(lambda: len(begun(said)) == 2)
        [pilot] = fleet.pilots()
        os.kill(pilot, signal.SIGKILL)
        fleet.wait_until(lambda: len(begun(said)) == 4)
        flag.touch()
        assert [each.result(60) for each in tasks] == [0, 1]
        for each in tasks:
            lost, last = fleet.attempts(each.id)
            assert (lost["outcome"], lost["blame"]) == ("lost", "host")
            assert last["outcome"] == "success"
        assert fleet.pilots() != [pilot]


def test_a_link_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    with Fleet(tmp_path / "home", most=2, slots=1, more='idle = "60s"\n') as fleet:
        held = [fleet.spool.submit(hold, n, str(flag), str(said)) for n in range(2)]
        fleet.wait_until(lambda: len(begun(said)) == 2)
        pilots = fleet.pilots()
        os.kill(fleet.link(), signal.SIGKILL)
        flag.touch()
        assert [each.result(60) for each in held] == [0, 1]
        assert fleet.spool.submit(note, 2, str(said)).result(60) == 4
        assert sorted(begun(said)) == [0, 1, 2]
        assert fleet.pilots() == pilots


def test_a_pilot_whose_seat_forgot_it_is_ended_and_its_work_runs_again(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    with Fleet(tmp_path / "home", most=1, slots=1) as fleet:
        held = fleet.spool.options(retries=0).submit(hold, 1, str(flag), str(said))
        fleet.wait_until(lambda: begun(said) == [1])
        [pilot] = fleet.pilots()
        fleet.daemon.kill()
        (fleet.folder / "seat-1.json").unlink()
        fleet.daemon.start()
        fleet.wait_until(lambda: begun(said) == [1, 1])
        flag.touch()
        assert held.result(60) == 1
        fleet.wait_until(lambda: pilot not in fleet.pilots())


def test_a_pilot_that_is_frozen_is_given_up_and_another_comes(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    more = 'give_up = "2s"\nvacate_grace = "1s"\n'
    with Fleet(tmp_path / "home", most=2, slots=1, more=more) as fleet:
        held = fleet.spool.options(retries=0).submit(hold, 1, str(flag), str(said))
        fleet.wait_until(lambda: begun(said) == [1])
        [pilot] = fleet.pilots()
        os.kill(pilot, signal.SIGSTOP)
        fleet.wait_until(lambda: begun(said) == [1, 1])
        flag.touch()
        assert held.result(60) == 1
        fleet.wait_until(lambda: pilot not in fleet.pilots())


def test_a_line_that_is_cut_is_mended_and_work_goes_on_meanwhile(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    with Proxy() as proxy:
        more = f'advertise = "127.0.0.1:{proxy.port}"\nidle = "60s"\n'
        with Fleet(tmp_path / "home", most=1, more=more) as fleet:
            proxy.target = fleet.port
            held = fleet.spool.submit(hold, 1, str(flag), str(said))
            fleet.wait_until(lambda: begun(said) == [1])
            pilots = fleet.pilots()
            proxy.cut()
            fleet.wait_until(lambda: not fleet.up())
            flag.touch()
            proxy.mend()
            assert held.result(60) == 1
            assert fleet.spool.submit(note, 2, str(said)).result(60) == 4
            assert begun(said) == [1, 2]
            assert fleet.pilots() == pilots


def test_whose_time_is_over_finishes_and_another_comes(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    more = 'lifetime = "10s"\nidle = "60s"\n'
    with Fleet(tmp_path / "home", most=2, slots=1, more=more) as fleet:
        held = fleet.spool.submit(hold, 1, str(flag), str(said))
        fleet.wait_until(lambda: begun(said) == [1])
        [first] = fleet.pilots()
        fleet.wait_until(lambda: not fleet.up())
        assert "its time is over" in str(fleet.agents()["pool:1"])
        assert fleet.spool.submit(note, 2, str(said)).result(60) == 4
        assert first in fleet.pilots()
        assert not held.done()
        flag.touch()
        assert held.result(60) == 1
        fleet.wait_until(lambda: first not in fleet.pilots())
        assert begun(said) == [1, 2]


def test_what_is_vacated_goes_on_from_its_checkpoint_in_another_pilot(tmp_path: Path) -> None:
    with Fleet(tmp_path / "home", most=2, slots=1) as fleet:
        evicted: list[int] = []

        def evict() -> None:
            [pilot] = fleet.pilots()
            os.kill(pilot, signal.SIGTERM)
            evicted.append(pilot)

        go_on_elsewhere(fleet, tmp_path, evict)
        fleet.wait_until(lambda: not set(evicted) & set(fleet.pilots()))


def test_replicas_run_in_pilots_on_different_machines(tmp_path: Path) -> None:
    """Each seat stands for a machine of its own: two replicas need two of them."""
    more = 'machine = "pc"\n[agents.local]\nslots = 1\n'  # it compares the results
    with Fleet(tmp_path / "home", most=3, more=more) as fleet:
        pool = fleet.spool.options(quorum=2, agents=["pool"])
        task = pool.submit(note, 3, str(tmp_path / "said"))
        assert task.result(60) == 9
        assert begun(tmp_path / "said") == [3, 3]
        [vote] = fleet.daemon.ctl_json("votes", task.id)
        replicas = vote["votes"]["replicas"]  # type: ignore[index]
        machines = {each["machine"] for each in replicas}
        assert len(machines) == 2, vote


def test_what_no_pilot_could_run_brings_none(tmp_path: Path) -> None:
    with Fleet(tmp_path / "home", most=3, slots=2) as fleet:
        fleet.spool.options(cpus=3).submit(note, 1, str(tmp_path / "said"))
        fleet.spool.options(agents=["elsewhere"]).submit(note, 1, str(tmp_path / "said"))
        fleet.daemon.ctl("pause", "pool")
        fleet.spool.submit(note, 2, str(tmp_path / "said"))
        time.sleep(3)
        assert fleet.pilots() == []
        fleet.daemon.ctl("resume", "pool")
        fleet.wait_until(lambda: begun(tmp_path / "said") == [2])
        assert len(fleet.pilots()) == 1


def test_pilots_that_fail_pause_the_section_with_the_reason(tmp_path: Path) -> None:
    more = 'advertise = "127.0.0.1:1"\nidle = "1s"\n'
    with Fleet(tmp_path / "home", most=1, more=more) as fleet:
        fleet.spool.submit(note, 1, str(tmp_path / "said"))
        fleet.wait_until(lambda: "no daemon was reached at 127.0.0.1:1" in fleet.told(), 150)
