"""Real pools of HTCondor on this one machine, with names and addresses of their own on loopback.

`Pool` is a central manager, an access point (the schedd) and execute hosts; `personal()` is all of
them in one. They run as an ordinary user: as nobody when we are root, who may not submit. However
the process ends that made a pool, its processes, mounts and files go.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support import poolconfig
from tests.support.condor import (
    environment,
    give,
    lacks,
    needs_pool,
    programs,
    stepping_down,
    user,
    user_name,
)
from tests.support.opening import Opened
from tests.support.poolmember import Member
from tests.support.unpacked import IS_ROOT
from tests.support.waiting import wait_until

PORT = 9618  #: of the collector
SUBMITTER = "tester@test"  #: who a token makes of its holder

#: Removes the pool's folder when who made it is gone, and the members after that.
SWEEPER = """\
import os, shutil, sys, time
sys.stdin.read()
for _ in range(300):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.05)
"""


class Pool(Opened):
    """A pool that runs between `with` and its end.

    `user_folder` is a place of the pool's user, where a daemon of his may live: it looks empty on
    the execute hosts. `shared` is a folder that all members see and everybody may write.
    `by_user` and `by_token` are configurations for who submits: as the pool's user, or as we are,
    with a token.
    """

    def __init__(
        self,
        *,
        hosts: int = 3,
        cpus: int = 2,
        hidden: Sequence[Path] = (),
        shares_files: bool = False,
        is_without_python: bool = False,
        more: str = "",
    ) -> None:
        """So many `hosts` of `cpus` each, 0: all in one; `hidden` folders look empty to the hosts.

        `shares_files`: the members say that they have one file system, and nothing is hidden.
        `is_without_python`: the system's own is missing on the hosts. Hiding and missing need root.
        `more` is configuration for all of them.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="spoolmw-pool-", dir="/tmp"))
        self._sweeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", SWEEPER, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        give(self.folder)
        self.user_folder = give(self.folder / "user")
        self.shared = give(self.folder / "shared", 0o1777)
        self.cpus, self.shares_files, self._more = cpus, shares_files, more
        self._net, self._claim = _claim_net()
        self._make_key()
        if hosts:
            self.manager = self._member("cm", 1, "SHARED_PORT, COLLECTOR, NEGOTIATOR")
            self.schedd = self._member("ap", 2, "SCHEDD")
            self.hosts = [
                self._member(f"host{n}", 10 + n, "STARTD") for n in range(1, hosts + 1)
            ]
        else:
            all_in_one = "SHARED_PORT, COLLECTOR, NEGOTIATOR, SCHEDD, STARTD"
            self.manager = self.schedd = self._member("personal", 1, all_in_one)
            self.hosts = [self.manager]
        self.members = list(dict.fromkeys([self.manager, self.schedd, *self.hosts]))
        self._hide(hidden, is_without_python=is_without_python)
        self.schedd_name = f"{user_name()}@{self.schedd.machine}"
        self.by_user = self._client("plain", "FS")
        self.by_token = self._client("token", "IDTOKENS")

    # -- what it is made of

    def _common(self) -> dict[str, object]:
        manager = f"{self._net}.1"
        return {"programs": programs(), "manager": manager, "port": PORT, "user": user_name()}

    def _member(self, name: str, number: int, daemons: str) -> Member:
        told = {
            **self._common(),
            "folder": self.folder / name,
            "keys": self.folder / "keys",
            "address": f"{self._net}.{number}",
            "name": name,
            "files": "test" if self.shares_files else "$(FULL_HOSTNAME)",
            "daemons": daemons,
            "shares_port": "SHARED_PORT" in daemons,
            "cpus": self.cpus,
            "environment": "" if IS_ROOT else f'"SPOOLMW_MACHINE={name}"',
        }
        parts = (poolconfig.EVERY.format(**told), poolconfig.MEMBER.format(**told), self._more)
        return Member(self.folder / name, f"{self._net}.{number}", "\n".join(parts))

    def own(self, folder: Path) -> Path:
        """Make a folder that belongs to the pool's user."""
        return give(folder)

    def _make_key(self) -> None:
        """The key that signs tokens, and shows the members to each other."""
        keys = give(self.folder / "keys", 0o700)
        give(keys / "tokens.d", 0o700)
        (keys / "POOL").write_bytes(secrets.token_bytes(32))
        give(keys / "POOL", 0o600)

    def _client(self, name: str, methods: str) -> Path:
        folder = self.folder / name
        (folder / "tokens.d").mkdir(parents=True, mode=0o700)  # ours: a token is its owner's
        told = {
            "folder": folder,
            "methods": methods,
            "files": "test" if self.shares_files else self.schedd.machine,
            "schedd": self.schedd_name,
        }
        every = poolconfig.EVERY.format(**self._common())
        (folder / "condor_config").write_text(f"{every}\n{poolconfig.CLIENT.format(**told)}")
        return folder / "condor_config"

    def _hide(self, hidden: Sequence[Path], *, is_without_python: bool) -> None:
        for each in hidden:
            each.mkdir(parents=True, exist_ok=True)
        for host in self.hosts:
            if host is self.schedd:  # whose shadows read and write the jobs' files
                continue
            if not self.shares_files:
                others = [each.folder for each in self.members if each is not host]
                host.hidden = [self.user_folder, *hidden, *others]
            if is_without_python:
                host.without = _pythons()

    # -- its life

    def open(self) -> None:
        for each in self.members:
            each.start()
            wait_until(self._answers, last=each.log_text)  # else they try again after 5 s
        self._write_token()
        self.wait_for_hosts()

    def close(self) -> None:
        """End all at once, and remove the folder."""
        for each in self.members:
            each.freeze()
        for each in self.members:
            each.kill()
        self._claim.close()
        assert self._sweeper.stdin is not None
        self._sweeper.stdin.close()
        self._sweeper.wait()

    def _answers(self) -> bool:
        """The collector does."""
        with socket.socket() as probe:
            return probe.connect_ex((self.manager.address, PORT)) == 0

    def _write_token(self) -> None:
        asked = ("condor_token_create", "-identity", SUBMITTER, "-lifetime", "86400")
        token = self.by_token.parent / "tokens.d" / "tester"
        token.write_text(self.run(*asked, config=self.manager.config))
        token.chmod(0o600)

    def wait_for_hosts(self, count: int | None = None) -> None:
        """So many execute hosts are known to the manager, else all; and the schedd is."""
        awaited = len(self.hosts) if count is None else count
        # A dynamic slot, which a claim has made, is a Machine too.
        only = ("-constraint", "DynamicSlot =!= true")
        asked = ("condor_status", "-any", *only, "-af", "MyType")

        def is_known() -> bool:
            types = self.run(*asked, check=False).split()
            return (types.count("Machine"), types.count("Scheduler")) == (awaited, 1)

        wait_until(is_known, last=self.log_text)

    # -- its programs

    def run(
        self, *argv: str, config: Path | None = None, check: bool = True, given: str = ""
    ) -> str:
        """Run one of HTCondor's programs as the pool's user, or as we are with a token; its words."""
        words = () if config == self.by_token else stepping_down()
        done = subprocess.run(
            [*words, *argv],
            env=environment(config or self.by_user),
            cwd="/",
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, text: str, *, config: Path | None = None) -> str:
        """Submit what is described; the cluster's number."""
        asked = ("condor_submit", "-terse", "-name", self.schedd_name, "-")
        return self.run(*asked, given=text, config=config).split(".")[0]

    def queued(self, cluster: str, *names: str) -> list[list[str]]:
        """These attributes of the cluster's jobs that are still in the queue.

        Tries again while the schedd is away.
        """
        asked = ("condor_q", "-name", self.schedd_name, cluster, "-af:t", *names)

        def answer() -> list[str]:
            try:
                return [self.run(*asked)]
            except AssertionError:  # it does not answer
                return []

        [told] = wait_until(answer, last=self.log_text)
        return [line.split("\t") for line in told.splitlines()]

    def wait_for_status(self, cluster: str, status: int) -> None:
        """All jobs of the cluster have this JobStatus."""
        wait_until(
            lambda: {each for [each] in self.queued(cluster, "JobStatus")} == {str(status)},
            last=lambda: (
                f"{self.queued(cluster, 'JobStatus', 'HoldReason')}\n{self.log_text()}"
            ),
        )

    def wait_until_gone(self, cluster: str) -> None:
        """The cluster's jobs have left the queue."""
        wait_until(
            lambda: not self.queued(cluster, "JobStatus"),
            last=lambda: (
                f"{self.queued(cluster, 'JobStatus', 'HoldReason')}\n{self.log_text()}"
            ),
        )

    def log_text(self) -> str:
        return "\n".join(each.log_text() for each in self.members)


@contextlib.contextmanager
def personal(*, cpus: int = 4, more: str = "") -> Iterator[Pool]:
    """A running pool of one machine, which is manager, schedd and execute host."""
    with Pool(hosts=0, cpus=cpus, more=more) as made:
        yield made


def _pythons() -> list[Path]:
    """The system's Pythons."""
    folders = (Path("/usr/bin"), Path("/usr/local/bin"))
    found = {path.resolve() for folder in folders for path in folder.glob("python3*")}
    return sorted(each for each in found if each.is_file())


def _claim_net() -> tuple[str, socket.socket]:
    """The first three parts of addresses on loopback that are ours while the socket is open."""
    chance = random.SystemRandom()
    while True:
        net = f"127.{chance.randrange(1, 255)}.{chance.randrange(255)}"
        claim = socket.socket()
        try:
            claim.bind((f"{net}.254", PORT))
        except OSError:
            claim.close()
        else:
            return net, claim


__all__ = ["IS_ROOT", "Pool", "lacks", "needs_pool", "personal", "stepping_down", "user"]
