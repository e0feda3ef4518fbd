"""Redundancy end to end: three runners of this machine stand for three hosts, and not all are honest."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from spoolmw import Spool, TaskFailed
from spoolmw.client.submitter import Submitter
from tests.support.daemon import Daemon, end, family, running, trailer
from tests.support.waiting import wait_until

HONEST, DYING, LYING = "pc01", "pc02", "pc03"
HOSTS = (HONEST, DYING, LYING)


def config(*hosts: str) -> str:
    """One agent with one slot for each host."""
    return "".join(f'[agents.at-{name}]\nslots = 1\nmachine = "{name}"\n' for name in hosts)


def measure(folder: str, patient: str = "") -> int:
    """What every honest host returns; at `patient` it waits until it is let go."""
    here = os.environ["SPOOLMW_MACHINE"]
    Path(folder, f"began-{here}-{time.monotonic_ns()}").touch()
    until = time.monotonic() + 60
    while patient in (here, "all") and not Path(folder, "go").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    return 43 if here == LYING else 42


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path, config=config(*HOSTS)) as made:
        yield made


def asking(daemon: Daemon, **wishes: Any) -> Submitter:
    return Spool(daemon.spool).options(**{"name": "sum", "quorum": 2, **wishes})


def a_script(folder: Path, *wishes: str, patient: str = "") -> str:
    """`measure` as a script."""
    lines = [
        "#!/bin/sh",
        *(f"#SPOOLMW redundancy.{wish}" for wish in wishes),
        f"touch {folder}/began-$SPOOLMW_MACHINE-$SPOOLMW_ATTEMPT",
        f"while [ $SPOOLMW_MACHINE = '{patient}' ] && [ ! -e {folder}/go ]; do sleep 0.02; done",
        f"[ $SPOOLMW_MACHINE = {LYING} ] && echo 43 || echo 42",
    ]
    return "\n".join(lines) + "\n"


def began(folder: Path, host: str) -> int:
    """How many attempts began at a host."""
    return len(list(folder.glob(f"began-{host}-*")))


def runner_of(daemon: Daemon, host: str) -> int:
    """The process of the runner that stands for `host`."""
    mark = f"SPOOLMW_MACHINE={host}\0".encode()
    found = []
    for pid in family(daemon.pid):
        with contextlib.suppress(OSError):  # it ended meanwhile
            is_runner = b"\0runner\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
            if is_runner and mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    [pid] = found
    return pid


def replicas(daemon: Daemon, name: str = "sum") -> list[Mapping[str, Any]]:
    """The votes on a task, as spoolmw-ctl tells them."""
    asked = daemon.ctl("votes", name, "--json", check=False)
    if asked.returncode:
        return []  # it is not accepted yet
    votes = json.loads(asked.stdout)["votes"]
    assert isinstance(votes, dict)
    return list(votes["replicas"])


def states(daemon: Daemon) -> list[str]:
    return [str(each["state"]) for each in replicas(daemon)]


def by_host(daemon: Daemon, key: str) -> dict[str, Any]:
    """What the votes say of each host's replica."""
    return {each["host"]: each[key] for each in replicas(daemon)}


def why(daemon: Daemon, name: str = "sum") -> str:
    asked = daemon.ctl("why", name, "--json", check=False)
    return "" if asked.returncode else str(json.loads(asked.stdout)["reason"])


def test_a_liar_and_a_runner_that_dies_cost_nothing_but_time(
    daemon: Daemon, tmp_path: Path
) -> None:
    task = asking(daemon, target=3).submit(measure, str(tmp_path), DYING)
    wait_until(lambda: began(tmp_path, DYING), last=daemon.log_text)
    os.kill(runner_of(daemon, DYING), signal.SIGKILL)
    wait_until(lambda: began(tmp_path, DYING) == 2, last=daemon.log_text)
    # The liar and the honest host wait for nothing: else two could agree before the third tells.
    wait_until(lambda: states(daemon).count("reported") == 2, last=daemon.log_text)
    (tmp_path / "go").touch()
    assert task.result(timeout=60) == 42
    assert by_host(daemon, "verdict") == {HONEST: "valid", DYING: "valid", LYING: "invalid"}
    classes = by_host(daemon, "class")
    assert classes[HONEST] == classes[DYING] != classes[LYING]


def test_what_is_stopped_while_its_worker_starts_never_begins_and_leaves_nothing(
    daemon: Daemon, tmp_path: Path
) -> None:
    starts, slow = tmp_path / "starts", tmp_path / "python"
    slow.write_text(
        f"#!/bin/sh\n[ $SPOOLMW_MACHINE = {LYING} ] && touch {starts} && sleep 60\n"
        f'exec {sys.executable} "$@"\n'
    )
    slow.chmod(0o755)
    wish = asking(daemon, target=3, interpreter=str(slow))
    task = wish.submit(measure, str(tmp_path), HONEST)
    wait_until(starts.exists, last=daemon.log_text)
    (tmp_path / "go").touch()
    assert task.result(timeout=60) == 42
    assert asking(daemon, name="next", quorum=3).submit(pow, 2, 5).result(timeout=60) == 32
    wait_until(lambda: not os.listdir(daemon.spool / "stage"), timeout_s=10)
    assert began(tmp_path, LYING) == 0


