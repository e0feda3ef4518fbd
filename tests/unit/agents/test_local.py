"""The local agent's life: what dies with whom, what is started again, how much is taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spoolmw.errors import AgentError
from spoolmw.model.agent import CapacityChanged
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import Lost
from spoolmw.runner import process, wire
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local
from tests.unit.agents.test_call_outcomes import alive, pid_in

ROOT = Path(__file__).parents[3]


def runner_of(local: Local) -> int:
    """The agent's runner; a process that has just begun has no command line yet."""

    def found() -> list[int]:
        mark = str(local.root).encode()
        mine = process.children(os.getpid())
        return [pid for pid in mine if mark in Path(f"/proc/{pid}/cmdline").read_bytes()]

    [pid] = wait_until(found)
    return pid


def nothing() -> None:
    return None


def test_a_dead_runner_is_started_again_and_its_attempts_are_lost(local: Local) -> None:
    runs, waits = [local.call(time.sleep, 60, cpus=2) for _ in range(2)]
    local.agent.launch([runs, waits])
    local.heard.start_of(runs)
    os.kill(runner_of(local), signal.SIGKILL)
    ran, waited = local.heard.end_of(runs), local.heard.end_of(waits)
    assert isinstance(ran, Lost)
    assert isinstance(waited, Lost)
    assert (ran.cause, ran.blame, ran.counts) == (Cause.CONNECTION, Blame.HOST, True)
    assert (waited.cause, waited.counts) == (Cause.CONNECTION, False)
    assert "SIGKILL" in ran.message
    assert local.run(local.call(nothing)).cause is Cause.FINISHED


