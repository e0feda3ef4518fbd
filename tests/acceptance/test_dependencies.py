"""Tasks that run after others, through a real daemon: helper, scripts, the command line, kill -9."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.client import Spool
from spoolmw.errors import TaskFailed, TaskRejected
from tests.support.daemon import Daemon, header, running, take_away, trailer
from tests.support.waiting import wait_until

CONFIG = '[agents.local]\nkind = "local"\nslots = 2\n[intake]\nsettle_s = 0.1\n'


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path, config=CONFIG) as started:
        yield started


@pytest.fixture
def spool(daemon: Daemon) -> Spool:
    return Spool(daemon.spool)


def add(*numbers: int) -> int:
    return sum(numbers)


def total(values: list[int]) -> int:
    return sum(values)


def wait_for(path: str, value: int = 0) -> int:
    """Return when the file at `path` is there."""
    until = time.monotonic() + 60
    while not Path(path).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return value


def fail(text: str) -> None:
    raise ValueError(text)


def states(daemon: Daemon) -> dict[str, int]:
    status: dict[str, Any] = daemon.ctl_json("status")[0]
    return dict(status["tasks"])


# The helper


def test_a_graph_of_calls_passes_values_on(spool: Spool) -> None:
    a, b = spool.submit(add, 1, 2), spool.submit(add, 10)
    c = spool.submit(add, a, b)
    d = spool.submit(total, [a, b, c])
    assert d.result(60) == 26
    assert [task.result(60) for task in (a, b, c)] == [3, 10, 13]


def test_a_value_is_passed_on_though_its_consumer_took_the_result(
    spool: Spool, daemon: Daemon, tmp_path: Path
) -> None:
    """The caller reads and removes the first result long before the second task can run."""
    gate = tmp_path / "gate"
    one = spool.submit(bytes, 5_000_000)
    slow = spool.submit(wait_for, str(gate))
    two = spool.submit(lambda data, _: len(data), one, slow)
    three = spool.submit(len, one)
    assert three.result(60) == 5_000_000
    assert len(one.result(60)) == 5_000_000
    assert not two.done()
    gate.touch()
    assert two.result(60) == 5_000_000
    wait_until(lambda: not list((daemon.spool / "values").iterdir()))
    wait_until(lambda: not daemon.results())


def test_a_value_that_only_pickle_keeps_is_passed_on(spool: Spool) -> None:
    one = spool.submit(lambda: {1, Path("/tmp")})
    assert spool.submit(len, one).result(60) == 2


def test_a_task_that_another_program_submitted_can_be_taken(
    spool: Spool, daemon: Daemon
) -> None:
    spool.options(key="one", keep=True).submit(add, 41).result(60)
    attached = Spool(daemon.spool).attach(key="one")
    assert Spool(daemon.spool).submit(add, attached, 1).result(60) == 42


def test_a_failure_is_told_by_all_behind_it_with_the_culprit(spool: Spool) -> None:
    one = spool.submit(fail, "no such file")
    two = spool.submit(add, one)
    three = spool.submit(add, two)
    assert isinstance(one.exception(60), ValueError)
    for task in (two, three):
        with pytest.raises(TaskFailed) as caught:
            task.result(60)
        assert f"fail ({one.id}) failed: ValueError: no such file" in caught.value.why


def test_the_successor_of_a_refused_task_fails_too(spool: Spool, daemon: Daemon) -> None:
    one = spool.options(agents=["nowhere"]).submit(add, 1)
    two = spool.submit(add, one)
    with pytest.raises(TaskRejected):
        one.result(60)
    with pytest.raises(TaskFailed, match="refused"):
        two.result(60)


def test_a_command_runs_after_calls_and_a_call_after_a_command(
    spool: Spool, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    one = spool.submit(add, 1)
    program = spool.options(after=one).command(["sh", "-c", f"echo ran > {log}"])
    two = spool.options(after=[program]).submit(log.read_text)
    assert two.result(60) == "ran\n"


# Scripts


def script(*after: str, run: str = "true", **keys: str) -> str:
    lines = [f"#SPOOLMW after = {json.dumps(after)}"] if after else []
    lines += [f'#SPOOLMW {key} = "{value}"' for key, value in keys.items()]
    return "\n".join(["#!/bin/sh", *lines, run, ""])


def test_scripts_run_after_each_other_in_whatever_order_they_are_dropped(
    daemon: Daemon, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    for name, *after in (("three", "two"), ("two", "one"), ("one",)):
        daemon.drop(name, script(*after, run=f"echo {name} >> {log}"))
        wait_until(lambda n=name: daemon.ctl("show", n, check=False).returncode == 0)
    daemon.result("three")
    assert log.read_text().split() == ["one", "two", "three"]


def test_a_circle_is_refused_with_its_drawing_and_the_others_wait_on(daemon: Daemon) -> None:
    daemon.drop("a", script("c"))
    daemon.drop("b", script("a"))
    wait_until(lambda: states(daemon)["waiting"] == 2)
    daemon.drop("c", script("b"))
    assert "c -> b -> a -> c" in daemon.rejected("c")
    assert states(daemon)["waiting"] == 2
    daemon.drop("c", script())
    daemon.result("b")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('after = "one"', 'after = ["fold-16"]'),
        ("after = [7]", "a text was expected"),
        ('after = [""]', "the text is empty"),
        ('afetr = ["one"]', 'did you mean "after"'),
        ('after_failed = "wait"', "possible are fail, hold"),
        ('takes = ["one"]', "the id of a task was expected"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(daemon: Daemon, line: str, says: str) -> None:
    daemon.drop("bad", f"#!/bin/sh\n#SPOOLMW {line}\ntrue\n")
    reason = daemon.rejected("bad")
    assert "line 2" in reason
    assert says in reason


# The command line


def test_why_tree_show_and_ls_tell_who_waits_for_whom(daemon: Daemon, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    daemon.drop("two", script("one", "missing"))
    wait_until(lambda: states(daemon)["waiting"] == 1)
    said = daemon.ctl("why", "two").stdout
    assert said == "waits for one, which nobody has dropped yet, and for 1 more\n"
    daemon.drop("one", script(run=f"until [ -e {gate} ]; do sleep 0.05; done"))
    wait_until(lambda: "which is running" in daemon.ctl("why", "two").stdout)
    tree = daemon.ctl("tree", "two").stdout
    assert "runs after" in tree
    assert "one running" in tree
    assert "missing not dropped yet" in tree
    rows = daemon.ctl_json("tree", "one")
    assert [(row["name"], row["relation"], row["depth"]) for row in rows] == [
        ("one", "self", 0),
        ("two", "successor", 1),
    ]
    assert "one (" in daemon.ctl("show", "two").stdout
    listed = daemon.ctl("ls", "--state", "waiting").stdout
    assert "after one, missing" in listed
    gate.touch()
    daemon.result("one")
    daemon.drop("missing", script())
    daemon.result("two")


def test_a_failed_chain_is_retried_from_its_culprit(daemon: Daemon, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    daemon.drop("one", script(run=f"test -e {flag}"))
    daemon.drop("two", script("one"))
    daemon.drop("held", script("one", after_failed="hold"))
    wait_until(lambda: states(daemon)["failed"] == 2 and states(daemon)["held"] == 1)
    refused = daemon.ctl("retry", "two", check=False)
    assert refused.returncode == 1
    assert "would have to be retried first" in refused.stderr
    take_away(daemon.result("two"))
    take_away(daemon.result("one"))
    flag.touch()
    daemon.ctl("retry", "--with-successors", "one")
    for name in ("one", "two", "held"):
        assert trailer(daemon.result(name))["state"] == "done"


# What survives


def test_a_graph_ends_right_though_all_is_killed_in_the_middle_again_and_again(
    daemon: Daemon, spool: Spool
) -> None:
    """A wide and deep graph, whose caller takes each result away at once."""
    rows = [[spool.submit(add, number) for number in range(12)]]
    for _ in range(6):
        above = rows[-1]
        rows.append([spool.submit(add, above[n], above[n - 1]) for n in range(12)])
    last = spool.submit(total, rows[-1])
    for _ in range(4):
        done = sum(task.done() for row in rows for task in row)
        wait_until(lambda d=done: sum(t.done() for r in rows for t in r) > d or last.done())
        daemon.kill_everything()
        daemon.start()
    values = list(range(12))
    for row in rows[1:]:
        values = [values[n] + values[n - 1] for n in range(12)]
        assert [task.result(60) for task in row] == values
    assert last.result(60) == sum(values)
    wait_until(lambda: not list((daemon.spool / "values").iterdir()))


def test_a_thousand_wait_for_one_and_run_after_a_restart(
    daemon: Daemon, spool: Spool, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    one = spool.submit(wait_for, str(gate), 1)
    tasks = [spool.submit(add, one, number) for number in range(1000)]
    wait_until(lambda: states(daemon)["waiting"] == 1000)
    daemon.kill()
    gate.touch()
    daemon.start()
    assert [task.result(120) for task in tasks] == list(range(1, 1001))


def test_a_lost_journal_is_rebuilt_with_its_waits(daemon: Daemon, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    daemon.drop("done", script())
    daemon.result("done")
    daemon.drop("one", script(run=f"until [ -e {gate} ]; do sleep 0.05; done"))
    daemon.drop("two", script("one", "done"))
    wait_until(lambda: states(daemon)["waiting"] == 1)
    daemon.kill_everything()
    for path in (daemon.spool / "journal").glob("spoolmw.db*"):
        path.unlink()
    daemon.start("--rebuild", wait=False)
    assert daemon.wait_exit() == 0
    daemon.start()
    assert "waits for one" in daemon.ctl("why", "two").stdout
    gate.touch()
    assert header(daemon.result("two"))["outcome"] == "success"
