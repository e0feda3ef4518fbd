"""An agent whose host has a keeper, from its end of the link: the test speaks for the link."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.carried import CarriedAgent, Reach
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.contract import AgentEvent
from spoolmw.config import AgentConfig
from spoolmw.model.agent import CapacityChanged, Launch
from spoolmw.model.events import Lost, Reported
from spoolmw.model.ids import AgentName
from spoolmw.runner import wire
from tests.support.daemon import ROOT
from tests.support.waiting import wait_until
from tests.unit.agents.test_ledger import a_launch, a_report

HELLO = {
    "event": "hello",
    "machine": "m",
    "cores": 2,
    "memory": 1 << 30,
    "died": [],
    "skew": 0.0,
}
DOWN = {
    "event": "down",
    "what": "the cable is out",
    "why": "",
    "fix": "",
    "stage": "link",
    "failures": 1,
    "paused": False,
    "garbage": False,
    "again_s": 1.0,
}


class Ends(Link):
    """Streams that end at the test, in the place of a process's."""

    def __init__(self) -> None:
        super().__init__(["pc01"], "")
        self.far: list[socket.socket] = []

    def _start(self) -> None:
        ours, far = socket.socketpair()
        far.settimeout(10)
        self._streams = {"pc01": wire.Stream(ours)}
        self.far.append(far)


class Pc01(CarriedAgent):
    def _brief(self) -> dict[str, Any]:
        return {}


class Ear:
    def __init__(self) -> None:
        self.events: list[AgentEvent] = []

    def __call__(self, events: Sequence[AgentEvent]) -> None:
        self.events += events

    def reasons(self) -> list[str]:
        """Why it had no room, in turn; empty: it had."""
        return [each.reason for each in self.events if isinstance(each, CapacityChanged)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]


class Desk:
    """An agent, and the link as the test has it speak."""

    def __init__(self, root: Path) -> None:
        (root / "stage").mkdir(parents=True)
        self.ends = Ends()
        self.ear = Ear()
        self._stream: wire.Stream | None = None
        self._session = 0
        self._heard: list[dict[str, Any]] = []
        settings = AgentConfig(name="lab", kind="ssh", slots=2, give_up_s=0.05)
        reach = Reach(self.ends, "pc01", "pc01")
        self.agent = Pc01(AgentName("lab:pc01"), reach, root, settings, self.ear)

    def serve(self, *work: Launch, given_up: Sequence[Launch] = ()) -> None:
        self.agent.adopt(work, given_up)
        self.until_told("brief")

    def close(self) -> None:
        self.agent.close(0.0)
        for each in self.ends.far:
            each.close()

    # -- the link

    def says(self, tree: dict[str, Any]) -> None:
        self.ends.far[-1].sendall(wire.json_frame(tree))

    def connects(self, *, live: Sequence[Launch] = (), outbox: Sequence[Launch] = ()) -> None:
        self._session += 1
        names = {
            "live": [str(each.attempt) for each in live],
            "outbox": [str(each.attempt) for each in outbox],
        }
        self.says({**HELLO, **names, "session": self._session})
        self.says({"event": "told"})
        wait_until(lambda: self.agent.capacity().slots)

    def breaks(self) -> None:
        self.says(DOWN)
        wait_until(lambda: not self.agent.capacity().slots)

    def until_told(self, verb: str) -> dict[str, Any]:
        """The next order of this kind; those before it are passed over."""
        while True:
            told = self._next()
            if told["do"] == verb:
                return told

    def _next(self) -> dict[str, Any]:
        if not self._heard:
            far = wait_until(lambda: self.ends.far)[-1]
            if self._stream is None or self._stream.fileno() != far.fileno():
                self._stream = wire.Stream(far)
            until = time.monotonic() + 10
            while not self._heard:
                assert time.monotonic() < until, "nothing was told"
                self._heard = [json.loads(payload) for _, payload in self._stream.receive()]
        return self._heard.pop(0)

    def gives_up(self, work: Launch) -> None:
        """The work is launched, the host goes away and stays away."""
        self.connects()
        self.agent.launch([work])
        self.breaks()
        wait_until(lambda: self.ear.of(Lost))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "spool")
    yield made
    made.close()


