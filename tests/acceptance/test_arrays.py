"""Arrays through a real daemon: scripts, files of lines, Python calls, the tool, kill -9, a rebuild."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from spoolmw import Spool
from spoolmw.client.outcome import ArrayResult, CommandResult
from spoolmw.errors import BadTaskFile, TaskFailed
from tests.support.daemon import ROOT, Daemon, header, running, trailer
from tests.support.waiting import wait_until

TWO_SLOTS = '[intake]\nsettle_s = 0.2\n[agents.local]\nkind = "local"\nslots = 2\n'
SMALL_WINDOW = TWO_SLOTS + "[arrays]\nwindow = 64\n"


@pytest.fixture
def spool(daemon: Daemon) -> Spool:
    return Spool(daemon.spool)


def stdout_of(result: Path) -> str:
    return result.with_suffix(".files").joinpath("stdout").read_text(encoding="utf-8")


def test_a_script_runs_once_for_each_index_with_its_own_result(daemon: Daemon) -> None:
    daemon.drop(
        "sweep.sh",
        '#!/bin/sh\n#SPOOLMW array = 0-20:5\n#SPOOLMW command = ["i{index}"]\n'
        '#SPOOLMW env.WORD = "{{{index}}}"\n#SPOOLMW outputs = ["out-{index}.csv"]\n'
        'echo "$SPOOLMW_ARRAY_INDEX $SPOOLMW_NAME $1 $WORD ${SPOOLMW_ARRAY_LINE-none}"\n'
        "echo x > out-$SPOOLMW_ARRAY_INDEX.csv\n",
    )
    assert header(daemon.result("sweep.sh"))["elements"] == {
        "total": 5, "done": 5, "failed": 0, "cancelled": 0, "skipped": 0,
    }  # fmt: skip
    for index in (0, 5, 10, 15, 20):
        result = daemon.result(f"sweep.sh.{index}")
        assert stdout_of(result) == f"{index} sweep.sh.{index} i{index} {{{index}}} none\n"
        assert result.with_suffix(".files").joinpath(f"out-{index}.csv").exists()
    assert len(daemon.results()) == 6


def test_the_example_of_an_array(daemon: Daemon) -> None:
    daemon.drop("sweep", (ROOT / "examples" / "drops" / "array.sh").read_text())
    assert header(daemon.result("sweep"))["elements"]["done"] == 50  # type: ignore[index]
    lines = [stdout_of(daemon.result(f"sweep.{seed}")).split() for seed in range(1, 51)]
    assert [int(seed) for seed, _ in lines] == list(range(1, 51))
    assert sum(float(share) for _, share in lines) / 50 == pytest.approx(10 / 216, abs=0.01)


def test_each_line_of_a_file_is_an_element(daemon: Daemon) -> None:
    daemon.drop(
        "dock.toml",
        'array_file = "molecules.txt"\n[run]\n'
        'command = ["sh", "-c", "echo \\"$1 $SPOOLMW_ARRAY_LINE $(ls)\\"", "sh", "{index}:{line}"]\n'
        '[files]\ninputs = ["data"]\n',
        inputs={"molecules.txt": "acid one\nbase $HOME {index}\nsalt\n", "data": "x"},
    )
    daemon.result("dock.toml")
    lines = [stdout_of(daemon.result(f"dock.toml.{n}")).strip() for n in (1, 2, 3)]
    assert lines == [
        "1:acid one acid one data",
        "2:base $HOME {index} base $HOME {index} data",
        "3:salt salt data",
    ]
    wait_until(lambda: not any((daemon.spool / "inputs").iterdir()))


def test_a_function_gets_its_element(spool: Spool, daemon: Daemon, tmp_path: Path) -> None:
    squares = spool.array(pow, range(3, 8, 2), 2)
    assert list(squares.values()) == [9, 25, 49]
    assert squares.result() == ArrayResult(total=3, done=3, failed=0, cancelled=0, skipped=0)
    lines = tmp_path / "words.txt"
    lines.write_text("alpha\nbe ta\n")
    upper = spool.array(str.upper, lines)
    assert list(upper.values()) == ["ALPHA", "BE TA"]
    assert upper.result().total == 2
    assert not daemon.results(), "what was read is taken away"


def test_a_command_runs_for_each_element(spool: Spool, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("shared")
    run = spool.command(
        ["sh", "-c", "cat data.txt; echo ' {index}'; test {index} != 2"],
        inputs=[data],
        array="1-3",
    )
    assert len(run) == 3  # type: ignore[arg-type]
    with pytest.raises(TaskFailed, match="elements"):
        run.result(timeout=60)
    first = run.element(1).result(timeout=60)  # type: ignore[attr-defined]
    assert isinstance(first, CommandResult)
    assert first.stdout == "shared 1\n"
    with pytest.raises(TaskFailed):
        run.element(2).result(timeout=60)  # type: ignore[attr-defined]
    with pytest.raises(IndexError, match="no element 4: it is 1-3"):
        run.element(4)  # type: ignore[attr-defined]


@pytest.mark.parametrize("array", ["3-1", [], [3, 1], range(0), "x", Path("/no/such/file")])
def test_an_array_that_cannot_be_is_told_at_once(spool: Spool, array: object) -> None:
    with pytest.raises(BadTaskFile):
        spool.command(["true"], array=array)  # type: ignore[arg-type]


def test_a_map_of_many_calls_is_a_few_files(spool: Spool, daemon: Daemon) -> None:
    def double(value: int) -> int:
        if value == 55:
            raise ValueError(value)
        return value * 2

    mapped = spool.map(double, range(200))
    assert len({task.dropped for task in mapped.tasks}) < 20
    values = iter(mapped)
    assert [next(values) for _ in range(55)] == [value * 2 for value in range(55)]
    with pytest.raises(ValueError, match="55"):
        next(values)
    assert mapped.tasks[199].result() == 398
    for task in mapped.tasks:
        task.exception()
    wait_until(lambda: not daemon.results(), last=daemon.results)


def test_a_map_can_be_cancelled_in_the_middle(spool: Spool, daemon: Daemon) -> None:
    mapped = spool.map(time.sleep, [0.05] * 300)
    wait_until(mapped.tasks[3].done)
    mapped.cancel()
    wait_until(lambda: all(task.done() for task in mapped.tasks))  # one may be on its way
    assert mapped.tasks[299].cancelled()
    wait_until(lambda: not any(t["state"] == "expanding" for t in daemon.ctl_json("ls")))


def test_the_tool_knows_arrays(daemon: Daemon) -> None:
    script = '#!/bin/sh\n#SPOOLMW array = 1-30\ntest "$SPOOLMW_ARRAY_INDEX" != 7\n'
    daemon.drop("sweep", script)
    assert daemon.ctl("wait", "sweep", check=False).returncode == 1
    [line] = daemon.ctl_json("ls")
    assert (line["name"], line["state"]) == ("sweep", "failed")
    assert line["elements"] == {
        "total": 30, "unmade": 0, "open": 0, "done": 29, "failed": 1, "cancelled": 0, "skipped": 0,
    }  # fmt: skip
    assert len(daemon.ctl_json("ls", "--elements")) == 31
    [failed] = daemon.ctl_json("ls", "--array", "sweep", "--state", "failed")
    assert (failed["name"], failed["index"], failed["array"]) == ("sweep.7", 7, line["id"])
    assert "sweep.7" in daemon.ctl("show", "sweep").stdout
    assert daemon.ctl_json("show", "sweep.7")[0]["id"] == failed["id"]
    daemon.ctl("retry", "--failed", "sweep")
    assert daemon.ctl("wait", "sweep", check=False).returncode == 1
    [again] = daemon.ctl_json("show", "sweep.7")
    assert (again["attempt"], again["state"]) == (2, "failed")
    assert daemon.ctl("fsck").returncode == 0


def test_one_element_and_the_whole_can_be_cancelled(daemon: Daemon) -> None:
    daemon.drop("sweep", "#!/bin/sh\n#SPOOLMW array = 1-9000\nsleep 0.05\n")
    wait_until(lambda: daemon.ctl("show", "sweep", check=False).returncode == 0)
    assert "unmade" in daemon.ctl("show", "sweep.8999").stdout
    assert "number 8999" in daemon.ctl("why", "sweep.8999").stdout
    daemon.ctl("cancel", "sweep.8999")
    assert trailer(daemon.result("sweep.8999"))["state"] == "cancelled"
    [view] = daemon.ctl_json("watch", "--once")
    assert view["arrays"][0]["name"] == "sweep"  # type: ignore[index]
    assert int(str(view["open"])) > 8000
    daemon.ctl("cancel", "sweep")
    assert daemon.ctl("wait", "sweep", check=False).returncode == 1
    told = header(daemon.result("sweep"))["elements"]
    assert told["skipped"] > 1000  # type: ignore[index]
    assert "never" not in daemon.ctl("show", "sweep.8000").stdout
    assert "cancelled" in daemon.ctl("show", "sweep.8000").stdout


def test_after_kills_in_the_middle_every_element_is_delivered_exactly_once(
    tmp_path: Path,
) -> None:
    with running(tmp_path, config=SMALL_WINDOW) as daemon:
        marks = tmp_path / "marks"
        marks.mkdir()
        daemon.drop(
            "sweep",
            f"#!/bin/sh\n#SPOOLMW array = 1-400\necho $$ >> {marks}/$SPOOLMW_ARRAY_INDEX\n",
        )
        ran = {}
        for enough in (20, 120, 250):
            wait_until(lambda n=enough: len(daemon.results()) >= n, last=daemon.log_text)
            for path in daemon.results():
                if path.name == "sweep.result":
                    continue  # all ended before this process came to look
                index = path.name.split(".")[1]
                ran.setdefault(path.name, (marks / index).read_text())
            daemon.kill_everything() if enough != 120 else daemon.kill()
            daemon.start()
        elements = header(daemon.result("sweep", timeout_s=120))["elements"]
        assert elements["done"] == 400  # type: ignore[index]
        names = sorted(path.name for path in daemon.results())
        expected = [f"sweep.{index}.result" for index in range(1, 401)]
        assert names == sorted([*expected, "sweep.result"])
        ids = [str(trailer(path)["id"]) for path in daemon.results()]
        assert len(set(ids)) == 401
        again = {name: (marks / name.split(".")[1]).read_text() for name in ran}
        assert again == ran, "what had been delivered never ran again"
        began = [len((marks / str(index)).read_text().split()) for index in range(1, 401)]
        assert max(began) <= 4, "each of three kills makes it run once more at most"


def test_a_rebuild_in_the_middle_runs_nothing_twice(tmp_path: Path) -> None:
    with running(tmp_path, config=SMALL_WINDOW) as daemon:
        marks = tmp_path / "marks"
        marks.mkdir()
        daemon.drop(
            "sweep",
            f"#!/bin/sh\n#SPOOLMW array = 1-200\necho $$ >> {marks}/$SPOOLMW_ARRAY_INDEX\n",
        )
        wait_until(lambda: len(daemon.results()) >= 60, last=daemon.log_text)
        daemon.stop()
        before = len(daemon.results())
        for path in (daemon.spool / "journal").iterdir():
            path.unlink()
        report = json.loads(daemon.ctl("rebuild", "--yes", "--json").stdout)
        assert report["ended"] == before
        daemon.start()
        assert header(daemon.result("sweep"))["elements"]["done"] == 200  # type: ignore[index]
        ran = [len((marks / str(index)).read_text().split()) for index in range(1, 201)]
        assert ran == [1] * 200, "a daemon that ends well lets what runs end"


def test_a_million_elements_weigh_no_more_than_the_window(tmp_path: Path) -> None:
    with running(tmp_path, config=TWO_SLOTS) as daemon:
        before = memory_of(daemon.pid)
        daemon.drop("sweep", "#!/bin/sh\n#SPOOLMW array = 1-1000000\nsleep 1\n")
        wait_until(lambda: daemon.ctl_json("ls"))
        assert daemon.ctl_json("ls")[0]["elements"]["total"] == 1_000_000  # type: ignore[index]
        opened = wait_until(lambda: many_open(daemon))
        assert opened <= 4096
        assert memory_of(daemon.pid) - before < 60_000_000
        daemon.ctl("cancel", "sweep")
        daemon.result("sweep")


def many_open(daemon: Daemon) -> int:
    """How many elements of the only array are open, once the window is nearly full."""
    number: int = daemon.ctl_json("ls")[0]["elements"]["open"]  # type: ignore[index,assignment]
    return number if number > 4000 else 0


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_an_array_as_a_whole_can_be_cancelled_by_its_future(spool: Spool) -> None:
    slow = spool.array(time.sleep, [0, 60, 61])
    assert slow.element(0).result(timeout=60) is None
    assert slow.cancel()
    with pytest.raises(CancelledError):
        slow.element(61).result(timeout=60)
