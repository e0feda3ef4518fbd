"""A session with keepers that are not ours: a socket stands for the way, a test for the host."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.carrier import hearing
from spoolmw.agents.carrier.book import Book
from spoolmw.agents.carrier.session import Session
from spoolmw.agents.carrier.trouble import HostTrouble
from spoolmw.runner import wire
from tests.support.waiting import wait_until

TASK = "0123456789abcdef" * 2
ATTEMPT, TOKEN = f"{TASK}.0.1", "a" * 32
BODY = b"a result" * 100
HELLO = {
    "event": "hello",
    "cores": 2,
    "memory": 1 << 30,
    "host": "pc01",
    "machine": "m",
    "python": "3.11.2",
    "platform": "linux-x86_64",
    "clock": 1.0,
    "live": [],
    "outbox": [],
    "inputs": [],
    "pythons": {},
}


class Way:
    """A way to a keeper that runs over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.send, self.recv = sock.send, sock.recv
        self.settimeout, self.close = sock.settimeout, sock.close

    def said(self) -> str:
        return ""


class Far:
    """The host's side, and the session that believes it or not."""

    def __init__(self, root: Path) -> None:
        for name in ("stage", "active", "checkpoints"):
            (root / name).mkdir(parents=True)
        self.root = root
        self.ours, self.sock = socket.socketpair()
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()
        self.book = Book()
        self._way = Way(self.ours)

    def begin(self, hello: dict[str, Any] | None = None) -> Session:
        self.say(HELLO if hello is None else hello)
        made = Session(self._way, {"agent": "x"}, str(self.root), self.book, self._tell)
        list(self.book.enter([[{}, [f"{ATTEMPT}\n{TOKEN}\nactive/ef/{TASK}~~t"]]]))
        made.start()
        return made

    def _tell(self, tree: dict[str, Any], data: bytes = b"") -> None:
        self.told.put({**tree, "data": data})

    def say(self, tree: Any, *data: bytes) -> None:
        self.raw(
            wire.json_frame(tree) + b"".join(wire.frame(each, wire.BYTES) for each in data)
        )

    def raw(self, data: bytes) -> None:
        threading.Thread(target=self._send, args=(data,), daemon=True).start()

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def hears(self) -> dict[str, Any]:
        return self.told.get(timeout=10)


def report(body: bytes = BODY, **changes: Any) -> dict[str, Any]:
    return {
        "attempt": ATTEMPT,
        "token": TOKEN,
        "started": 1.0,
        "ended": 2.0,
        "cpu_s": 0.0,
        "memory_bytes": 0,
        "outcome": "success",
        "cause": "finished",
        "body_bytes": len(body),
        "digest": hashlib.sha256(body).hexdigest(),
        **changes,
    }


def ended(*reports: dict[str, Any]) -> dict[str, Any]:
    total = sum(each["body_bytes"] for each in reports)
    return {"event": "ended", "attempts": list(reports), "bytes": total}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path / "spool")
    yield made
    made.sock.close()
    made.ours.close()


def fails(session: Session) -> HostTrouble:
    """How the session ends."""
    wait_until(lambda: session.is_over, timeout_s=20)
    why = session.close()
    assert isinstance(why, HostTrouble)
    return why


def test_a_result_stands_whole_in_stage_when_its_report_is_told(far: Far) -> None:
    session = far.begin()
    far.say(ended(report()), BODY[:7], BODY[7:])
    assert far.hears()["attempts"] == [report()]
    assert (far.root / "stage" / ATTEMPT).read_bytes() == BODY
    session.close()


def test_the_same_report_again_is_not_told_again(far: Far) -> None:
    session = far.begin()
    far.say(ended(report()), BODY)
    far.hears()
    (far.root / "stage" / ATTEMPT).unlink()
    far.say(ended(report()), BODY)
    far.say({"event": "stopped", "attempts": []})
    assert far.hears()["event"] == "stopped"
    assert not (far.root / "stage" / ATTEMPT).exists(), "it may have been delivered meanwhile"
    session.close()