def test_a_script_is_judged_by_its_files(daemon: Daemon, tmp_path: Path) -> None:
    daemon.drop("sum", a_script(tmp_path, "quorum = 2", "target = 3"))
    result = daemon.result("sum")
    assert (result.with_suffix(".files") / "stdout").read_text() == "42\n"
    told = trailer(result)["replicas"]
    assert isinstance(told, list)
    verdicts = {each["host"]: each["verdict"] for each in told}
    assert (verdicts[HONEST], verdicts[DYING]) == ("valid", "valid")
    assert verdicts[LYING] != "valid"


def test_a_task_that_needs_a_host_more_than_there_are_says_which_it_tried(
    daemon: Daemon, tmp_path: Path
) -> None:
    asking(daemon, quorum=4).submit(measure, str(tmp_path))
    wait_until(lambda: "fourth host" in why(daemon), last=lambda: why(daemon))
    assert why(daemon).startswith("needs a fourth host: tried pc01, pc02, pc03")


def test_two_agents_at_one_machine_have_one_vote(tmp_path: Path) -> None:
    settings = config(HONEST) + config(HONEST).replace("at-", "also-at-")
    with running(tmp_path, config=settings) as daemon:
        asking(daemon).submit(measure, str(tmp_path))
        wait_until(lambda: "second host" in why(daemon), last=lambda: why(daemon))
        wait_until(lambda: began(tmp_path, HONEST))
        assert "second host" in why(daemon)
        assert began(tmp_path, HONEST) == 1


def test_a_daemon_that_is_killed_in_the_middle_of_a_vote_goes_on_with_it(
    daemon: Daemon, tmp_path: Path
) -> None:
    task = asking(daemon, target=3).submit(measure, str(tmp_path), DYING)
    wait_until(
        lambda: states(daemon).count("reported") == 2,
        last=daemon.log_text,
    )
    daemon.kill_everything()
    end(daemon)
    assert began(tmp_path, HONEST) == began(tmp_path, LYING) == 1
    (tmp_path / "go").touch()
    daemon.start()
    assert task.result(timeout=60) == 42
    assert (began(tmp_path, HONEST), began(tmp_path, LYING)) == (1, 1)
    assert by_host(daemon, "verdict") == {HONEST: "valid", DYING: "valid", LYING: "invalid"}


def test_who_does_not_report_in_time_is_replaced_and_counts_if_it_does_after_all(
    daemon: Daemon, tmp_path: Path
) -> None:
    """With a liar among three hosts only the late one's vote decides."""
    task = asking(daemon, deadline="1s", limit=9).submit(measure, str(tmp_path), DYING)
    wait_until(lambda: any(each["overdue"] for each in replicas(daemon)), last=daemon.log_text)
    (tmp_path / "go").touch()
    assert task.result(timeout=60) == 42


def differ(a: int, b: int) -> bool:
    """A validator that finds nothing equal but what is the same to the last digit."""
    return a == b


def is_even(value: int) -> bool:
    return value % 2 == 0


def test_the_submitters_own_functions_compare(daemon: Daemon, tmp_path: Path) -> None:
    task = asking(daemon, target=3, validator=(differ, is_even)).submit(measure, str(tmp_path))
    assert task.result(timeout=60) == 42


def ask_and_shrug(folder: str) -> str:
    return os.environ["SPOOLMW_MACHINE"]


def test_a_vote_without_agreement_is_failed_and_says_who_returned_what(
    daemon: Daemon, tmp_path: Path
) -> None:
    task = asking(daemon, limit=3).submit(ask_and_shrug, str(tmp_path))
    with pytest.raises(TaskFailed) as caught:
        task.result(timeout=60)
    assert all(host in str(caught.value) for host in by_host(daemon, "verdict"))
    assert set(by_host(daemon, "verdict").values()) == {"inconclusive"}


def mistake() -> float:
    """What fails wherever it runs."""
    return 1 / 0


def test_a_call_with_a_mistake_fails_though_no_host_is_left_to_try(daemon: Daemon) -> None:
    task = asking(daemon).submit(mistake)
    with pytest.raises(TaskFailed) as caught:
        task.result(timeout=60)
    assert "division by zero" in str(caught.value)


def test_a_vote_that_is_cancelled_stops_all_its_replicas(
    daemon: Daemon, tmp_path: Path
) -> None:
    asking(daemon, target=3).submit(measure, str(tmp_path), "all")
    wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 3, last=daemon.log_text)
    daemon.ctl("cancel", "sum")
    wait_until(lambda: by_host(daemon, "state").keys() >= set(HOSTS))
    assert set(by_host(daemon, "state").values()) == {"cancelled"}
    other = asking(daemon, name="after").submit(abs, -1)
    assert other.result(timeout=60) == 1


@pytest.mark.parametrize("wishes", [{"quorum": 2, "target": 3}, {"quorum": 1, "target": 1}])
def test_room_is_given_back(daemon: Daemon, tmp_path: Path, wishes: Mapping[str, int]) -> None:
    """Of many votes at once none leaves anything taken."""
    tasks = [asking(daemon, **wishes, name=f"n{n}").submit(abs, -n) for n in range(20)]
    assert [task.result(timeout=60) for task in tasks] == list(range(20))
    wait_until(lambda: all(each["running"] == 0 for each in daemon.ctl_json("agents")))
