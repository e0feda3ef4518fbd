"""Ends of outputs that are asked for from afar: who asks waits a moment, or asks again."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterable
from typing import Any

from spoolmw.runner import wire

_WAIT_S = 0.05  #: for an answer; the daemon asks beside its reactor, in a few threads
_MOST = 64  #: answers that nobody has come for

Key = tuple[str, int, str]


class Tails:
    """Questions under way and answers that have come. Its owner holds the lock at each call."""

    def __init__(self, lock: threading.Lock) -> None:
        self._answers: dict[Key, bytes] = {}
        self._asked: dict[int, Key] = {}
        self._news = threading.Condition(lock)

    def wanted(self, attempt: str, offset: int, stream: str) -> dict[str, Any] | None:
        """What the host must be asked; None when it was asked already."""
        key = (attempt, offset, stream)
        if key in self._answers or key in self._asked.values():
            return None
        number = secrets.randbits(48)
        self._asked[number] = key
        told = {"attempt": attempt, "offset": offset, "stream": stream}
        return {"do": "tail", "ask": number, **told}

    def await_answer(self, attempt: str, offset: int, stream: str) -> bytes:
        """The answer, once; empty when it does not come in time."""
        key = (attempt, offset, stream)
        self._news.wait_for(lambda: key in self._answers, _WAIT_S)
        return self._answers.pop(key, b"")

    def take(self, number: object, data: bytes) -> None:
        """An answer came; to a question that nobody asked there is none."""
        key = self._asked.pop(number, None) if isinstance(number, int) else None
        if key is None:
            return
        while len(self._answers) >= _MOST:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = data
        self._news.notify_all()

    def forget(self) -> None:
        """The connection is gone, and the questions with it."""
        self._asked.clear()


class Paired:
    """Puts the bytes that follow a header into it."""

    def __init__(self) -> None:
        self._head: dict[str, Any] | None = None

    def pair(self, frames: Iterable[wire.Frame]) -> list[dict[str, Any]]:
        """The trees that are complete; bytes stand in them as `data`."""
        found: list[dict[str, Any]] = []
        for kind, payload in frames:
            if kind == wire.BYTES and self._head is not None:
                found.append({**self._head, "data": payload})
                self._head = None
                continue
            tree = json.loads(payload)
            if tree.get("bytes") and tree["event"] == "tail":
                self._head = tree
            else:
                found.append(tree)
        return found