def test_a_report_that_came_is_not_lost_when_it_comes_again_and_there_is_no_room(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its host would be released from it, and its result here would be thrown away."""
    session = far.begin()
    far.say(ended(report()), BODY)
    far.hears()
    monkeypatch.setattr(hearing, "_LARGE_BYTES", 1)
    monkeypatch.setattr(hearing, "_SPARE_BYTES", 1 << 60)
    far.say(ended(report()), BODY)
    far.say({"event": "stopped", "attempts": []})
    assert far.hears()["event"] == "stopped"
    assert (far.root / "stage" / ATTEMPT).read_bytes() == BODY
    session.close()


def test_a_report_that_nobody_waits_for_writes_nothing(far: Far) -> None:
    session = far.begin()
    other = f"{'f' * 32}.0.1"
    far.say(ended(report(attempt=other)), BODY)
    assert far.hears() == {"event": "unknown", "attempts": [other], "data": b""}
    assert list((far.root / "stage").iterdir()) == []
    session.close()


def test_a_result_with_another_digest_is_a_loss_that_the_host_is_to_blame_for(far: Far) -> None:
    session = far.begin()
    far.say(ended(report(digest="0" * 64)), BODY)
    [told] = far.hears()["attempts"]
    assert (told["outcome"], told["blame"]) == ("lost", "host")
    assert list((far.root / "stage").iterdir()) == []
    assert "another digest" in fails(session).why
    assert session.is_garbage


def test_the_files_of_a_result_that_does_not_count_go_with_it(far: Far) -> None:
    session = far.begin()
    far.say({"event": "files", "attempt": ATTEMPT, "files": [["x", 0, 3]], "bytes": 3}, b"abc")
    wait_until((far.root / "stage" / f"{ATTEMPT}.files" / "x").exists)
    far.say(ended(report(digest="0" * 64, files=True)), BODY)
    [told] = far.hears()["attempts"]
    assert (told["outcome"], told["files"], told["body_bytes"]) == ("lost", False, 0)
    assert list((far.root / "stage").iterdir()) == []
    fails(session)


def test_a_result_with_anothers_token_ends_the_connection(far: Far) -> None:
    session = far.begin()
    far.say(ended(report(token="b" * 32)), BODY)
    assert "token" in fails(session).why
    assert list((far.root / "stage").iterdir()) == []


def test_a_result_that_stops_in_the_middle_leaves_nothing(far: Far) -> None:
    session = far.begin()
    far.say(ended(report()), BODY[:100])
    wait_until((far.root / "stage" / ATTEMPT).exists)
    far.sock.close()
    fails(session)
    assert list((far.root / "stage").iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"Welcome to Ubuntu! 16 updates are available.\n" * 100,
        wire.frame(b"x", wire.BYTES),
        wire.frame(b"not json"),
        wire.frame(b"[1]"),
        wire.frame(b"[" * 100_000),
        wire.json_frame({"event": "nonsense"}),
        wire.json_frame({"event": ["ended"]}),
        wire.json_frame({"event": "ended"}),
        wire.json_frame({**ended(report()), "bytes": 1}),
        wire.json_frame(ended(report())) + wire.frame(BODY + b"x", wire.BYTES),
        wire.json_frame(ended(report())) + wire.json_frame(ended(report())),
        wire.json_frame(ended(report(), report())),
        wire.json_frame(ended(report(outcome="stopped"))),
        wire.json_frame(ended(report(ended=10**400))),
        wire.json_frame(
            {"event": "files", "attempt": ATTEMPT, "files": [["../x", 0, 1]], "bytes": 1}
        ),
        wire.json_frame(
            {
                "event": "files",
                "attempt": ATTEMPT,
                "files": [["x", 0, 1 << 35]],
                "bytes": 1 << 35,
            }
        ),
        wire.json_frame({"event": "files", "attempt": "../x", "files": [], "bytes": 0}),
        wire.json_frame({"event": "tail", "ask": 1, "bytes": 1 << 30}),
        wire.json_frame({"event": "error", "why": "no"}),
    ],
    ids=lambda data: repr(data[5:45]),
)
def test_what_no_keeper_says_ends_the_connection(far: Far, data: bytes) -> None:
    session = far.begin()
    far.raw(data)
    assert fails(session).what
    assert list((far.root / "stage").rglob("*")) == []
    assert not (far.root / "x").exists()


@pytest.mark.parametrize("change", [{"cores": "many"}, {"live": ["x"]}, {"clock": None}])
def test_a_hello_that_is_none_is_refused(far: Far, change: dict[str, Any]) -> None:
    with pytest.raises(HostTrouble, match="no keeper says"):
        far.begin({**HELLO, **change})


def test_a_refusal_is_told_in_the_keepers_own_words(far: Far) -> None:
    refusal = {"event": "refused", "what": "the disk is full", "why": "0 B", "fix": "make room"}
    with pytest.raises(HostTrouble, match="the disk is full") as caught:
        far.begin(refusal)
    assert caught.value.fix == "make room"


def test_files_come_before_their_report_and_links_cannot_be_followed(far: Far) -> None:
    session = far.begin()
    files = [["out/a", 0o644, 3], ["run.sh", 0o755, 2], ["empty", 0o600, 0]]
    far.say({"event": "files", "attempt": ATTEMPT, "files": files, "bytes": 5}, b"abcde")
    far.say(ended(report(files=True)), BODY)
    far.hears()
    folder = far.root / "stage" / f"{ATTEMPT}.files"
    found = {
        str(each.relative_to(folder)): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file()
    }
    assert found == {"out/a": b"abc", "run.sh": b"de", "empty": b""}
    assert (folder / "run.sh").stat().st_mode & 0o100
    assert not (folder / "out/a").stat().st_mode & 0o100
    session.close()


def test_a_checkpoint_that_does_not_verify_is_refused_alone(far: Far) -> None:
    session = far.begin()
    told = {"attempt": ATTEMPT, "sequence": 1, "bytes": 3, "saved_at": 1.0}
    files = [["data", 3], ["MANIFEST", 2]]
    far.say({"event": "checkpointed", "attempts": [told], "files": files, "bytes": 5}, b"abc{}")
    heard = far.hears()
    assert (heard["event"], heard["checkpoints"]) == ("damaged", [f"{TASK}/0/1-1"])
    assert list((far.root / "checkpoints").rglob("*-*")) == []
    far.say(ended(report()), BODY)
    assert far.hears()["event"] == "ended", "the host is believed as before"
    session.close()


def test_a_result_that_the_disk_has_no_room_for_is_not_taken(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolmw.agents.carrier.hearing._LARGE_BYTES", 100)
    monkeypatch.setattr("spoolmw.agents.carrier.hearing._SPARE_BYTES", 1 << 60)
    session = far.begin()
    far.say(ended(report()), BODY)
    [told] = far.hears()["attempts"]
    assert (told["outcome"], told["blame"], told["counts"]) == ("lost", "host", True)
    assert "no room for its result" in told["message"]
    assert list((far.root / "stage").iterdir()) == []
    far.say({"event": "tail", "ask": 7, "bytes": 5}, b"hello")
    assert far.hears()["event"] == "tail", "the host is in use as before"
    session.close()


def test_a_tail_comes_with_the_number_of_its_question(far: Far) -> None:
    session = far.begin()
    far.say({"event": "tail", "ask": 7, "bytes": 5}, b"hello")
    assert far.hears() == {"event": "tail", "ask": 7, "bytes": 5, "data": b"hello"}
    session.close()


def test_a_silent_host_is_given_up(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoolmw.agents.carrier.session.SILENCE_S", 1.5)
    session = far.begin()
    assert "silent" in fails(session).what


def test_a_host_that_takes_a_long_file_slowly_is_not_silent(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolmw.agents.carrier.session.SILENCE_S", 1.0)
    monkeypatch.setattr("spoolmw.agents.carrier.session.PING_S", 0.1)
    session = far.begin()
    task = far.root / "active/ef" / f"{TASK}~~t"
    task.parent.mkdir()
    task.write_bytes(bytes(6 << 20))
    taken = threading.Thread(target=take_slowly, args=(far.sock, 7 << 20), daemon=True)
    taken.start()
    work = [[{}, [f"{TASK}.0.2\n{TOKEN}\nactive/ef/{TASK}~~t"]]]
    session.obey({"do": "launch", "work": work})
    assert not session.is_over, "it took some of the file all the time"
    assert "silent" in fails(session).what, "now it takes nothing more, and says nothing"


def take_slowly(sock: socket.socket, size: int) -> None:
    """Take so many bytes in about three seconds."""
    with contextlib.suppress(OSError):
        while size > 0:
            size -= len(sock.recv(64 << 10))
            time.sleep(0.03)


def test_what_the_host_has_is_swept_while_more_comes(far: Far) -> None:
    session = far.begin()
    stop = threading.Event()
    thread = threading.Thread(target=remember, args=(session, stop))
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(20):
            for number in range(2000):
                session.giver.saved(TASK, f"9{number:05d}")
            session.giver.unused()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    session.close()


def remember(session: Session, stop: threading.Event) -> None:
    """As the thread that hears does."""
    number = 0
    while not stop.is_set():
        number += 1
        session.giver.saved(TASK, str(number % 2000))


def test_the_setup_is_the_first_word(far: Far) -> None:
    session = far.begin()
    far.sock.settimeout(10)
    data = far.sock.recv(4096)
    assert json.loads(data[5:])["do"] == "setup"
    session.close()
