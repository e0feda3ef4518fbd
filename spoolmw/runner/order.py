"""What a worker is told, one packet for one attempt, and how its own packets begin.

Three lines of text (attempt, token, path of the task's file) and, for what is not plain, one
line of JSON with the rest. The agent writes the lines, the runner adds the JSON, the worker reads.
Behind the path of an array stands, after a NUL each, which element it is: position, index, line.
"""

from __future__ import annotations

import json
from typing import Any, Dict, NamedTuple, Optional, Tuple

DEFAULT_OUTPUT_BYTES = 1_000_000_000
DEFAULT_EVERY_S = 600.0  #: between two checkpoints
MAX_PACKET = 64 << 10  #: bytes
WORKER_FD = 3  #: a worker's socket
#: First byte of a packet from a worker: news of itself or of the attempt at hand, or (a digit)
#: the flags of a report.
HELLO = b"h"  #: it is ready
SAVES = b"s"  #: the attempt at hand saves its progress: TERM gives it time for it
RESUMED = b"r"
CHECKPOINTED = b"c"
PROGRESS = b"p"
WORN = 1  #: the worker wants to be replaced
LOST = 2  #: the attempt has no result
FLAGS = (b"0", b"1", b"2", b"3")


class Element:
    """Which part of an array an attempt is for; `line` is of the array's file."""

    __slots__ = ("index", "line", "position")

    def __init__(self, position: int, index: int, line: Optional[str] = None) -> None:
        self.position = position
        self.index = index
        self.line = line


class Order(NamedTuple):
    """One attempt to run, as a worker gets it."""

    attempt: str
    token: str
    path: str  #: of the task's file, relative to the spool
    memory: int = 0  #: bytes; 0: no limit
    output: int = DEFAULT_OUTPUT_BYTES
    cpus: int = 1
    devices: Tuple[str, ...] = ()  #: gpus
    since: int = 0  #: checkpoints of attempts below this number do not count
    #: What its [checkpoint] says: every (seconds) and, for a command, exit_code and files.
    checkpoint: Optional[Dict[str, Any]] = None
    element: Optional[Element] = None
    #: Of a validation, which compares results instead of running the task: see `validation`.
    judge: Optional[Dict[str, Any]] = None


def parse(packet: bytes) -> Order:
    """Read a packet of our own runner."""
    lines = packet.decode().split("\n", 3)
    path, element = split(lines[2])
    if len(lines) == 3:
        return Order(lines[0], lines[1], path, element=element)
    extra: Dict[str, Any] = json.loads(lines[3])
    return Order(
        lines[0],
        lines[1],
        path,
        element=element,
        memory=extra.get("memory", 0),
        output=extra.get("output", DEFAULT_OUTPUT_BYTES),
        cpus=extra.get("cpus", 1),
        devices=tuple(extra.get("devices", ())),
        since=extra.get("since", 0),
        checkpoint=extra.get("checkpoint"),
        judge=extra.get("judge"),
    )


def lines(attempt: str, token: str, path: str, element: Optional[Element] = None) -> str:
    """The part of a packet that every attempt has."""
    if element is None:
        return f"{attempt}\n{token}\n{path}"
    line = "" if element.line is None else f"\0{element.line}"
    return f"{attempt}\n{token}\n{path}\0{element.position}\0{element.index}{line}"


def split(path: str) -> Tuple[str, Optional[Element]]:
    """The path of the third line, and the element behind it."""
    if "\0" not in path:
        return path, None
    path, position, index, *line = path.split("\0")
    return path, Element(int(position), int(index), line[0] if line else None)


def name_of(header: Dict[str, Any], element: Optional[Element]) -> str:
    """What the task of an attempt is called; an element bears its index."""
    name: str = header.get("name") or ""
    return name if element is None else f"{name}.{element.index}"


def attempt_of(packet: str) -> str:
    """Which attempt a packet is for."""
    return packet[: packet.index("\n")]
