"""One worker process as its runner sees it: started, given attempts, listened to, ended.

Each packet on its socket is one attempt. The runner keeps the worker's end of the socket open
too, so it can take back what the worker has not begun: what was sent and neither reported nor
taken back is exactly what the worker runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, NamedTuple

from . import order, process, wire
from .attempt import Attempt

_OUTPUT_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Place(NamedTuple):
    """What all workers of a runner have in common."""

    spool: str
    archive: str  #: the zipapp that workers run
    env: Dict[str, str]
    umask: int
    agent: str  #: workers are named after it
    inline: bool = False  #: small results are wanted inside their reports
    values: str = ""  #: "safe": no pickles are wanted from here
    brings: bool = False  #: workers take the archive's cloudpickle, whatever they have

    @classmethod
    def of(cls, setup: Dict[str, Any], archive: str) -> Place:
        """As the runner's setup has it."""
        return cls(
            setup["spool"],
            archive,
            setup["env"],
            setup["umask"],
            setup["agent"],
            setup.get("foreign", False),
            setup.get("values", ""),
            setup.get("brings", False),
        )


class Death(NamedTuple):
    """How a worker process ended."""

    status: int
    cpu_s: float
    memory_bytes: int


class Member:
    """A worker process and the attempts it was given."""

    def __init__(self, name: str, interpreter: str, place: Place) -> None:
        self.name = name
        self.interpreter = interpreter
        self.place = place
        self.sent: Deque[Attempt] = deque()
        self.since = 0.0  #: monotonic clock: when the attempt at hand began
        self.cpus = 0  #: slots that it holds now
        self.ready = False
        self.retired = False  #: gets nothing more
        self.born = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = self._spawn(theirs.fileno())
        except OSError:
            ours.close()
            theirs.close()
            raise
        ours.settimeout(0.0)
        self._sock = ours
        self._held = theirs
        self.fd = ours.fileno()
        self.pidfd = os.pidfd_open(self.pid)

    def _spawn(self, fd: int) -> int:
        place = self.place
        told = wire.encode(
            {
                "spool": place.spool,
                "name": self.name,
                "parent": os.getpid(),
                "umask": place.umask,
                "inline": place.inline,
                "values": place.values,
                "brings": place.brings,
            }
        ).decode()
        return os.posix_spawn(
            self.interpreter,
            [self.interpreter, place.archive, "worker", told],
            place.env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self.output("stdout"), _OUTPUT_FLAGS, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, self.output("stderr"), _OUTPUT_FLAGS, 0o600),
                (os.POSIX_SPAWN_DUP2, fd, order.WORKER_FD),
            ],
            setsid=True,
            setsigmask=[],
        )

    def output(self, stream: str) -> str:
        """The file that this worker's `stdout` or `stderr` goes to."""
        return f"{self.place.spool}/tmp/output/{self.name}.{stream[3:]}"

    def printed(self, attempt: Attempt, stream: str) -> str:
        """The file that an attempt's `stdout` or `stderr` goes to."""
        if attempt.kind.command:
            return f"{self.place.spool}/stage/{attempt.id}.files/{stream}"
        return self.output(stream)

    @property
    def scratch(self) -> str:
        return f"{self.place.spool}/tmp/scratch/{self.name}"

    def give(self, attempt: Attempt, now: float) -> bool:
        """Hand over an attempt; False when the socket takes no more now."""
        try:
            self._sock.send(attempt.encoded())
        except BlockingIOError:
            return False
        except OSError:
            self.retired = True  # it died; its pidfd tells how
            return False
        if not self.sent:
            self.since = now
            self.cpus = attempt.kind.cpus
        self.sent.append(attempt)
        return True

    def take_back(self) -> List[Attempt]:
        """Take what the worker has not begun, in its order.

        The worker may take one between two of ours, so the packets say which were taken back:
        what they were given as would name the wrong ones.
        """
        taken = set()
        with contextlib.suppress(BlockingIOError):
            while packet := self._held.recv(order.MAX_PACKET, socket.MSG_DONTWAIT):
                taken.add(order.attempt_of(packet.decode()))
        back = [attempt for attempt in self.sent if attempt.id in taken]
        self.sent = deque(attempt for attempt in self.sent if attempt.id not in taken)
        return back

    def packets(self) -> Iterator[bytes]:
        """What the worker has said, packet by packet."""
        receive = self._sock.recv
        with contextlib.suppress(OSError):
            while True:
                packet = receive(order.MAX_PACKET)
                if not packet:
                    return
                yield packet

    def bury(self) -> Death:
        """Collect the dead process, close and remove what was its own."""
        _, status, usage = os.wait4(self.pid, 0)
        return Death(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)

    def close(self) -> None:
        """Close what was held open for it, and remove its files."""
        self._sock.close()
        self._held.close()
        os.close(self.pidfd)
        for name in (self.output("stdout"), self.output("stderr"), self.output("---now")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def kill(self) -> None:
        """End the process and all below it; its pidfd tells when it is dead."""
        self.retired = True
        process.kill_tree(self.pid, root_too=True)
