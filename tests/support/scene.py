"""A daemon and what it reaches, and tasks in it that run until they are let go."""

from __future__ import annotations

import os
import time
from pathlib import Path

from spoolmw import Spool
from spoolmw.client.future import SpoolTask
from tests.support.daemon import Daemon
from tests.support.opening import Opened
from tests.support.waiting import wait_until


class Scene(Opened):
    """Between `with` and its end the daemon runs."""

    daemon: Daemon
    spool: Spool
    shared: Path  #: a folder that daemon and hosts see

    def open(self) -> None:
        self.daemon.start()
        self.spool = Spool(self.daemon.spool)

    def agents(self) -> dict[str, dict[str, object]]:
        """What `spoolmw-ctl agents` shows, by name."""
        return {str(each["name"]): each for each in self.daemon.ctl_json("agents")}

    def attempts(self, task: str) -> list[dict[str, object]]:
        """How a task's attempts ended."""
        [record] = self.daemon.ctl_json("show", task)
        found: list[dict[str, object]] = list(record["attempts"])  # type: ignore[call-overload]
        return found


class Held:
    """A task that runs until it is let go, and what can be seen of it."""

    def __init__(self, scene: Scene, number: int, options: dict[str, object]) -> None:
        """`number` tells it from others of the scene."""
        self._scene = scene
        self._flag = scene.shared / f"{scene.daemon.home.name}-flag{number}"
        self._note = scene.shared / f"{scene.daemon.home.name}-note{number}"
        spool = scene.spool.options(**options)
        self.task: SpoolTask = spool.submit(hold, str(self._flag), str(self._note))

    def starts(self) -> list[str]:
        """The hosts on which it was begun, in order."""
        return self._note.read_text().split() if self._note.exists() else []

    def until_it_runs(self, times: int = 1) -> str:
        """Where it was begun last."""
        wait_until(lambda: len(self.starts()) >= times, last=self._scene.daemon.log_text)
        return self.starts()[-1]

    def let_go(self) -> None:
        self._flag.touch()

    def attempts_so_far(self) -> list[dict[str, object]]:
        """How its attempts ended."""
        return self._scene.attempts(self.task.id)

    def attempts(self) -> list[dict[str, object]]:
        """How its attempts ended, once it is delivered."""
        wait_until(self.task.done, last=self._scene.daemon.log_text)
        return self.attempts_so_far()


def hold(flag: str, note: str) -> str:
    with open(note, "a") as file:
        file.write(f"{os.uname().nodename}\n")
    until = time.monotonic() + 120
    while time.monotonic() < until and not Path(flag).exists():
        time.sleep(0.01)
    return os.uname().nodename
