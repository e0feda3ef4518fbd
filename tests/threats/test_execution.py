"""Threats 53 to 62: what tasks do to their machine; each ends alone, and is told what it did.

tests/unit/agents goes through these one by one at the runner; here the whole way is gone, from
the dropped file to its result, with neighbours that must not notice.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from spoolmw import Spool, TaskFailed
from tests.support.daemon import Daemon, family, header, left_over, running, take_away, trailer
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Ill:
    """A script that does harm."""

    number: int  #: in the list of threats
    what: str
    script: str
    cause: str
    says: str
    settings: str = ""

    def __str__(self) -> str:
        return f"{self.number}-{self.what}"


PYTHON = "exec python3 -c '{}'\n"
ILL = [
    Ill(
        53,
        "ever more processes",
        "while :; do sleep 60 & done\n",
        "timeout",
        "1 s",
        "#SPOOLMW time = 1s\n",
    ),
    Ill(
        54,
        "ever more memory",
        PYTHON.format("x = []\nwhile True: x.append(bytearray(1 << 20))"),
        "memory",
        "memory",
        "#SPOOLMW memory = 200MB\n",
    ),
    Ill(
        55, "endless output", "exec yes\n", "output", "output", "#SPOOLMW limits.output = 1MB\n"
    ),
    Ill(
        55,
        "an endless file",
        "exec yes >file\n",
        "output",
        "output",
        "#SPOOLMW limits.output = 1MB\n",
    ),
    Ill(
        56,
        "children that hide in sessions of their own",
        "setsid sh -c 'setsid sleep 300 & setsid sleep 300' & sleep 300\n",
        "timeout",
        "1 s",
        "#SPOOLMW time = 1s\n",
    ),
    Ill(
        57,
        "deafness to TERM",
        "trap '' TERM; while :; do sleep 0.1; done\n",
        "timeout",
        "1 s",
        "#SPOOLMW time = 1s\n",
    ),
    Ill(59, "a crash", "kill -SEGV $$\n", "signal", "SIGSEGV", "#SPOOLMW retry.max = 0\n"),
    Ill(62, "spinning", "while :; do :; done\n", "timeout", "1 s", "#SPOOLMW time = 1s\n"),
]


@pytest.mark.parametrize("ill", ILL, ids=str)
def test_it_is_ended_and_told_and_nobody_else_notices(daemon: Daemon, ill: Ill) -> None:
    settings = (
        ill.settings if "retry" in ill.settings else ill.settings + "#SPOOLMW retry.max = 0\n"
    )
    daemon.drop("ill.sh", "#!/bin/sh\n" + settings + ill.script)
    for number in range(4):
        daemon.drop(f"well{number}.sh", "#!/bin/sh\necho well\n")
    for number in range(4):
        well = daemon.result(f"well{number}.sh")
        assert (well.with_suffix(".files") / "stdout").read_text() == "well\n"
        take_away(well)
    result = daemon.result("ill.sh", timeout_s=40)
    told = trailer(result)
    assert (told["state"], told["cause"], told["blame"]) == ("failed", ill.cause, "task"), told
    assert ill.says in str(told["message"])
    wait_until(lambda: not sleepers(daemon), last=lambda: sleepers(daemon))
    take_away(result)


def sleepers(daemon: Daemon) -> list[tuple[int, str]]:
    """What of a task still runs."""
    return [(pid, line) for pid, line in left_over(daemon.spool) if "python" not in line]


def test_58_two_hundred_tasks_leave_no_zombie(daemon: Daemon) -> None:
    for number in range(200):
        daemon.drop(f"z{number}.sh", "#!/bin/sh\n(exit 0) & (exit 1) & exit 0\n")
    for number in range(200):
        daemon.result(f"z{number}.sh")
    wait_until(lambda: not zombies(daemon.pid), last=lambda: zombies(daemon.pid))


def zombies(pid: int) -> list[int]:
    """The ended descendants of a process that nobody has collected."""
    found = []
    for each in family(pid):
        try:
            state = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state == "Z":
            found.append(each)
    return found


def kill_own_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_59_a_task_that_kills_its_worker_is_not_tried_for_ever(daemon: Daemon) -> None:
    task = Spool(daemon.spool).options(retries=0).submit(kill_own_worker)
    with pytest.raises(TaskFailed) as failed:
        task.result(timeout=30)
    assert failed.value.blame == "task"


def test_59_a_task_whose_worker_others_kill_is_given_up_at_the_third_time(
    daemon: Daemon,
) -> None:
    mark = daemon.home / "victims"
    daemon.drop("victim.sh", f"#!/bin/sh\necho $PPID $$ >>{mark}\nexec sleep 300\n")
    for number in range(1, 4):
        victims = wait_until(partial(lines_of, mark, number))
        worker, _ = victims[-1].split()
        os.kill(int(worker), signal.SIGKILL)
    told = trailer(daemon.result("victim.sh"))
    assert (told["state"], told["blame"]) == ("failed", "task")
    assert "killed its worker 3 times" in str(told["message"])
    attempts = told["attempts"]
    assert isinstance(attempts, list)
    assert [attempt["outcome"] for attempt in attempts] == ["lost"] * 3


def test_60_61_a_task_sees_nothing_of_the_daemons_environment_and_descriptors(
    ground: Path,
) -> None:
    env = {"SECRET_TOKEN": "hunter2", "LD_LIBRARY_PATH": "/nowhere", "IFS": "x"}
    with running(
        ground, env=env, config="[agents.local]\nslots = 1\n[intake]\nsettle_s = 0.1\n"
    ) as daemon:
        daemon.drop("look.sh", "#!/bin/sh\nenv\nls -l /proc/self/fd /proc/$$/fd\n")
        text = (daemon.result("look.sh").with_suffix(".files") / "stdout").read_text()
        for secret in (
            "hunter2",
            "/nowhere",
            "PYTHONPATH",
            "spoolmw.db",
            "spool/lock",
            "socket:",
            "done.log",
        ):
            assert secret not in text, text


def test_60_words_of_a_command_never_meet_a_shell(daemon: Daemon) -> None:
    mark = daemon.home / "injected"
    words = [
        "$(touch {})",
        "; touch {}",
        "`touch {}`",
        "| touch {}",
        "&& touch {}",
        "\n touch {}",
    ]
    command = ["/bin/echo", *(word.format(mark) for word in words)]
    done = Spool(daemon.spool).command(command).result(timeout=60)
    assert done.stdout.count(str(mark)) == len(words)
    assert not mark.exists()


def test_79_what_a_task_says_reaches_log_and_terminal_escaped(daemon: Daemon) -> None:
    task = Spool(daemon.spool).submit(raise_rudely)
    with pytest.raises(ValueError, match="red"):
        task.result(timeout=60)
    log = daemon.log_text()
    assert "\x1b" not in log
    assert "\nerror forged" not in log
    for verb in (("show", task.id), ("ls",), ("log", task.id), ("status",)):
        shown = daemon.ctl(*verb, check=False)
        assert "\x1b[31m" not in shown.stdout + shown.stderr
        assert "\u202e" not in shown.stdout + shown.stderr


def lines_of(path: Path, number: int) -> list[str]:
    """The lines of a file once it has so many; none before."""
    lines = path.read_text().splitlines() if path.exists() else []
    return lines if len(lines) == number else []


def raise_rudely() -> None:
    raise ValueError("\x1b[31mred\x1b[0m\nerror forged what=all-is-lost\r\u202eright to left")


def test_79_the_header_of_a_rude_result_is_one_line(daemon: Daemon) -> None:
    task = Spool(daemon.spool).options(keep=True).submit(raise_rudely)
    with pytest.raises(ValueError, match="red"):
        task.result(timeout=60)
    exception = header(task.path)["exception"]
    assert isinstance(exception, dict)
    assert exception["type"].endswith("ValueError")
