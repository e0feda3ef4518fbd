"""What the runner has to say to its agent: gathered during a turn, sent at its end.

Reports of workers go out as the bytes that they came as: nothing is parsed on the way.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from . import wire
from .order import CHECKPOINTED, PROGRESS, RESUMED

#: News of running attempts, by the first byte of a worker's packet, as the agent is told of them.
_NEWS = {RESUMED[0]: "resumed", CHECKPOINTED[0]: "checkpointed", PROGRESS[0]: "progress"}


class Outbox:
    """News for the agent, by their sort."""

    def __init__(self, stream: wire.Stream) -> None:
        self._stream = stream
        self._ended: List[bytes] = []
        self._news: List[Tuple[int, bytes]] = []
        self.started: List[Dict[str, Any]] = []
        self.usage: List[Dict[str, Any]] = []
        self.stopped: List[str] = []

    def __len__(self) -> int:
        return len(self._ended)

    def forward(self, raw: bytes) -> None:
        """A worker's own report."""
        self._ended.append(raw)

    def news(self, packet: bytes) -> None:
        """What a worker says of the attempt that it runs."""
        if packet[0] in _NEWS:
            self._news.append((packet[0], packet[1:]))

    def report(self, told: Dict[str, Any]) -> None:
        """A report that the runner makes itself."""
        self._ended.append(wire.encode(told))

    def say(self, tree: Dict[str, Any]) -> None:
        """Send something at once."""
        self._stream.send(wire.json_frame(tree))

    def flush(self) -> None:
        """Send all there is; an end goes last, so that nothing follows what it is about."""
        if self.started:
            self.say({"event": "started", "attempts": self.started})
            self.started = []
        if self.usage:
            self.say({"event": "usage", "attempts": self.usage})
            self.usage = []
        for first, raw in self._news:
            self._say_raw(_NEWS[first], raw)
        self._news.clear()
        if self._ended:
            self._say_raw("ended", b",".join(self._ended))
            self._ended = []
        if self.stopped:
            self.say({"event": "stopped", "attempts": self.stopped})
            self.stopped = []
        if self._stream.unsent:
            self._stream.flush()

    def _say_raw(self, event: str, attempts: bytes) -> None:
        head = b'{"event":"%s","attempts":[' % event.encode()
        self._stream.send(wire.frame(head + attempts + b"]}"))
