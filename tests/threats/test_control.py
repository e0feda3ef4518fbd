"""Threat 83: what comes over the control socket, from whom and however, harms nobody.

The table says what was, or could be, deadly; the fuzz makes up the rest. For longer by hand:
SPOOLMW_FUZZ_S=600 pytest tests/threats/test_control.py
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from spoolmw.daemon import control
from tests.support.daemon import Daemon, end
from tests.support.waiting import wait_until
from tests.threats.asking import PING, ask, connected, is_well, read_answers, request
from tests.threats.users import MEMBER, STRANGER, acting_as, needs_users, serving

FUZZ_S = float(os.environ.get("SPOOLMW_FUZZ_S", "6"))
CONFIG = (
    '[intake]\nsettle_s = 0\n[agents.local]\nkind = "local"\nslots = 2\n[daemon]\ngrace = 0\n'
)

#: Stands for the id of a task that runs.
RUNNING = "0" * 32
HUGE = int("9" * 400)
SURROGATE = "\ud800"


def nested(depth: int, before: str, after: str) -> bytes:
    return f'{{"v":1,{before}{"[" * depth}{"]" * depth}{after}}}\n'.encode()


#: Requests that are answered, with yes or no. Some of them once ended the daemon.
ANSWERED = {
    "an unknown verb": request("fly"),
    "a verb that cannot be encoded": request(SURROGATE),
    "a number that cannot be encoded": request("ping", number=SURROGATE),
    "a number that is an object": request("ping", number={"a": [1]}),
    "a version that is an object": b'{"v":{},"id":1,"verb":"ping"}\n',
    "another version": b'{"v":2,"id":1,"verb":"ping"}\n',
    "no version": b'{"id":1,"verb":"ping"}\n',
    "no verb": b'{"v":1,"id":1}\n',
    "no object": b"[]\n",
    "nothing": b"\n",
    "no JSON": b"GET / HTTP/1.1\n",
    "no UTF-8": b'{"v":1,"id":"\xff\xfe","verb":"ping"}\n',
    "UTF-16": '{"v":1,"id":1,"verb":"ping"}'.encode("utf-16").replace(b"\n", b"") + b"\n",
    "a number of 5000 digits": b'{"v":1,"id":' + b"9" * 5000 + b',"verb":"ping"}\n',
    "brackets 900 deep": nested(900, '"id":', ',"verb":"ping"'),
    "brackets 100000 deep": nested(100_000, '"id":', ',"verb":"ping"'),
    "arguments 100000 deep": nested(100_000, '"id":1,"verb":"show","args":', ""),
    "arguments that are a list": request("show", []),
    "ids that are no list": request("cancel", {"ids": RUNNING}),
    "ids that are lists": request("hold", {"ids": [[], {}]}),
    "an id that is a list": request("why", {"id": [1]}),
    "an id with NUL": request("show", {"id": "\0"}),
    "a path for an id": request("tail", {"id": "../../etc/passwd"}),
    "a limit below any": request("find", {"limit": -1}),
    "a limit above any": request("find", {"limit": HUGE}),
    "a state that is a list": request("find", {"state": [{}]}),
    "a stream that is a list": request("tail", {"id": RUNNING, "stream": [1]}),
    "a stream that is a path": request("tail", {"id": RUNNING, "stream": "../../x"}),
    "an offset before the beginning": request("tail", {"id": RUNNING, "offset": -(2**62)}),
    "an offset beyond the end": request("tail", {"id": RUNNING, "offset": 2**62}),
    "an offset of 400 digits": request("tail", {"id": RUNNING, "offset": HUGE}),
    "an offset 400 digits back": request("tail", {"id": RUNNING, "offset": -HUGE}),
    "an agent that is a number": request("pause", {"agent": 3}),
    "slots that are true": request("agents_set", {"agent": "local", "slots": True}),
    "no slots at all": request("agents_set", {"agent": "local", "slots": 0}),
    "a priority of 400 digits": request("prio", {"ids": [RUNNING], "priority": HUGE}),
    "an age without end": request("prune", {"results_s": float("inf"), "dry_run": True}),
    "an age that is no number": request("prune", {"story_s": float("nan"), "dry_run": True}),
    "an age that is true": request("prune", {"story_s": True, "dry_run": True}),
    "an id that cannot be encoded": request("show", {"id": SURROGATE}),
    "a name that cannot be encoded": request("find", {"name": SURROGATE}),
    "a limit far below any": request("find", {"limit": -HUGE}),
    "an agent to pause that is a list": request("pause", {"agent": ["local"]}),
    "an agent to resume that is an object": request("resume", {"agent": {"a": 1}}),
    "an agent to set that is a list": request("agents_set", {"agent": ["x"], "slots": 2}),
    "an age of 400 digits": request("prune", {"results_s": HUGE, "dry_run": True}),
    **{
        f"a number {depth} brackets deep": nested(depth, '"id":', f',"verb":"{verb}"')
        for depth, verb in ((985, "ping"), (988, "status"))
    },
}


class Served:
    """A daemon with one running task; it is started again when a request has ended it."""

    def __init__(self, home: Path) -> None:
        self.daemon = Daemon(home, config=CONFIG).start()
        self.daemon.drop("long.sh", "#!/bin/sh\necho here\nexec sleep 600\n")
        [task] = wait_until(self._running, last=self.daemon.log_text)
        self.task = str(task["id"])
        wait_until(self._has_said_something, last=self.daemon.log_text)

    @property
    def spool(self) -> Path:
        return self.daemon.spool

    def _running(self) -> list[Any]:
        [told] = ask(self.spool, request("find", {"state": "running"}))
        return list(told["data"]["tasks"])

    def _has_said_something(self) -> bool:
        [told] = ask(self.spool, request("tail", {"id": self.task}))
        return bool(told["data"]["data"])

    def mend(self) -> None:
        """Start it again where the last request was too much for it."""
        if "Traceback" in self.daemon.log_text() or not is_well(self.spool):
            self.daemon.kill_everything()
            self.daemon.log.rename(f"{self.daemon.log}.{time.monotonic_ns()}")
            self.daemon.start()
            wait_until(self._has_said_something, last=self.daemon.log_text)

    def assert_well(self) -> None:
        """It answers, and nothing went wrong inside."""
        assert is_well(self.spool), self.daemon.log_text()[-3000:]
        assert "Traceback" not in self.daemon.log_text(), self.daemon.log_text()[-3000:]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("control"))
    try:
        yield served
    finally:
        end(served.daemon)


@pytest.fixture
def served(one: Served) -> Served:
    one.mend()
    return one


@pytest.mark.parametrize("name", ANSWERED)
def test_a_strange_request_is_answered_and_nobody_else_notices(
    served: Served, name: str
) -> None:
    line = ANSWERED[name].replace(RUNNING.encode(), served.task.encode())
    [told] = ask(served.spool, line)
    assert told["ok"] or told["error"]["what"]
    served.assert_well()


# -- lines that are none --------------------------------------------------------------------


def test_a_line_without_end_closes_its_connection_and_no_other(served: Served) -> None:
    with connected(served.spool) as other, connected(served.spool) as line:
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                line.sendall(b"x" * (1 << 16))
        assert read_answers(line, 1) == []
        other.sendall(PING)
        assert read_answers(other, 1)[0]["ok"]
    served.assert_well()


def test_a_request_may_come_byte_by_byte_while_others_are_served(served: Served) -> None:
    with connected(served.spool) as slow:
        for byte in PING[:-1]:
            slow.sendall(bytes([byte]))
        served.assert_well()
        slow.sendall(b"\n")
        assert read_answers(slow, 1)[0]["ok"]


def test_whoever_hangs_up_before_the_answer_costs_nothing(served: Served) -> None:
    for _ in range(50):
        with connected(served.spool) as line:
            line.sendall(request("status") * 20)
    served.assert_well()


def test_whoever_never_reads_is_cut_off_before_the_memory_is_full(served: Served) -> None:
    many = request("find", {"limit": 10_000}) * 1000
    with connected(served.spool, timeout_s=1) as line:
        with contextlib.suppress(OSError):
            for _ in range(100):
                line.sendall(many)
        served.assert_well()
    status = Path(f"/proc/{served.daemon.pid}/status").read_text()
    [resident_kb] = [int(row.split()[1]) for row in status.splitlines() if "VmRSS" in row]
    assert resident_kb < 300_000


def test_a_half_line_that_does_not_grow_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "IDLE_S", 0.1)
    server = control.ControlServer(tmp_path / "control.sock", lambda request: None)
    server.start()
    try:
        with connected(tmp_path) as line, connected(tmp_path) as other:
            line.sendall(PING[:-3])
            line.setblocking(False)
            wait_until(lambda: other.send(b"\n") and _is_hung_up(line))
    finally:
        server.close()


def _is_hung_up(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_crowd_that_says_nothing_keeps_nobody_out(served: Served) -> None:
    with contextlib.ExitStack() as crowd:
        for _ in range(control.MAX_CLIENTS):
            crowd.enter_context(connected(served.spool))
        assert is_well(served.spool)


def test_after_a_crowd_has_gone_the_next_one_is_served(served: Served) -> None:
    with contextlib.ExitStack() as crowd:
        for _ in range(2 * control.MAX_CLIENTS):
            line = crowd.enter_context(connected(served.spool))
            with contextlib.suppress(ConnectionError):  # there are too many already
                line.sendall(PING[:-1])
    wait_until(lambda: is_well(served.spool), last=served.daemon.log_text)
    served.assert_well()


# -- made up --------------------------------------------------------------------------------

READS = ["ping", "status", "show", "find", "why", "tail", "agents", "stats", "votes", "hosts"]
TASKS = ["cancel", "hold", "release", "retry", "prio", "adjudicate"]
PLACES = ["pause", "resume", "drain", "agents_set", "prune", "reload"]
VERBS = READS + TASKS + PLACES  # all but "stop", which is obeyed
ARGS = [
    *(
        "id",
        "ids",
        "key",
        "name",
        "box",
        "state",
        "limit",
        "offset",
        "stream",
        "agent",
        "slots",
    ),
    *("intake", "priority", "waiting_only", "results_s", "story_s", "dry_run"),
    *("accept", "more", "fail", "host"),
]
_texts = st.one_of(
    st.sampled_from(["", "local", "stdout", "queued", RUNNING, "../..", "\x1b[2J", "x" * 9999]),
    st.text(max_size=20),
    st.just(SURROGATE),
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    _texts,
    st.sampled_from([HUGE, -HUGE]),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


def _args(tree: dict[str, Any]) -> dict[str, Any]:
    # What is pruned is gone, and an agent with thousands of slots is another story.
    tree["dry_run"] = True
    if isinstance(tree.get("slots"), int) and tree["slots"] > 8:
        tree["slots"] = 8
    return tree


_requests = st.builds(
    request,
    st.sampled_from(VERBS) | _values.filter(lambda verb: verb != "stop"),
    st.dictionaries(st.sampled_from(ARGS), _values, max_size=4).map(_args) | _scalars,
    _values,
)


def _damaged(line: bytes, at: int, byte: int) -> bytes:
    return line[: at % len(line)] + bytes([byte]) + line[at % len(line) + 1 :]


_lines = st.one_of(
    _requests,
    _requests,
    st.builds(_damaged, _requests, st.integers(0, 500), st.integers(0, 255)),
    st.binary(max_size=100),
    st.binary(max_size=100).map(lambda data: data + b"\n"),
    _values.map(lambda value: json.dumps(value).encode() + b"\n"),
    st.builds(lambda line, size: line[:size], _requests, st.integers(0, 60)),
)
_sessions = st.lists(st.lists(_lines, max_size=8), min_size=1, max_size=5)


def test_no_made_up_session_ends_or_blocks_the_daemon(served: Served) -> None:
    until = time.monotonic() + FUZZ_S

    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to make an example smaller takes a daemon for each try
        suppress_health_check=list(HealthCheck),
    )
    @given(_sessions, st.booleans())
    def session(connections: list[list[bytes]], reads: bool) -> None:
        with contextlib.ExitStack() as opened:
            for lines in connections:
                line = opened.enter_context(connected(served.spool))
                with contextlib.suppress(ConnectionError):
                    line.sendall(
                        b"".join(lines).replace(RUNNING.encode(), served.task.encode())
                    )
                if reads:
                    line.settimeout(0.002)
                    with contextlib.suppress(OSError):
                        line.recv(1 << 16)
        [told] = ask(served.spool, PING)
        assert told["ok"]

    for number in itertools.count():
        seed(number)(session)()
        if time.monotonic() > until:
            break
    served.assert_well()


# -- from whom ------------------------------------------------------------------------------


@needs_users
def test_a_stranger_cannot_even_connect_and_a_member_may_look_but_change_nothing() -> None:
    with serving() as lab:
        with acting_as(STRANGER), pytest.raises(PermissionError):
            ask(lab.spool, PING)
        with acting_as(MEMBER):
            lab.drop("long.sh", "#!/bin/sh\nexec sleep 600\n")
        running = wait_until(lambda: [t for t in _tasks(lab) if t["slot"]], last=lab.log_text)
        [task] = running
        with acting_as(MEMBER):
            for verb in ("ping", "status", "agents", "find", "stats", "hosts"):
                assert ask(lab.spool, request(verb))[0]["ok"], verb
            for verb in ("show", "why", "tail"):
                assert ask(lab.spool, request(verb, {"id": task["id"]}))[0]["ok"], verb
            for verb in [*TASKS, *PLACES, "stop"]:
                [told] = ask(lab.spool, request(verb, {"ids": [task["id"]], "agent": "local"}))
                assert told["error"]["type"] == "NotAllowed", verb
        [now] = _tasks(lab)
        assert now == task | {"updated_at": now["updated_at"]}
        assert ask(lab.spool, request("cancel", {"ids": [task["id"]]}))[0]["ok"]


def _tasks(daemon: Daemon) -> list[dict[str, Any]]:
    [told] = ask(daemon.spool, request("find", {"state": "running"}))
    return list(told["data"]["tasks"])


@needs_users
def test_without_a_group_nobody_else_can_connect() -> None:
    with serving(group="") as private, acting_as(MEMBER), pytest.raises(PermissionError):
        ask(private.spool, PING)