def test_a_dead_runners_attempts_are_dead_before_they_are_called_lost(
    local: Local, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    work = local.command("sh", "-c", f"setsid sleep 60 & echo $! > {note}; wait")
    local.agent.launch([work])
    pid = pid_in(note)
    os.kill(runner_of(local), signal.SIGKILL)
    local.heard.end_of(work)
    assert not alive(pid)


def test_a_task_that_kills_its_runner_counts_though_it_was_short(local: Local) -> None:
    local.run(local.call(nothing))
    end = local.run(local.call(lambda: os.kill(os.getppid(), signal.SIGKILL)))
    assert isinstance(end, Lost)
    assert end.counts


def test_what_a_stopped_attempt_staged_goes_with_the_runner_that_should_have_removed_it(
    local: Local, tmp_path: Path
) -> None:
    """Nothing is told of an attempt that was stopped, so the daemon would not know of the file."""
    flag = tmp_path / "flag"
    text = f"while [ ! -e {flag} ]; do sleep 0.01; done; echo kept >more"
    work = local.command("sh", "-c", text, outputs=["more"])
    local.agent.launch([work])
    local.heard.start_of(work)
    runner = runner_of(local)
    os.kill(runner, signal.SIGSTOP)
    local.agent.stop([work.attempt])
    flag.touch()
    wait_until(local.staged(work).exists)
    os.kill(runner, signal.SIGKILL)
    local.heard.wait(
        lambda: [e for e in local.heard.events if isinstance(e, CapacityChanged) and e.reason]
    )
    assert list((local.root / "stage").iterdir()) == []
    assert local.heard.ends_of(work.attempt) == []


def test_while_the_runner_is_down_there_is_no_room(local: Local) -> None:
    os.kill(runner_of(local), signal.SIGKILL)
    changes = local.heard.wait(
        lambda: (
            [e for e in local.heard.events if isinstance(e, CapacityChanged)][1:]
            and [e for e in local.heard.events if isinstance(e, CapacityChanged)]
        )
    )
    assert changes[0].capacity.slots == 0
    assert "SIGKILL" in changes[0].reason
    assert changes[1].capacity.slots == 2


DAEMON = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.agents.conftest import Local
local = Local(Path({spool!r}))
local.agent.launch([
    local.command("sh", "-c", "echo $$ > {note}; setsid sleep 60; wait"),
    local.call(time.sleep, 60),
])
local.heard.wait(lambda: len([e for e in local.heard.events if type(e).__name__ == "Started"]) == 2)
print(*[each.pid for each in local.agent.sightings()], flush=True)
time.sleep(60)
"""


def a_daemon(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Another process with an agent that runs a call and a command; and its attempts' pids."""
    note, spool = tmp_path / "note", tmp_path / "spool"
    text = DAEMON.format(root=str(ROOT), spool=str(spool), note=note)
    daemon = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    pids = [int(each) for each in daemon.stdout.readline().split()]
    daemon.stdout.close()

    def below() -> list[int]:
        found = [*process.descendants(pids[0]), *process.descendants(pids[1])]
        return found if len(found) >= 2 else []  # the command's shell, and what that starts

    return daemon, [*pids, *wait_until(below)]


def test_nothing_runs_on_when_the_daemon_is_killed(tmp_path: Path) -> None:
    daemon, pids = a_daemon(tmp_path)
    assert len(pids) >= 4
    daemon.kill()
    daemon.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_what_was_left_is_dead_before_the_next_agent_starts(tmp_path: Path) -> None:
    daemon, pids = a_daemon(tmp_path)
    runners = process.children(daemon.pid)
    for pid in (*runners, daemon.pid):  # the runner, too, has no chance to clean up
        os.kill(pid, signal.SIGKILL)
    daemon.wait()
    local = Local(tmp_path / "spool")
    assert not [pid for pid in pids if alive(pid)]
    local.agent.close(0.0)


SHELL = """
import os, time
os.fork() and os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_users_shell_that_names_the_spool_is_left_alone(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    env = {**os.environ, "SPOOLMW_SPOOL": str(spool)}
    shell = subprocess.Popen([sys.executable, "-c", SHELL], env=env, stdout=subprocess.PIPE)
    assert shell.stdout is not None
    pid = int(shell.stdout.readline())
    shell.stdout.close()
    shell.wait()
    local = Local(spool)
    assert alive(pid)
    local.agent.close(0.0)
    os.kill(pid, signal.SIGKILL)


def test_two_agents_on_one_spool_leave_each_other_alone(tmp_path: Path) -> None:
    one, two = Local(tmp_path / "spool"), Local(tmp_path / "spool")
    for each in (one, two):
        assert each.run(each.call(nothing)).cause is Cause.FINISHED
        each.agent.close(0.0)


def test_an_agent_whose_name_begins_as_anothers_cleans_up_its_own_alone(tmp_path: Path) -> None:
    output = tmp_path / "spool" / "tmp" / "output"
    output.mkdir(parents=True)
    left, others = output / "local-7.out", output / "local-2-1.out"
    for each in (left, others):
        each.touch()
    Local(tmp_path / "spool").agent.close(0.0)
    assert (left.exists(), others.exists()) == (False, True)


def test_what_ends_within_the_grace_is_reported(local: Local, tmp_path: Path) -> None:
    note = tmp_path / "note"
    work = local.command("sh", "-c", f"echo $$ > {note}; sleep 0.5")
    local.agent.launch([work])
    pid_in(note)
    local.agent.close(20.0)
    assert local.heard.end_of(work).cause is Cause.FINISHED


def test_close_comes_back_as_soon_as_nothing_runs(local: Local) -> None:
    local.run(local.call(nothing))
    before = time.monotonic()
    local.agent.close(30.0)
    assert time.monotonic() - before < 25


def test_a_command_gets_term_before_the_grace_ends(local: Local, tmp_path: Path) -> None:
    note = tmp_path / "note"
    work = local.command(
        "sh", "-c", f"trap 'echo saved; exit 0' TERM; echo $$ > {note}; sleep 60 & wait"
    )
    local.agent.launch([work])
    pid_in(note)
    local.agent.close(8.0)
    assert local.heard.end_of(work).cause is Cause.FINISHED
    assert local.files(work)["stdout"] == b"saved\n"


def test_the_number_of_slots_can_change_while_work_goes_on(
    local: Local, tmp_path: Path
) -> None:
    flags = [tmp_path / str(number) for number in range(3)]
    text = "touch $0; while [ ! -e $0.end ]; do sleep 0.01; done"
    works = [local.command("sh", "-c", text, str(flag)) for flag in flags]
    local.agent.launch(works)
    wait_until(lambda: flags[0].exists() and flags[1].exists())
    assert not flags[2].exists()
    local.agent.set_slots(3)
    assert local.agent.capacity().slots == 3
    wait_until(flags[2].exists)
    for flag in flags:
        flag.with_suffix(".end").touch()
    for work in works:
        local.heard.end_of(work)


def test_an_agent_without_slots_is_refused(local: Local) -> None:
    with pytest.raises(AgentError):
        local.agent.set_slots(0)


def test_many_short_attempts_may_wait_at_the_agent(local: Local) -> None:
    assert local.agent.capacity().queue == 0

    def queue_after_more() -> int:
        works = [local.call(nothing) for _ in range(50)]
        local.agent.launch(works)
        for work in works:
            local.heard.end_of(work)
        return local.agent.capacity().queue

    wait_until(lambda: queue_after_more() >= 8)


def test_short_attempts_do_not_wait_behind_a_long_one(local: Local) -> None:
    warm = [local.call(nothing) for _ in range(500)]
    local.agent.launch(warm)
    for each in warm:
        local.heard.end_of(each)
    short = [local.call(nothing) for _ in range(100)]
    long = local.call(time.sleep, 60)
    local.agent.launch([*short[:20], long, *short[20:]])
    for each in short:
        local.heard.end_of(each)
    assert local.heard.ends_of(long.attempt) == []


def test_an_attempt_with_two_cpus_has_both_slots(local: Local, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    wide = local.command(
        "sh", "-c", f"test ! -e {second} && sleep 0.3 && touch {first}", cpus=2
    )
    narrow = local.command("sh", "-c", f"touch {second}; test -e {first}")
    local.agent.launch([wide, narrow])
    assert local.heard.end_of(wide).cause is Cause.FINISHED
    assert local.heard.end_of(narrow).cause is Cause.FINISHED


def test_nothing_of_an_agent_is_left_when_it_is_closed(local: Local) -> None:
    local.run(local.call(nothing))
    runner = runner_of(local)
    tree = [runner, *process.descendants(runner)]
    local.agent.close(0.0)
    assert not [pid for pid in tree if alive(pid)]
    assert list((local.root / "tmp" / "scratch").iterdir()) == []
    assert list((local.root / "tmp" / "output").iterdir()) == []


def test_a_runner_whose_daemon_died_before_it_began_says_nothing(tmp_path: Path) -> None:
    daemon = subprocess.Popen(["/bin/true"])
    daemon.wait()
    ours, theirs = socket.socketpair()
    setup = {"do": "setup", "spool": str(tmp_path), "env": {}, "umask": 0o22, "agent": "local"}
    room = {"slots": 1, "gpus": [], "interpreters": []}
    wire.Stream(ours).send(wire.json_frame({**setup, **room}))
    run = subprocess.run(
        [sys.executable, "-m", "spoolmw.runner", "runner", str(theirs.fileno()), str(daemon.pid)],
        pass_fds=[theirs.fileno()], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    ours.close()
    theirs.close()
