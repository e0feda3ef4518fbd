"""What a worker is given and what is taken back from it, while it takes orders of its own accord."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.runner import order
from spoolmw.runner.attempt import Attempt, Kind
from spoolmw.runner.crew import Member, Place

NAMES = [f"{number:032x}.0.1" for number in range(4)]


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    """A worker that never takes an order by itself: the test takes them in its place."""
    (tmp_path / "tmp" / "output").mkdir(parents=True)
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("import time\ntime.sleep(3600)\n")
    made = Member(
        "local-1", sys.executable, Place(str(tmp_path), str(sleeper), {}, 0o27, "local")
    )
    yield made
    made.kill()
    made.bury()
    made.close()


def give(member: Member) -> list[Attempt]:
    attempts = [Attempt(order.lines(name, "t" * 32, "active/x"), Kind({})) for name in NAMES]
    assert all(member.give(each, now=0.0) for each in attempts)
    return attempts


class WorkersTurn:
    """The worker's end of the socket, where the worker is quicker once than who takes back."""

    def __init__(self, held: socket.socket) -> None:
        self._held = held
        self.began: list[str] = []

    def recv(self, size: int, flags: int) -> bytes:
        packet = self._held.recv(size, flags)
        if not self.began:
            self.began.append(order.attempt_of(self._held.recv(size).decode()))
        return packet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)


def test_what_nobody_began_is_taken_back_whole_and_in_order(member: Member) -> None:
    attempts = give(member)
    assert member.take_back() == attempts
    assert not member.sent


def test_what_the_worker_takes_meanwhile_stays_its_own(member: Member) -> None:
    attempts = give(member)
    turn = WorkersTurn(member._held)
    member._held = turn  # type: ignore[assignment]
    back = member.take_back()
    assert turn.began == [NAMES[1]]
    assert [each.id for each in member.sent] == turn.began
    assert back == [attempts[0], *attempts[2:]]


def test_a_worker_is_gone_with_its_files_when_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "output").mkdir(parents=True)
    member = Member("local-2", sys.executable, Place(str(tmp_path), "-", {}, 0o27, "local"))
    assert Path(member.output("stdout")).exists()
    member.kill()
    assert os.WIFSIGNALED(member.bury().status)
    member.close()
    assert not Path(member.output("stdout")).exists()
