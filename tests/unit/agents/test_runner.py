"""The runner by its protocol alone, and the ends that need its clock moved."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spoolmw.agents import bundle
from spoolmw.agents.hostrunner import HostRunner
from spoolmw.agents.ledger import Ledger
from spoolmw.model.agent import Launch
from spoolmw.runner import process, watch, wire
from spoolmw.runner.attempt import of_launch
from spoolmw.runner.crew import Member, Place
from spoolmw.runner.interpreter import Interpreters
from spoolmw.runner.outbox import Outbox
from spoolmw.runner.pool import Pool
from spoolmw.runner.watch import START_S, Watch
from tests.support.attempts import Bench
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local

SETUP: dict[str, Any] = {
    "agent": "here",
    "slots": 2,
    "gpus": [],
    "interpreters": [],
    "env": {"PATH": "/usr/bin:/bin"},
}


def wait_for(flag: str) -> None:
    while not os.path.exists(flag):
        time.sleep(0.01)


class Talk:
    """A runner, and what it says."""

    def __init__(self, root: Path) -> None:
        bench = Bench(root)
        for name in ("scratch", "output"):
            (root / "tmp" / name).mkdir()
        self.bench = bench
        self.runner = HostRunner(bundle.publish(root / "runner"), root, SETUP)
        self.said: list[dict[str, Any]] = []

    def tell(self, tree: dict[str, Any]) -> None:
        self.runner.stream.send(wire.json_frame(tree))

    def launch(self, work: Launch) -> None:
        self.tell({"do": "launch", "work": Ledger("here").take([work])[0]})

    def freeze_the_worker(self) -> int:
        """Its only worker, which is idle, takes nothing any more; the process."""
        [worker] = process.children(self.hear("hello")["pid"])
        stat = Path(f"/proc/{worker}/stat")
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        return worker

    def hear(self, event: str) -> dict[str, Any]:
        def heard() -> dict[str, Any] | None:
            self.said += [json.loads(payload) for _, payload in self.runner.stream.receive()]
            return next((each for each in self.said if each["event"] == event), None)

        found = wait_until(heard, last=lambda: self.said)
        assert found is not None
        return found

    def has_ended(self) -> bool:
        try:
            self.runner.stream.receive()
        except wire.Closed:
            return True
        return False


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path / "spool")
    yield made
    made.runner.end()


def test_it_begins_with_a_hello(talk: Talk) -> None:
    hello = talk.hear("hello")
    assert hello["protocol"] == 1
    assert hello["python"] == "{}.{}.{}".format(*sys.version_info)
    assert {"machine", "host", "platform", "cores", "memory", "pid"} <= set(hello)


def test_an_unknown_verb_ends_it(talk: Talk) -> None:
    talk.tell({"do": "dance"})
    wait_until(talk.has_ended)


def test_what_is_no_frame_ends_it(talk: Talk) -> None:
    talk.runner.stream.send(b"GET / HTTP/1.0\r\n\r\n")
    wait_until(talk.has_ended)


def test_it_ends_when_the_stream_does(talk: Talk) -> None:
    pid = talk.hear("hello")["pid"]
    talk.runner.stream.close()
    wait_until(
        lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    )


def test_stopping_what_it_does_not_know_is_confirmed(talk: Talk) -> None:
    talk.tell({"do": "stop", "attempts": ["0.0.1"]})
    assert talk.hear("stopped")["attempts"] == ["0.0.1"]


def test_a_stop_that_comes_when_it_has_just_ended_leaves_nothing_in_stage(talk: Talk) -> None:
    """Its agent passes over the report, so nobody else would know of the files."""
    stage = talk.bench.root / "stage"
    (stage / "0.0.1").write_text("a result")
    (stage / "0.0.1.files").mkdir()
    talk.tell({"do": "stop", "attempts": ["0.0.1"]})
    talk.hear("stopped")
    assert list(stage.iterdir()) == []


def test_a_stop_that_crosses_the_report_is_confirmed_and_leaves_nothing_in_stage(
    talk: Talk, tmp_path: Path
) -> None:
    """The worker is through, and its runner, which is held up, learns of both at once."""
    stage = talk.bench.root / "stage"
    flag = tmp_path / "flag"
    work = talk.bench.call(wait_for, str(flag))
    talk.launch(work)
    name = talk.hear("started")["attempts"][0]["attempt"]
    runner = talk.hear("hello")["pid"]
    os.kill(runner, signal.SIGSTOP)
    talk.tell({"do": "stop", "attempts": [name], "wanted": False})
    flag.touch()
    wait_until((stage / name).exists)
    os.kill(runner, signal.SIGCONT)
    assert talk.hear("stopped")["attempts"] == [name]
    assert list(stage.iterdir()) == []


def test_what_is_stopped_while_its_worker_starts_never_begins_and_leaves_nothing(
    talk: Talk, tmp_path: Path
) -> None:
    """Its worker, which gets the order when it is ready, is not to blame: it stays."""
    stage, starts, go = talk.bench.root / "stage", tmp_path / "starts", tmp_path / "go"
    slow = tmp_path / "slow"
    wait = f"touch {starts}; while [ ! -e {go} ]; do sleep 0.01; done"
    slow.write_text(f'#!/bin/sh\n{wait}\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    stopped, other = (
        talk.bench.call(Path.touch, tmp_path / name, interpreter=str(slow)) for name in "ab"
    )
    talk.launch(stopped)
    wait_until(starts.exists)
    talk.tell({"do": "stop", "attempts": [str(stopped.attempt)], "wanted": False})
    assert talk.hear("stopped")["attempts"] == [str(stopped.attempt)]
    go.touch()
    talk.launch(other)
    [told] = talk.hear("ended")["attempts"]
    assert (told["attempt"], told["outcome"]) == (str(other.attempt), "success")
    assert [each.name for each in stage.iterdir()] == [str(other.attempt)]
    assert not (tmp_path / "a").exists()


def test_what_is_stopped_before_its_idle_worker_takes_it_is_not_run_by_another(
    talk: Talk, tmp_path: Path
) -> None:
    warm, stopped, other = (talk.bench.call(Path.touch, tmp_path / name) for name in "abc")
    talk.launch(warm)
    [told] = talk.hear("ended")["attempts"]
    worker = talk.freeze_the_worker()
    talk.launch(stopped)
    talk.hear("started")  # so its runner believes
    talk.tell({"do": "stop", "attempts": [str(stopped.attempt)]})
    assert talk.hear("stopped")["attempts"] == [str(stopped.attempt)]
    os.kill(worker, signal.SIGCONT)
    talk.said.clear()
    talk.launch(other)
    [again] = talk.hear("ended")["attempts"]
    assert (again["attempt"], again["slot"]) == (str(other.attempt), told["slot"])
    assert not (tmp_path / "b").exists()


def test_what_a_frozen_worker_never_took_is_run_by_another_and_keeps_its_time(
    talk: Talk, tmp_path: Path
) -> None:
    warm, work = talk.bench.call(abs, 1), talk.bench.call(abs, -7, time_s=3.0)
    talk.launch(warm)
    [told] = talk.hear("ended")["attempts"]
    talk.freeze_the_worker()
    talk.said = [each for each in talk.said if each["event"] == "hello"]
    talk.launch(work)
    [ended] = talk.hear("ended")["attempts"]
    assert (ended["attempt"], ended["outcome"]) == (str(work.attempt), "success")
    assert ended["slot"] != told["slot"]


def test_an_interpreter_that_never_becomes_a_worker_is_given_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for name in ("scratch", "output"):
        (tmp_path / "tmp" / name).mkdir()
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nsleep 60\n")
    sleeper.chmod(0o755)
    members: list[Member] = []
    place = Place(str(tmp_path), "x.pyz", {}, 0o022, "here")
    pool = Pool(place, 1, [], Interpreters([]), members.append)
    work = bench.call(abs, 1)
    packet = f"{work.attempt}\n{work.token}\n{work.path}"
    pool.add(of_launch([[{"interpreter": str(sleeper)}, [packet]]]))
    pool.dispatch(0.0)
    [member] = members
    a, b = socket.socketpair()
    looks = Watch(pool, Outbox(wire.Stream(a)), lambda _member, _now: None)
    looks.look(member.born + START_S - 1)
    assert os.waitpid(member.pid, os.WNOHANG) == (0, 0)
    looks.look(member.born + START_S + 1)
    assert os.waitstatus_to_exitcode(os.waitpid(member.pid, 0)[1]) == -9
    member.close()
    a.close()
    b.close()


@pytest.mark.parametrize(
    ("saves", "command", "told"),
    [(True, True, [7, 8]), (True, False, [7]), (False, True, [8]), (False, False, [8, 7])],
)
def test_who_gets_term_in_which_order(
    monkeypatch: pytest.MonkeyPatch, saves: bool, command: bool, told: list[int]
) -> None:
    """A worker that is told after its command takes the command's end for one of its own."""
    sent: list[int] = []
    monkeypatch.setattr(process, "send", lambda pid, _number: sent.append(pid))
    monkeypatch.setattr(process, "descendants", lambda pid: [pid + 1])
    attempt = SimpleNamespace(saves=saves, kind=SimpleNamespace(command=command))
    assert watch._warn(7, attempt) == len(told)
    assert sent == told


def test_a_successor_starts_when_the_stopped_attempt_is_gone(
    local: Local, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    text = f"trap 'sleep 0.3; echo old gone >> {note}; exit' TERM; echo old >> {note}; sleep 60 & wait"
    work = local.command("sh", "-c", text)
    local.agent.launch([work])
    wait_until(note.exists)
    local.agent.stop([work.attempt])
    successor = local.again(work)
    local.agent.launch([successor])
    wait_until(lambda: note.read_text().split("\n")[:3] == ["old", "old gone", "old"])
    local.agent.stop([successor.attempt])


def test_the_runner_needs_nothing_that_is_installed() -> None:
    """It starts with -I -S: what it imports must be in the archive or the standard library."""
    program = (
        "import sys; sys.argv=['x'];"
        "import spoolmw.runner.start, spoolmw.runner.worker;"
        "print([m for m in sys.modules if m.startswith('spoolmw') and 'runner' not in m])"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['spoolmw']"
