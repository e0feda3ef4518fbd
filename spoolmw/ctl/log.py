"""The verb `log`: what a task wrote, while it runs and afterwards."""

from __future__ import annotations

import base64
import sys
import time
from dataclasses import dataclass
from typing import Any

import click

from spoolmw.ctl.delivered import STREAMS, delivery_of
from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.session import Session
from spoolmw.ctl.show import task_record
from spoolmw.ctl.verb import verb
from spoolmw.ctl.wait import PATIENCE_S
from spoolmw.ctl.words import FINAL_STATES
from spoolmw.errors import NotServed, ResultGone, SpoolmwError
from spoolmw.format.names import escape

#: Seconds between looks at a running task's output.
LOOK_S = 0.25
#: How much of what was printed is remembered, to find where a call's kept tail goes on.
REMEMBERED = 16_384


@verb(
    "log",
    examples="""
    spoolmw-ctl log fold-17
    spoolmw-ctl log -f fold-17
    spoolmw-ctl log --stderr fold-17
    spoolmw-ctl log -f --replica 1 fold-17
    """,
)
@click.argument("task", type=TASK)
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@click.option(
    "--replica",
    type=click.IntRange(0),
    metavar="N",
    help="Of a vote; else the first that runs.",
)
@click.option("--stderr", "stream", flag_value="stderr", help="What it writes to stderr.")
@click.option("--stdout", "stream", flag_value="stdout", default=True, help="(default)")
def log_verb(
    session: Session, *, task: str, follow: bool, replica: int | None, stream: str | None
) -> None:
    """Print the output of a task, running or ended.

    Of a Python call that has ended only the last 8 KiB are kept. (The story of a task is in
    `show --story`.)
    """
    [task_id] = pick(session, [task], newest=True)
    log = Log(session, task_id, STREAMS[stream == "stderr"], replica)
    try:
        if follow:
            log.follow()
        else:
            log.once()
    finally:
        log.close()


@dataclass(frozen=True, slots=True)
class _Piece:
    data: bytes
    attempt: int


class Log:
    """Prints one stream of one task, each byte once."""

    def __init__(
        self, session: Session, task_id: str, stream: str, replica: int | None = None
    ) -> None:
        self._session = session
        self._id = task_id
        self._stream = stream
        self._replica = replica  #: of several it stays with the one that it began with
        self._control = session.control()
        self._attempt = 0
        self._offset = 0
        self._printed = b""
        self._half_line = b""
        self._down_since = 0.0

    def once(self) -> None:
        """Print what there is now."""
        task = task_record(self._session, self._id)
        if task["state"] in FINAL_STATES:
            self._print_rest(task)
        elif task["state"] == "running":
            while (piece := self._tail()) is not None and piece.data:
                self._print(piece)
        else:
            self._session.screen.say(
                f"{task['name']} has written nothing: it is {task['state']}."
            )

    def follow(self) -> None:
        """Print until the task has ended, over all its attempts and a daemon's restart."""
        told = ""
        while True:
            task = task_record(self._session, self._id)
            if task["state"] in FINAL_STATES:
                self._print_rest(task)
                self._session.screen.say(f"{task['name']}: {task['state']}")
                return
            if task["state"] != "running" and told != task["state"]:
                told = task["state"]
                self._session.screen.say(f"{task['name']} is {told}; waiting until it runs.")
            piece = self._tail_patiently() if task["state"] == "running" else None
            if piece is not None and piece.data:
                self._print(piece)
            else:
                time.sleep(LOOK_S)

    def _tail_patiently(self) -> _Piece | None:
        try:
            piece = self._tail()
        except NotServed:
            now = time.monotonic()
            self._down_since = self._down_since or now
            if now - self._down_since > PATIENCE_S:
                raise
            return None
        self._down_since = 0.0
        return piece

    def _tail(self) -> _Piece | None:
        """The next piece of the running attempt; None when it does not run any more."""
        asked = {
            "id": self._id,
            "offset": self._offset,
            "stream": self._stream,
            "replica": self._replica,
        }
        try:
            answer: dict[str, Any] = self._control.request("tail", asked)
        except NotServed:
            raise
        except SpoolmwError:
            return None  # it ended between two looks
        if not answer["running"]:
            return None
        self._replica = answer["replica"]
        piece = _Piece(base64.b64decode(answer["data"]), answer["attempt"])
        if piece.attempt != self._attempt:
            fresh = self._attempt == 0
            self._attempt, self._offset, self._printed = piece.attempt, 0, b""
            if not fresh:
                self._session.screen.say(f"--- attempt {piece.attempt} ---")
                return _Piece(b"", piece.attempt)
        return piece

    def _print(self, piece: _Piece) -> None:
        self._offset += len(piece.data)
        self._write(piece.data)

    def _print_rest(self, task: dict[str, Any]) -> None:
        """Print what the result keeps of the output and was not printed yet."""
        try:
            delivery = delivery_of(self._session.layout, task)
        except ResultGone as gone:
            if self._printed:
                return  # it was followed; somebody took the result at once
            raise gone from None
        kept = delivery.output(self._stream)
        if task["attempt"] != self._attempt:
            self._write(kept)
        elif delivery.has_files():
            self._write(kept[self._offset :])
        else:
            self._write(_beyond(self._printed, kept))

    def _write(self, data: bytes) -> None:
        self._printed = (self._printed + data)[-REMEMBERED:]
        if self._session.screen.json:
            *whole, self._half_line = (self._half_line + data).split(b"\n")
            for line in whole:
                self._record(line)
        elif self._session.screen.out.is_terminal:
            text = data.decode(errors="replace").expandtabs()
            sys.stdout.write("".join(map(_shown, text.splitlines(keepends=True))))
            sys.stdout.flush()
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def _record(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self._session.screen.record({"id": self._id, "stream": self._stream, "line": text})

    def close(self) -> None:
        """Print what is left of a last line without an end."""
        if self._half_line:
            self._record(self._half_line)
            self._half_line = b""


def _shown(line: str) -> str:
    """A line as a terminal may have it; its end stays."""
    bare = line.rstrip("\r\n")
    return escape(bare) + ("\n" if bare != line else "")


def _beyond(printed: bytes, kept: bytes) -> bytes:
    """The part of `kept` (a tail) that comes after what was printed: they may overlap."""
    for length in range(min(len(printed), len(kept)), 0, -1):
        if printed.endswith(kept[:length]):
            return kept[length:]
    return kept
