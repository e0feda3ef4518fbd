"""Votes as their users see them: validators, `votes`, `adjudicate`, and hosts that are paused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw import Spool
from spoolmw.errors import TaskFailed
from tests.support.daemon import Daemon, end, family, running
from tests.support.waiting import wait_until

HOSTS = ("pc01", "pc02", "pc03", "pc04")
CONFIG = "".join(f'[agents.at-{name}]\nslots = 2\nmachine = "{name}"\n' for name in HOSTS)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Four runners that stand for four hosts, for all tests here."""
    with running(tmp_path_factory.mktemp("votes"), config=CONFIG) as made:
        yield made


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that a test may kill and start again."""
    made = Daemon(tmp_path, config=CONFIG).start()
    yield made
    end(made)


def here() -> int:
    """The number of the host that this runs on."""
    return HOSTS.index(os.environ["SPOOLMW_MACHINE"]) + 1


def all_differ() -> int:
    return here()


def nearly_equal() -> float:
    return 1.0 + here() * 1e-9


def wait_for(flag: str) -> int:
    """What every host returns; the first one at once, the others when they are let go."""
    until = time.monotonic() + 60
    while here() > 1 and not Path(flag).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return 42


def votes(daemon: Daemon, task: str) -> dict[str, Any]:
    [told] = daemon.ctl_json("votes", task)
    found = told["votes"]
    assert isinstance(found, dict)
    return found


def verdicts(daemon: Daemon, task: str) -> list[str]:
    return [each["verdict"] for each in votes(daemon, task)["replicas"]]


def state(daemon: Daemon, task: str) -> str:
    [shown] = daemon.ctl_json("show", task)
    return str(shown["state"])


def given_up(daemon: Daemon, name: str) -> str:
    """A task on whose results no two hosts agree."""
    task = Spool(daemon.spool).options(quorum=2, limit=3, name=name).submit(all_differ)
    with pytest.raises(TaskFailed, match="2 results must agree, at most 1 did"):
        task.result(60)
    return task.id


# -- validators


def test_values_that_are_close_agree(daemon: Daemon) -> None:
    close = Spool(daemon.spool).options(quorum=3, validator="close:rtol=1e-6")
    assert close.submit(nearly_equal).result(60) == pytest.approx(1.0)


def test_a_function_of_the_callers_own_decides_what_agrees(daemon: Daemon) -> None:
    def same_parity(a: int, b: int) -> bool:
        return a % 2 == b % 2

    def is_positive(value: int) -> bool:
        return value > 0

    wish = Spool(daemon.spool).options(quorum=2, target=3, validator=(same_parity, is_positive))
    task = wish.submit(all_differ)
    assert task.result(60) in (1, 2, 3, 4)
    assert votes(daemon, task.id)["validator"] == "python"


def test_such_a_function_sees_the_folders_of_commands(daemon: Daemon) -> None:
    def same_output(a: str, b: str) -> bool:
        return Path(a, "stdout").read_text()[:2] == Path(b, "stdout").read_text()[:2]

    wish = Spool(daemon.spool).options(quorum=2, validator=same_output)
    task = wish.command(["sh", "-c", "echo $SPOOLMW_MACHINE"])
    assert task.result(60).files["stdout"].read_text().startswith("pc")


def test_a_program_that_comes_with_the_task_compares(daemon: Daemon) -> None:
    text = "#!/bin/sh\n#SPOOLMW quorum = 2\n#SPOOLMW validator = 'command:sh ./same'\n"
    same = 'exec cmp -s "$1/stdout" "$2/stdout"\n'
    daemon.drop("by-program", f"{text}echo same\n", inputs={"same": same})
    daemon.result("by-program")
    assert verdicts(daemon, "by-program") == ["valid", "valid"]


def test_a_program_that_is_no_input_is_missed_at_once(daemon: Daemon) -> None:
    daemon.drop(
        "no-program", "#!/bin/sh\n#SPOOLMW quorum = 2\n#SPOOLMW validator = 'command:./sane'\n"
    )
    reason = daemon.rejected("no-program")
    assert "[redundancy] validator" in reason
    assert "no ./sane" in reason


def test_a_validator_that_dies_fails_the_task_and_its_results_are_kept(daemon: Daemon) -> None:
    def kills_itself(a: int, b: int) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    task = Spool(daemon.spool).options(quorum=2, validator=kills_itself).submit(wait_for, "/")
    with pytest.raises(TaskFailed, match="the validator: it died of SIGKILL") as caught:
        task.result(60)
    assert caught.value.blame == "user"
    told = votes(daemon, task.id)
    assert told["fault"]
    assert [each["failures"] for each in told["replicas"]] == [0, 0]
    daemon.ctl("adjudicate", task.id, "--accept", "0")
    daemon.ctl("wait", task.id)
    assert daemon.ctl("result", task.id).stdout.split()[-1] == "42"


# -- who returned what


def test_votes_tell_who_returned_what_and_what_was_made_of_it(daemon: Daemon) -> None:
    def one_lies() -> int:
        return 43 if here() == 3 else 42

    wish = Spool(daemon.spool).options(quorum=3, target=4, name="liar")
    assert wish.submit(one_lies).result(60) == 42
    told = {each["host"]: each for each in votes(daemon, "liar")["replicas"]}
    agreed = {host for host, each in told.items() if each["verdict"] == "valid"}
    assert agreed == set(HOSTS) - {"pc03"}
    text = daemon.ctl("votes", "liar").stdout
    assert "quorum 3" in text
    assert "chosen" in text


def test_a_task_without_redundancy_has_no_votes(daemon: Daemon) -> None:
    task = Spool(daemon.spool).submit(all_differ)
    task.result(60)
    told = daemon.ctl("votes", task.id, check=False)
    assert told.returncode == 1
    assert "did not ask for redundancy" in told.stderr
    refused = daemon.ctl("adjudicate", task.id, "--more", "1", check=False)
    assert refused.returncode == 1
    assert "has no vote" in refused.stderr


def test_while_replicas_run_the_list_says_how_many_reported(
    daemon: Daemon, tmp_path: Path
) -> None:
    wish = Spool(daemon.spool).options(quorum=4, name="slowly")
    task = wish.submit(wait_for, str(tmp_path / "go"))
    wait_until(lambda: "1 of 4 reported" in daemon.ctl("ls", "--name", "slowly").stdout)
    why = daemon.ctl("why", "slowly").stdout
    assert "runs on pc02" in why
    assert "1 reported" in why
    (tmp_path / "go").touch()
    assert task.result(60) == 42


# -- deciding by hand


def test_a_vote_that_came_to_nothing_says_what_can_be_done(daemon: Daemon) -> None:
    task = given_up(daemon, "undecided")
    text = daemon.ctl("show", task).stdout
    assert f"spoolmw-ctl adjudicate {task[:18]} --accept 0|1|2, or --more N" in text
    assert "result A came from" in text


def test_more_replicas_run_elsewhere_and_one_result_may_then_be_accepted(
    daemon: Daemon,
) -> None:
    task = given_up(daemon, "more")
    tried = {each["host"] for each in votes(daemon, task)["replicas"]}
    daemon.ctl("adjudicate", task, "--more", "1")
    assert daemon.ctl("wait", task, check=False).returncode == 1
    replicas = votes(daemon, task)["replicas"]
    assert {replicas[3]["host"]} == set(HOSTS) - tried
    [told] = daemon.ctl_json("adjudicate", task, "--accept", "3")
    assert (told["ok"], told["text"]) == (
        True,
        "the result of replica 3 was accepted; it is delivering",
    )
    daemon.ctl("wait", task)
    chosen = HOSTS.index(replicas[3]["host"]) + 1
    assert daemon.ctl("result", task).stdout.split()[-1] == str(chosen)
    assert verdicts(daemon, task) == ["invalid", "invalid", "invalid", "valid"]
    assert len(list((daemon.spool / "results").glob(f"more-{task}*.result"))) == 2


def test_an_open_vote_is_decided_without_waiting_for_the_rest(
    daemon: Daemon, tmp_path: Path
) -> None:
    flag = tmp_path / "never"
    task = Spool(daemon.spool).options(quorum=3, name="early").submit(wait_for, str(flag))

    def first() -> list[int]:
        return [e["replica"] for e in votes(daemon, task.id)["replicas"] if e["staged"]]

    wait_until(lambda: state(daemon, task.id) == "running" and first())
    daemon.ctl("adjudicate", task.id, "--accept", str(first()[0]))
    assert task.result(60) == 42


def test_an_open_vote_can_be_failed(daemon: Daemon, tmp_path: Path) -> None:
    flag = tmp_path / "never"
    task = Spool(daemon.spool).options(quorum=3, name="late").submit(wait_for, str(flag))
    wait_until(lambda: daemon.ctl("votes", task.id, check=False).returncode == 0)
    daemon.ctl("adjudicate", task.id, "--fail")
    with pytest.raises(TaskFailed, match="failed by user"):
        task.result(60)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--accept", "7"), 1, "there is no replica 7; results are there of: 0, 1, 2"),
        (("--fail",), 1, "it is failed"),
        ((), 2, "Give one of"),
        (("--accept", "1", "--more", "1"), 2, "Give one of"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_the_reason(
    daemon: Daemon, words: tuple[str, ...], code: int, says: str
) -> None:
    known = [str(each["id"]) for each in daemon.ctl_json("ls", "--name", "wrongly")]
    task = known[0] if known else given_up(daemon, "wrongly")
    told = daemon.ctl("adjudicate", task, *words, check=False)
    assert (told.returncode, says in told.stderr) == (code, True), told.stderr


# -- hosts


def test_a_paused_host_gets_nothing_until_it_is_resumed(daemon: Daemon) -> None:
    assert daemon.ctl("pause", "--host", "pc01").stdout == "Paused hosts: pc01.\n"
    try:
        task = Spool(daemon.spool).options(quorum=3, name="without").submit(nothing)
        task.result(60)
        used = {each["host"] for each in votes(daemon, task.id)["replicas"]}
        assert used == {"pc02", "pc03", "pc04"}
        assert "resume --host pc01" in daemon.ctl("hosts").stdout
    finally:
        assert daemon.ctl("resume", "host:pc01").stdout == "No host is paused.\n"
    known = {str(each["host"]): each["record"] for each in daemon.ctl_json("hosts")}
    assert isinstance(known["pc02"], dict)
    assert known["pc02"]["valid"] > 0


def nothing() -> None:
    return None


def test_a_host_that_nobody_knows_cannot_be_paused(daemon: Daemon) -> None:
    told = daemon.ctl("pause", "--host", "pc99", check=False)
    assert told.returncode == 1
    assert "No host 'pc99' is known" in told.stderr


# -- over restarts


def test_votes_and_hosts_are_told_with_the_daemon_down(own_daemon: Daemon) -> None:
    wish = Spool(own_daemon.spool).options(quorum=2, name="told")
    wish.submit(nothing).result(60)
    own_daemon.stop()
    assert verdicts(own_daemon, "told") == ["valid", "valid"]
    assert [each["record"]["valid"] for each in own_daemon.ctl_json("hosts")] == [1, 1]  # type: ignore[index]


def test_a_validation_under_way_when_the_daemon_is_killed_is_made_again(
    own_daemon: Daemon, tmp_path: Path
) -> None:
    flag = tmp_path / "judging"

    def is_slow_at_first(a: object, b: object) -> bool:
        first = not flag.exists()
        flag.touch()
        time.sleep(60 if first else 0)
        return a == b

    wish = Spool(own_daemon.spool).options(quorum=2, validator=is_slow_at_first)
    task = wish.submit(wait_for, "/")
    wait_until(flag.exists, last=own_daemon.log_text)
    assert state(own_daemon, task.id) == "validating"
    assert "being compared" in own_daemon.ctl("why", task.id).stdout
    own_daemon.kill()
    own_daemon.start()
    assert task.result(60) == 42
    assert verdicts(own_daemon, task.id) == ["valid", "valid"]


def test_a_validation_ends_with_the_task_that_is_cancelled(
    own_daemon: Daemon, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    def hangs(a: object, b: object) -> bool:
        told.write_text(str(os.getpid()))
        time.sleep(60)
        return True

    task = Spool(own_daemon.spool).options(quorum=2, validator=hangs).submit(wait_for, "/")
    pid = wait_until(lambda: int(told.read_text() or 0) if told.exists() else 0)
    assert pid in family(own_daemon.pid)
    own_daemon.ctl("cancel", task.id)
    wait_until(lambda: pid not in family(own_daemon.pid), last=own_daemon.log_text)