WORK = a_launch(1)
NAME = str(WORK.attempt)


def ended(work: Launch) -> dict[str, Any]:
    return {"event": "ended", "attempts": [a_report(work)]}


def test_what_was_given_up_may_report_when_its_host_is_back(desk: Desk) -> None:
    desk.serve()
    desk.gives_up(WORK)
    desk.connects(live=[WORK])
    desk.says(ended(WORK))
    wait_until(lambda: desk.ear.of(Reported))


def test_what_was_given_up_is_stopped_when_nobody_wants_it_any_more(desk: Desk) -> None:
    desk.serve()
    desk.gives_up(WORK)
    desk.connects(live=[WORK])
    desk.agent.stop([WORK.attempt], is_wanted=False)
    assert desk.until_told("stop")["attempts"] == [NAME]
    desk.says({"event": "stopped", "attempts": [NAME]})
    assert desk.until_told("release")["attempts"] == [NAME]


def test_what_is_not_wanted_any_more_is_stopped_when_its_host_is_back(desk: Desk) -> None:
    desk.serve()
    desk.gives_up(WORK)
    desk.agent.stop([WORK.attempt], is_wanted=False)
    desk.connects(live=[WORK])
    assert desk.until_told("stop")["attempts"] == [NAME]


def test_what_had_ended_before_it_could_be_stopped_is_told(desk: Desk) -> None:
    desk.serve()
    desk.gives_up(WORK)
    desk.agent.stop([WORK.attempt], is_wanted=False)
    desk.connects(outbox=[WORK])
    desk.says(ended(WORK))
    wait_until(lambda: desk.ear.of(Reported))
    desk.agent.release([WORK.attempt])
    assert desk.until_told("release")["attempts"] == [NAME]


def test_what_its_host_knows_no_more_is_forgotten(desk: Desk) -> None:
    desk.serve()
    desk.gives_up(WORK)
    desk.connects()
    assert desk.until_told("release")["attempts"] == [NAME]


def test_what_an_earlier_daemon_gave_up_may_still_report(desk: Desk) -> None:
    desk.serve(given_up=[WORK])
    desk.connects(live=[WORK])
    desk.says(ended(WORK))
    [report] = wait_until(lambda: desk.ear.of(Reported))
    assert report.attempt == WORK.attempt


def test_a_host_is_told_once_to_drop_a_checkpoint_that_came_damaged(desk: Desk) -> None:
    desk.serve()
    desk.connects()
    desk.says({"event": "damaged", "checkpoints": ["a/0/1-2"], "why": "cut short"})
    assert desk.until_told("drop")["damaged"] == ["a/0/1-2"]
    assert desk.ear.reasons() == [""]


def test_what_nobody_expected_is_told_and_the_link_begins_anew(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.serve()
    desk.connects()
    desk.agent.launch([WORK])
    desk.until_told("launch")
    desk.says({"event": "ended", "attempts": [{"nonsense": 1}]})
    wait_until(lambda: len(desk.ends.far) == 2)
    assert "please report it with the log: KeyError" in desk.ear.reasons()[-1]
    assert "Traceback" in caplog.text
    assert NAME in str(desk.until_told("adopt"))
    desk.connects(live=[WORK])
    desk.says(ended(WORK))
    wait_until(lambda: desk.ear.of(Reported))


def test_a_package_that_is_missing_here_is_told_with_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "paramiko.py").write_text(
        "raise ModuleNotFoundError('No module named paramiko', name='paramiko')"
    )
    ours, theirs = socket.socketpair()
    program = (sys.executable, "-P", "-m", "spoolmw.agents.sshlink", str(os.getpid()))
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', ROOT)}"
    with (
        ours,
        subprocess.Popen(
            [*program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        ) as link,
    ):
        theirs.close()
        stream = wire.Stream(ours)
        try:
            [(_, payload)] = wait_until(stream.receive)
            stream.close()
            assert link.wait(10) == 0
        finally:
            link.kill()
    told = json.loads(payload)
    assert (told["event"], told["fix"]) == ("down", f"{sys.executable} -m pip install paramiko")
