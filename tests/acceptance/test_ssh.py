"""A real daemon with two hosts behind real sshds: work goes there, and outlives what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw import Spool
from tests.support.daemon import Daemon, end
from tests.support.grid import Grid, in_haste, where
from tests.support.lab import Host, needs_hosts
from tests.support.waiting import wait_until

pytestmark = needs_hosts


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with Grid(tmp_path / "grid") as made:
        yield made


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """For tests that leave the hosts as they are, and have names of their own."""
    with Grid(tmp_path_factory.mktemp("common") / "grid") as made:
        yield made


def test_work_is_shared_by_the_hosts_of_a_section(common: Grid) -> None:
    tasks = common.spool.options(agents=["lab"]).map(where, range(40))
    values = list(tasks)
    assert [value for value, _ in values] == [n * n for n in range(40)]
    assert {host for _, host in values} == {"pc01", "pc02"}
    rows = common.agents()
    assert set(rows) == {"lab:pc01", "lab:pc02"}
    assert {row["kind"] for row in rows.values()} == {"ssh"}


def test_what_runs_when_the_daemon_is_killed_is_taken_up_by_the_next(grid: Grid) -> None:
    runs, ends = grid.hold(1), grid.hold(2)
    host = runs.host()
    ends.host()
    grid.daemon.kill()
    ends.let_go()
    grid.daemon.start()
    assert ends.task.result(timeout=60) in ("pc01", "pc02")
    runs.let_go()
    assert runs.task.result(timeout=60) == host.name
    assert (len(runs.starts()), len(ends.starts())) == (1, 1)
    assert [each["attempt"] for each in runs.attempts()] == [1]


def test_what_had_ended_is_not_run_again_after_a_reboot(grid: Grid) -> None:
    held = grid.hold()
    host = held.host()
    grid.daemon.kill()
    held.let_go()
    kept = host.var_tmp.glob
    wait_until(
        lambda: any(held.task.id.encode() in p.read_bytes() for p in kept("*/*/outbox/*"))
    )
    host.reboot()
    grid.daemon.start()
    assert held.task.result(timeout=60) == host.name
    assert held.starts() == [host.name]


def test_what_ran_on_a_host_that_reboots_runs_again_at_no_cost(grid: Grid) -> None:
    held = grid.hold(retries=0)
    held.host().reboot()
    wait_until(lambda: len(held.starts()) == 2, last=grid.daemon.log_text)
    held.let_go()
    held.task.result(timeout=60)
    first, second = held.attempts()
    assert (first["outcome"], first["blame"]) == ("lost", "host")
    assert second["outcome"] == "success"


def test_a_connection_that_breaks_is_made_again_and_work_goes_on(grid: Grid) -> None:
    held = grid.hold()
    host = held.host()
    host.stop_sshd()
    grid.wait_for_hosts(1)
    host.start_sshd()
    grid.wait_for_hosts(2)
    held.let_go()
    assert held.task.result(timeout=60) == host.name
    assert held.starts() == [host.name]


def test_a_silent_host_is_noticed_within_ten_seconds(grid: Grid) -> None:
    held = grid.hold()
    host = held.host()
    host.cut()
    began = time.monotonic()
    wait_until(lambda: f"agent lost agent=lab:{host.name} " in grid.daemon.log_text())
    assert time.monotonic() - began < 11
    grid.wait_for_hosts(1)
    assert grid.agents()[f"lab:{host.name}"]["reason"]
    host.mend()
    grid.wait_for_hosts(2)
    held.let_go()
    assert held.task.result(timeout=60) == host.name
    assert held.starts() == [host.name]


def test_of_two_that_answer_after_a_partition_the_first_counts(tmp_path: Path) -> None:
    with Grid(tmp_path / "grid", give_up="1s", env=in_haste(tmp_path)) as grid:
        held = grid.hold()
        host = held.host()
        host.cut()
        wait_until(lambda: len(held.starts()) == 2, last=grid.daemon.log_text)
        other = held.host()
        assert other is not host
        held.let_go()
        assert held.task.result(timeout=60) == other.name
        host.mend()
        grid.wait_for_hosts(2)
        wait_until(
            lambda: not list(host.var_tmp.glob("*/*/active/*/*")), last=lambda: tree(host)
        )
        assert not list((grid.daemon.spool / "results").rglob("*.result")), "taken away once"
        assert not list((grid.daemon.spool / "stage").iterdir())


def sleeping(grid: Grid, seconds: int) -> list[Host]:
    """The hosts on which this sleep runs."""
    return [each for each in grid.lab.hosts if each.pids_of("sleep", str(seconds))]


def test_what_was_given_up_ends_with_its_task_when_its_host_is_back(tmp_path: Path) -> None:
    with Grid(tmp_path / "grid", give_up="1s", env=in_haste(tmp_path)) as grid:
        grid.daemon.drop("job.sh", "#!/bin/sh\nsleep 4323\n")
        [first] = wait_until(lambda: sleeping(grid, 4323), last=grid.daemon.log_text)
        first.cut()
        wait_until(lambda: len(sleeping(grid, 4323)) == 2, last=grid.daemon.log_text)
        grid.daemon.ctl("cancel", "job.sh")
        wait_until(lambda: sleeping(grid, 4323) == [first])
        first.mend()
        wait_until(lambda: not sleeping(grid, 4323), last=grid.daemon.log_text)


def test_what_a_killed_daemon_had_given_up_may_still_be_the_first_answer(
    tmp_path: Path,
) -> None:
    # With one slot a third attempt that is given to the first host does not begin there.
    with Grid(tmp_path / "grid", slots=1, give_up="1s", env=in_haste(tmp_path)) as grid:
        held = grid.hold()
        first = held.host()
        first.cut()
        wait_until(lambda: len(held.starts()) == 2, last=grid.daemon.log_text)
        second = held.host()
        grid.daemon.kill()
        second.cut()
        first.mend()
        grid.daemon.start()
        grid.wait_for_hosts(1)
        held.let_go()
        assert held.task.result(timeout=60) == first.name
        assert held.attempts()[0]["cause"] == "finished"
        second.mend()
        grid.wait_for_hosts(2)
        assert grid.spool.options(agents=[f"lab:{second.name}"]).submit(where, 3).result(60)
        assert not list((grid.daemon.spool / "stage").iterdir())


@pytest.mark.parametrize("who", ["runner", "keeper"])
def test_a_program_of_ours_that_is_killed_on_the_host_costs_no_retry(
    grid: Grid, who: str
) -> None:
    held = grid.hold(retries=0)
    [pid] = held.host().pids_of(who)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(held.starts()) == 2, last=grid.daemon.log_text)
    held.let_go()
    held.task.result(timeout=60)
    first, *between, _ = held.attempts()
    assert (first["outcome"], first["blame"]) == ("lost", "host")
    assert {each["cause"] for each in between} <= {"launch"}, "sent before the death was known"


def test_a_cancel_ends_the_whole_tree_on_the_host(common: Grid) -> None:
    common.daemon.drop("job.sh", "#!/bin/sh\nsetsid sleep 4321 & sleep 4321\n")
    sleeps = wait_until(
        lambda: [p for h in common.lab.hosts for p in h.pids_of("sleep", "4321")]
    )
    assert sleeps
    common.daemon.ctl("cancel", "job.sh")
    wait_until(lambda: not [p for h in common.lab.hosts for p in h.pids_of("sleep", "4321")])


def test_what_is_cancelled_while_its_host_is_away_ends_when_it_is_back(grid: Grid) -> None:
    grid.daemon.drop("job.sh", "#!/bin/sh\nsleep 4322\n")
    [host] = wait_until(lambda: sleeping(grid, 4322), last=grid.daemon.log_text)
    host.stop_sshd()
    grid.wait_for_hosts(1)
    grid.daemon.ctl("cancel", "job.sh")
    assert sleeping(grid, 4322)
    host.start_sshd()
    wait_until(lambda: not sleeping(grid, 4322))


def test_files_go_there_and_come_back(common: Grid) -> None:
    script = '#!/bin/sh\n#SPOOLMW files.inputs = ["data"]\ncat data; wc -c data > count.txt\n'
    for number in range(3):
        common.daemon.drop(f"{number}.sh", script, inputs={"data": "x" * 100_000})
    for number in range(3):
        folder = common.daemon.result(f"{number}.sh").with_suffix(".files")
        assert (folder / "stdout").read_text() == "x" * 100_000
        assert (folder / "count.txt").read_text() == "100000 data\n"


def test_an_unknown_host_key_is_refused_with_what_accepts_it(grid: Grid) -> None:
    host = grid.lab.hosts[0]
    host.new_key()
    host.stop_sshd()
    host.start_sshd()
    row = wait_until(
        lambda: "has changed" in str(grid.agents()["lab:pc01"]["reason"]) and grid.agents()
    )["lab:pc01"]
    reason = str(row["reason"])
    assert host.fingerprint in reason
    assert f"ssh-keygen -R '{host.address}'" in reason
    grid.lab.learn()
    grid.wait_for_hosts(2)


def test_a_task_for_a_python_that_no_host_has_says_so(common: Grid) -> None:
    task = common.spool.options(python="3.8", interpreter="/nowhere/python").submit(where, 1)
    said = wait_until(lambda: common.daemon.ctl("why", task.id, check=False).stdout)
    assert "Python 3.8" in said
    assert "lab:pc01 has 2 slots, Python" in said
    common.daemon.ctl("cancel", task.id)


def test_every_host_can_be_tried_out_beside_the_daemon(grid: Grid) -> None:
    held = grid.hold(agents=["lab:pc01"])
    host = held.host()
    grid.lab.hosts[1].stop_sshd()
    rows = {str(row["agent"]): row for row in tried(grid)}
    good, bad = rows["lab:pc01"], rows["lab:pc02"]
    assert good["ok"]
    assert good["calls"]
    assert str(good["python"]).startswith("3.")
    assert not bad["ok"]
    assert bad["stage"] == "address"
    assert "ssh -p 22" in str(bad["fix"])
    table = grid.daemon.ctl("agents", "test", "lab", check=False)
    assert table.returncode == 1
    assert "failed: address" in table.stdout
    held.let_go()
    assert held.task.result(timeout=60) == host.name, "what ran there was not disturbed"


def test_an_input_travels_once_to_a_host_and_goes_when_no_task_needs_it(common: Grid) -> None:
    script = (
        '#!/bin/sh\n#SPOOLMW files.inputs = ["data"]\n#SPOOLMW place.agents = ["lab:pc01"]\n'
    )
    host = common.lab.hosts[0]
    data = "y" * 3_000_000
    for number in range(4):
        common.daemon.drop(f"once{number}.sh", f"{script}wc -c <data\n", inputs={"data": data})
    for number in range(4):
        folder = common.daemon.result(f"once{number}.sh").with_suffix(".files")
        assert (folder / "stdout").read_text().strip() == "3000000"
    [kept] = (p for p in host.var_tmp.glob("*/*/inputs/*") if p.stat().st_size == len(data))
    changed = kept.stat().st_ctime_ns
    common.daemon.drop("more.sh", f"{script}true\n", inputs={"data": data})
    common.daemon.result("more.sh")
    assert kept.stat().st_ctime_ns == changed, "it was there"


def test_what_was_removed_on_the_host_is_sent_again(common: Grid) -> None:
    script = (
        '#!/bin/sh\n#SPOOLMW files.inputs = ["data"]\n#SPOOLMW place.agents = ["lab:pc01"]\n'
    )
    common.daemon.drop("one.sh", f"{script}cat data\n", inputs={"data": "x"})
    common.daemon.result("one.sh")
    for path in common.lab.hosts[0].var_tmp.glob("*/*/inputs/*"):
        path.unlink()
    common.daemon.drop("two.sh", f"{script}cat data\n", inputs={"data": "x"})
    folder = common.daemon.result("two.sh").with_suffix(".files")
    assert (folder / "stdout").read_text() == "x"


def test_a_frozen_host_goes_on_when_it_is_thawed(tmp_path: Path) -> None:
    with Grid(tmp_path / "grid", env=in_haste(tmp_path)) as grid:
        held = grid.hold()
        host = held.host()
        host.freeze()
        grid.wait_for_hosts(1)
        held.let_go()
        host.thaw()
        assert held.task.result(timeout=60) == host.name
        assert held.starts() == [host.name]


def test_two_daemons_use_one_host_without_meeting(common: Grid, tmp_path: Path) -> None:
    other = Daemon(tmp_path / "other")
    (tmp_path / "other").mkdir()
    config = (common.daemon.home / "spoolmw.toml").read_text()
    (tmp_path / "other" / "spoolmw.toml").write_text(config)
    try:
        other.start()
        mine = common.spool.options(agents=["lab:pc01"]).map(where, range(10))
        theirs = Spool(other.spool).options(agents=["lab:pc01"]).map(where, range(10))
        assert [value for value, _ in mine] == [value for value, _ in theirs]
    finally:
        end(other)
    assert len(list(common.lab.hosts[0].var_tmp.glob("*/*/keeper.sock"))) == 2


def tried(grid: Grid) -> list[dict[str, object]]:
    done = grid.daemon.ctl("agents", "test", "--json", check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def tree(host: Host) -> str:
    return "\n".join(map(str, sorted(host.var_tmp.rglob("*"))))
