"""A daemon with an agent of kind boinc, and hosts of both kinds for it: real clients and fake ones."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from spoolmw import Spool
from spoolmw.agents.boinclink import accounts
from spoolmw.client.future import SpoolTask
from spoolmw.client.submitter import Submitter
from tests.support.boincclient import Desktop
from tests.support.boinchttp import close_all
from tests.support.daemon import Daemon, end, family
from tests.support.fakeclient import FakeHost
from tests.support.waiting import wait_until

T = TypeVar("T")

AGENT = "lab"
CONFIG = """\
[intake]
settle_s = 0.1
[agents.lab]
kind = "boinc"
listen = "127.0.0.1:{port}"
url = "{url}"
poll = "{poll}"
request_memory = "64MiB"
request_disk = "1MiB"
estimate = "1m"
{more}
[agents.local]
slots = 2
{others}
"""


class Site:
    """A daemon that serves BOINC clients between `with` and its end."""

    def __init__(
        self,
        home: Path,
        *,
        url: str = "",
        poll: str = "1s",
        more: str = "",
        others: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`more` are further keys of the agent, `others` further agents; `url`: as clients see it."""
        self.port = free_port()
        self.url = url or f"http://127.0.0.1:{self.port}/grid/"
        told = {
            "port": self.port,
            "url": self.url,
            "poll": poll,
            "more": more,
            "others": others,
        }
        self.daemon = Daemon(home, config=CONFIG.format(**told), env=env)
        self._keys: dict[str, str] = {}
        self.spool: Submitter  #: of tasks for the hosts; results are compared here

    def __enter__(self) -> Site:
        try:
            self.daemon.start()
            self.spool = Spool(self.daemon.spool).options(agents=[AGENT])
            self.wait_until_it_serves()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        end(self.daemon)

    def wait_until_it_serves(self) -> None:
        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(answers, last=self.daemon.log_text)

    def key(self, owner: str = "ann") -> str:
        """The key of a person's account, which is made when it is first asked for."""
        if owner not in self._keys:
            folder = accounts.folder_of(self.daemon.spool, AGENT)
            self._keys[owner] = accounts.add(folder, owner).key
        return self._keys[owner]

    def revoke(self, owner: str) -> None:
        """A person's key is no good from now on."""
        accounts.revoke(accounts.folder_of(self.daemon.spool, AGENT), owner)

    def host(self, name: str = "", *, owner: str = "", **facts: Any) -> FakeHost:
        """A fake host, of an owner of its own unless one is named."""
        made = FakeHost(self.url, "", name=name, **facts)
        made.authenticator = self.key(owner or f"owner-of-{made.name}")
        return made

    def attach(self, desktop: Desktop, owner: str = "") -> Desktop:
        """Have a real client know the project, before it starts."""
        desktop.attach(self.url, self.key(owner or f"owner-of-{desktop.name}"))
        return desktop

    # -- its processes

    def link_pid(self) -> int:
        """The process that serves clients; 0: there is none now."""
        for pid in family(self.daemon.pid):
            with contextlib.suppress(OSError):
                if b"boinclink" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return 0

    def kill_link(self) -> None:
        """kill -9 of it alone; the daemon starts another."""
        pid = self.link_pid()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not _is_alive(pid), last=self.daemon.log_text)

    def kill_all(self) -> None:
        """kill -9 of the daemon and all below it, and a new start."""
        self.daemon.kill_everything()
        self.daemon.start()

    # -- what it knows

    def standing(self) -> Mapping[str, Any]:
        """What the status page counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/grid/status.json") as told:
            return dict(json.load(told))

    def wait_for_waiting(self, count: int = 1) -> None:
        """So many jobs wait for a host, now and not at the last count."""
        since = time.time()

        def wait() -> bool:
            try:
                told = self.standing()
            except OSError:  # it was killed lately, and is not back yet
                return False
            return bool(told["now"] > since and told["results"]["waiting"] >= count)

        wait_until(wait, last=self.daemon.log_text)

    def show(self, task: str) -> Mapping[str, Any]:
        [record] = self.daemon.ctl_json("show", task)
        return record

    def result(self, task: SpoolTask, timeout_s: float = 30.0) -> Any:
        """The value of a task; what the daemon knows of it where there is none in time."""
        wait_until(task.done, timeout_s=timeout_s, last=lambda: self.about(task))
        return task.result()

    def about(self, task: SpoolTask) -> str:
        """What the daemon knows of a task, and what it said last."""
        told = [self.daemon.ctl(verb, task.id, check=False).stdout for verb in ("why", "show")]
        return "\n".join(("", *told, self.daemon.log_text()[-4000:]))

    def attempts(self, task: str) -> list[dict[str, Any]]:
        """How a task's attempts ended, or that they run."""
        found: list[dict[str, Any]] = list(self.show(task)["attempts"])
        return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Crowd:
    """A thread with a loop in which fake hosts live, while a test does other things."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake hosts")
        self._living: list[concurrent.futures.Future[None]] = []
        self._end = threading.Event()

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for each in self._living:
            with contextlib.suppress(concurrent.futures.CancelledError):
                each.result(30)
        self.do(_cancel_others())
        self.do(close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, act: Coroutine[Any, Any, T], *, timeout_s: float = 60.0) -> T:
        """What comes of it."""
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(timeout_s)

    def live(self, *hosts: FakeHost, pause_s: float = 0.05) -> None:
        """From now on these work and report, until the crowd ends."""
        for each in hosts:
            living = each.live(self._end.is_set, pause_s=pause_s)
            self._living.append(asyncio.run_coroutine_threadsafe(living, self._loop))


async def _cancel_others() -> None:
    others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def site(home: Path, **options: Any) -> Iterator[Site]:
    """A running one."""
    with Site(home, **options) as made:
        yield made
