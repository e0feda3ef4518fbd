"""Runs the programs of `[hooks]` when a task is done or failed, with the result's trailer on stdin.

A hook is a courtesy (mail, chat): it runs in one thread of its own, with a time-out, after
the delivery; one that fails costs a log line, and no task waits for it.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence

from spoolmw.daemon.logs import fields, log

BACKLOG = 1000  #: hooks that may wait; more are dropped with a warning


class Hooks:
    """`commands` maps "done" and "failed" to a program with its arguments."""

    def __init__(self, commands: Mapping[str, Sequence[str]], timeout_s: float) -> None:
        self._todo: queue.Queue[tuple[tuple[str, ...], bytes] | None] = queue.Queue(BACKLOG)
        self._thread: threading.Thread | None = None
        self.configure(commands, timeout_s)

    def configure(self, commands: Mapping[str, Sequence[str]], timeout_s: float) -> None:
        """Take over a (re)loaded configuration."""
        self._commands = {state: tuple(c) for state, c in commands.items() if c}
        self._timeout_s = timeout_s

    def wants(self, state: str) -> bool:
        return state in self._commands

    def fire(self, state: str, trailer: bytes) -> None:
        """Have the hook for `state` run soon; never blocks."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
            self._thread.start()
        try:
            self._todo.put_nowait((self._commands[state], trailer))
        except queue.Full:
            log.warning("hook dropped %s", fields(state=state, why="too many are waiting"))

    def close(self) -> None:
        """Let the hooks that wait run, each within its time-out."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join(self._timeout_s)

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            command, trailer = item
            try:
                done = subprocess.run(
                    command,
                    input=trailer,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    timeout=self._timeout_s,
                    check=False,
                )
            except (OSError, subprocess.SubprocessError) as error:
                log.warning("hook failed %s", fields(command=command[0], why=error))
                continue
            if done.returncode:
                tail = done.stderr[-200:].decode(errors="replace")
                log.warning(
                    "hook failed %s",
                    fields(command=command[0], exit=done.returncode, tail=tail),
                )
