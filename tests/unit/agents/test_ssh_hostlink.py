"""How a host that cannot be used is tried again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.carrier.frames import DaemonSide, Frames
from spoolmw.agents.sshlink import hostlink
from spoolmw.agents.sshlink.examine import examine
from spoolmw.agents.sshlink.hostlink import HostLink
from spoolmw.config import AgentConfig
from spoolmw.format.hosts import HostName
from spoolmw.runner import wire


class Agent:
    """The daemon's end of a link."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(20)
        self._frames = Frames()
        self._heard: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._serve, args=(theirs,))
        self._thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(wire.Closed):
            HostLink(sock).run()

    def say(self, tree: dict[str, Any]) -> None:
        self.sock.sendall(wire.json_frame(tree))

    def hears(self) -> dict[str, Any]:
        while not self._heard:
            data = self.sock.recv(1 << 16)
            assert data, "the link is gone"
            frames = self._frames.feed(data)
            self._heard += [json.loads(payload) for _, payload in frames]
        return self._heard.pop(0)

    def close(self) -> None:
        self.sock.close()
        self._thread.join(20)
        assert not self._thread.is_alive(), "a link ends with its daemon"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """One whose host has nobody at its port."""
    monkeypatch.setattr(hostlink, "FIRST_PAUSE_S", 0.01)
    config = tmp_path / "config"
    config.write_text("")
    made = Agent()
    brief = {"host": ["127.0.0.1", 1, ""], "root": str(tmp_path), "space": "x", "setup": {}}
    made.say({"do": "brief", "brief": {**brief, "ssh_config": str(config)}})
    yield made
    made.close()


def test_it_says_what_is_wrong_and_tries_again_later_each_time(agent: Agent) -> None:
    told = [agent.hears() for _ in range(4)]
    assert {each["event"] for each in told} == {"down"}
    assert [each["failures"] for each in told] == [1, 2, 3, 4]
    assert "refused" in told[0]["why"]
    assert told[0]["stage"] == "address"
    for number, each in enumerate(told):
        whole = 0.01 * 2**number
        assert 0.7 * whole <= each["again_s"] <= whole
        assert not each["paused"]


def test_after_five_failures_it_is_paused_and_a_hurry_ends_the_pause(agent: Agent) -> None:
    told = [agent.hears() for _ in range(5)][-1]
    assert told["paused"]
    assert told["again_s"] > 100
    agent.say({"do": "hurry"})
    assert agent.hears()["failures"] == 6


def test_what_is_said_meanwhile_needs_no_connection(agent: Agent) -> None:
    work = [[{}, [f"{'0' * 32}.0.1\ntoken\nactive/00/x"]]]
    agent.say({"do": "adopt", "work": work})
    agent.say({"do": "launch", "work": work, "session": 1})
    agent.say({"do": "release", "attempts": ["x"]})
    assert agent.hears()["event"] == "down"


def test_what_was_held_is_known_before_the_brief_and_odd_troubles_are_the_hosts_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostlink, "FIRST_PAUSE_S", 0.01)
    config = tmp_path / "config"
    config.write_text("CanonicalizeHostname yes\nCanonicalizeMaxDots many\n")
    made = Agent()
    try:
        made.say({"do": "adopt", "work": []})
        brief = {"host": ["127.0.0.1", 1, ""], "root": str(tmp_path), "space": "x", "setup": {}}
        made.say({"do": "brief", "brief": {**brief, "ssh_config": str(config)}})
        told = [made.hears() for _ in range(2)]
        assert [each["failures"] for each in told] == [1, 2]
        assert "ValueError" in told[0]["why"]
    finally:
        made.close()


def test_a_host_with_an_odd_trouble_has_a_row_in_the_table(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("CanonicalizeHostname yes\nCanonicalizeMaxDots many\n")
    settings = AgentConfig(name="lab", kind="ssh", hosts=("pc01",), ssh_config=str(config))
    found = examine(HostName("pc01", 0, ""), settings, tmp_path)
    assert (found["ok"], found["stage"]) == (False, "link")
    assert "ValueError" in found["why"]


def test_a_socket_with_a_high_number_is_heard_too() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2000:
        pytest.skip("no more than 2000 files may be open here")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2000, before[0]), most))
    ours, theirs = socket.socketpair()
    try:
        high = socket.socket(fileno=fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 1500))
        with ours, theirs, high:
            ours.sendall(wire.json_frame({"do": "hurry"}))
            assert DaemonSide(high).hear(5.0) == [{"do": "hurry"}]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_pauses_grow_to_a_minute_and_then_to_five() -> None:
    for failures, whole in ((1, 1), (2, 2), (4, 8), (5, 300), (50, 300)):
        assert 0.7 * whole <= hostlink._pause_s(failures) <= whole
