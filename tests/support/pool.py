"""Real pools of HTCondor on this one machine, with names and addresses of their own on loopback.

`Pool` is a central manager, an access point (the schedd) and execute hosts; `personal()` is all of
them in one. They run as an ordinary user: as nobody when we are root, who may not submit. Whatever
kills the process that made a pool, its processes, mounts and files go.

For root each member has namespaces of its own: another machine-id, another host name, and the
folders of the others and of the daemon look empty on the execute hosts.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import poolconfig
from tests.support.daemon import ROOT, family
from tests.support.people import Person, becoming
from tests.support.waiting import wait_until

PORT = 9618  #: of the collector
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_SUBMITTER = "tester@test"  #: who a token makes of its holder


@functools.cache
def programs() -> Path:
    """Where `.ci/condor` keeps HTCondor's programs."""
    told = subprocess.run([ROOT / ".ci/condor", "where"], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip()) / "usr"


@functools.cache
def lacks() -> str:
    """Why there can be no pool here; empty: there can."""
    if not (programs().parent / "complete").exists():
        return "HTCondor's packages are not there (.ci/condor fetches them, `make test` calls it)"
    needed = ("setpriv", "unshare") if os.geteuid() == 0 else ("setpriv",)
    missing = [each for each in needed if shutil.which(each, path=_PATH) is None]
    return f"not installed: {', '.join(missing)} (apt-get install util-linux)" if missing else ""


#: Marks tests that need a pool: skipped where none can be had, failed in CI.
needs_pool = pytest.mark.skipif(
    bool(lacks()) and "CI" not in os.environ, reason=lacks() or "there is HTCondor"
)

#: For root, the words before a member's first process; the kernel ends all of it with us.
_SPACES = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--fork"),
    *("--kill-child", "--mount-proc"),
)

#: The first process of a member. It starts HTCondor's master, buries what dies below, and kills
#: all of it when who made it is gone.
_WARDEN = """\
import ctypes, json, os, signal, socket, subprocess, sys, threading, time
told = json.loads(sys.stdin.readline())
if told["root"]:
    for source, target in told["binds"]:
        subprocess.run(["mount", "--bind", source, target], check=True)
    for folder in told["hidden"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", folder], check=True)
    socket.sethostname(told["name"])
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: whoever loses its parent comes to us
with open(told["log"], "ab") as log:
    subprocess.Popen(
        told["argv"], env=told["env"], cwd="/", stdin=-3, stdout=log, stderr=log,
        start_new_session=True,
    )
def bury():
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)
def family(pid):
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    yield child
                    yield from family(child)
    except OSError:
        pass
threading.Thread(target=bury, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
while True:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in list(family(os.getpid())):
            try:
                os.kill(pid, number)
            except OSError:
                pass
    time.sleep(0.01)
"""

#: Removes the pool's folder when who made it is gone, and the members after that.
_SWEEPER = """\
import os, shutil, sys, time
sys.stdin.read()
for _ in range(300):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.1)
"""


def user() -> Person:
    """Who the pool runs as, and who may submit to it: an ordinary user."""
    if os.geteuid() != 0:
        return Person(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Person(nobody.pw_uid, nobody.pw_gid)


def stepping_down() -> Sequence[str]:
    """The words before a command that have it run as the pool's user, with our Python."""
    return becoming(user()) if os.geteuid() == 0 else ()


class Member:
    """One machine of a pool: a master and its daemons. It can be killed, frozen and started again."""

    def __init__(self, pool: Pool, name: str, number: int, daemons: str, more: str = "") -> None:
        self.name = name
        self.machine = f"{name}.test"  #: as it is called in job ads and requirements
        self.folder = pool.folder / name
        self.address = f"{pool.net}.{number}"
        self.machine_id = uuid.uuid4().hex  #: what its jobs find there, when we are root
        self.config = self.folder / "condor_config"
        self._pool = pool
        self._warden: subprocess.Popen[str] | None = None
        for each in ("", *poolconfig.FOLDERS):
            pool.own(self.folder / each)
        (self.folder / "machine-id").write_text(f"{self.machine_id}\n")
        told = {
            **pool.common,
            "folder": self.folder,
            "address": self.address,
            "name": name,
            "files": "test" if pool.shares_files else "$(FULL_HOSTNAME)",
            "daemons": daemons,
            "shares_port": "COLLECTOR" in daemons,
            "cpus": pool.cpus,
        }
        own = poolconfig.EVERY.format(**told), poolconfig.MEMBER.format(**told)
        poolconfig.write(self.config, *own, more)

    # -- its life

    def start(self) -> Member:
        """Switch it on; it may take a second until the pool knows."""
        is_root = os.geteuid() == 0
        person, env = user(), self._pool.env(self.config)
        down = [f"--reuid={person.uid}", f"--regid={person.gid}", "--clear-groups"]
        told = {
            "root": is_root,
            "name": self.name,
            "binds": [[str(self.folder / "machine-id"), "/etc/machine-id"]],
            "hidden": [str(each) for each in self._pool.hidden_from(self)],
            "log": str(self.folder / "master.log"),
            "env": env,
            "argv": [
                *(("setpriv", *down, "--inh-caps=-all") if is_root else ()),
                *(f"{programs()}/sbin/condor_master", "-f"),
            ],
        }
        if is_root and self._pool.is_without_python:
            told["binds"] += [["/dev/null", each] for each in _pythons()]
        self._warden = subprocess.Popen(
            [*(_SPACES if is_root else ()), sys.executable, "-I", "-S", "-c", _WARDEN],
            env={**os.environ, "PATH": _PATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare complains about the signals that it resets
            text=True,
            start_new_session=True,
        )
        assert self._warden.stdin is not None
        assert self._warden.stdout is not None
        self._warden.stdin.write(f"{json.dumps(told)}\n")
        self._warden.stdin.flush()
        assert self._warden.stdout.readline() == "up\n"
        return self

    @property
    def is_on(self) -> bool:
        return self._warden is not None

    def processes(self) -> list[int]:
        """All of HTCondor and its jobs that run there, by their ids outside."""
        if self._warden is None:
            return []
        top = self._warden.pid
        if os.geteuid() == 0:  # unshare stands above the warden
            [top] = map(int, Path(f"/proc/{top}/task/{top}/children").read_text().split())
        return family(top)

    def pids_of(self, word: str) -> list[int]:
        """Its processes with this word in their command line, as `condor_starter`."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if word in words or word == Path(words[0]).name:
                    found.append(pid)
        return found

    def signal(self, word: str, number: int = signal.SIGKILL) -> list[int]:
        """Send a signal to its processes with this word in their command line; whom it was sent."""
        pids = self.pids_of(word)
        for pid in pids:
            os.kill(pid, number)
        return pids

    def freeze(self) -> None:
        """Every process of it stops where it is."""
        stopped: set[int] = set()
        while more := set(self.processes()) - stopped:
            for pid in more:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= more

    def thaw(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Cut its power: all is dead at once and nobody says goodbye; its disk stays."""
        if self._warden is None:
            return
        self.freeze()
        for stream in (self._warden.stdin, self._warden.stdout):
            if stream is not None:
                stream.close()
        self._warden.wait()
        self._warden = None

    def stop(self) -> None:
        """Shut it down in order; its jobs are evicted."""
        self.signal("condor_master", signal.SIGTERM)
        wait_until(lambda: not self.processes(), last=self.log_text)
        self.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def log_text(self) -> str:
        """The ends of its daemons' logs."""
        logs = sorted((self.folder / "log").glob("*Log*"))
        return "\n".join(f"== {each}\n{_tail(each)}" for each in logs)


class Pool:
    """A pool that runs between `with` and its end.

    `user_folder` is a place of the pool's user, where a daemon of his may live; `shared` is a folder
    that all members see and everybody may write.
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
        """`hosts` of `cpus` each, 0 for all in one; `hidden` look empty to the execute hosts.

        `shares_files`: the members say that they have one file system. `more` is configuration for
        all of them. `is_without_python`: the system's own Python is missing on the hosts.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="spoolmw-pool-", dir="/tmp"))
        self._sweeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SWEEPER, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.folder.chmod(0o755)
        self.cpus, self.shares_files, self.is_without_python = cpus, shares_files, is_without_python
        self.net = _free_net()
        self.user_folder = self.own(self.folder / "user")
        self.shared = self.own(self.folder / "shared")
        self.shared.chmod(0o1777)
        self.hidden = [] if shares_files else [self.user_folder, *hidden]
        self.common = {
            "programs": programs(),
            "manager": f"{self.net}.1",
            "port": PORT,
            "keys": self._make_key(),
            "user": pwd.getpwuid(user().uid).pw_name,
        }
        serving = "SHARED_PORT, COLLECTOR, NEGOTIATOR"
        if hosts:
            self.manager = Member(self, "cm", 1, serving, more)
            self.schedd = Member(self, "ap", 2, "SCHEDD", more)
            names = [f"host{number}" for number in range(1, hosts + 1)]
            self.hosts = [Member(self, n, 10 + i, "STARTD", more) for i, n in enumerate(names, 1)]
        else:
            self.manager = Member(self, "personal", 1, f"{serving}, SCHEDD, STARTD", more)
            self.schedd, self.hosts = self.manager, [self.manager]
        self.members = list(dict.fromkeys([self.manager, self.schedd, *self.hosts]))
        self.schedd_name = f"{self.common['user']}@{self.schedd.machine}"
        #: Configurations for who submits: with a token (anybody may, also root), or as the pool's user
        self.by_token = self._client("token", "IDTOKENS")
        self.by_user = self._client("plain", "FS")

    def own(self, folder: Path) -> Path:
        """Make a folder that belongs to the pool's user."""
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, user().uid, user().gid)
        return folder

    def _make_key(self) -> Path:
        keys = self.own(self.folder / "keys")
        self.own(keys / "tokens.d").chmod(0o700)
        (keys / "POOL").write_bytes(secrets.token_bytes(32))
        (keys / "POOL").chmod(0o600)
        for each in (keys / "POOL",) if os.geteuid() == 0 else ():
            os.chown(each, user().uid, user().gid)
        keys.chmod(0o700)
        return keys

    def _client(self, name: str, methods: str) -> Path:
        folder = self.own(self.folder / name)
        (folder / "tokens.d").mkdir(mode=0o700)
        files = "test" if self.shares_files else self.schedd.machine
        told = {"folder": folder, "methods": methods, "files": files, "schedd": self.schedd_name}
        every = poolconfig.EVERY.format(**self.common)
        poolconfig.write(folder / "condor_config", every, poolconfig.CLIENT.format(**told))
        return folder / "condor_config"

    def env(self, config: Path) -> Mapping[str, str]:
        """The environment in which HTCondor's programs, and nothing of ours, are found."""
        there = f"{programs()}/bin:{programs()}/sbin:/usr/bin:/bin:/usr/sbin:/sbin"
        return {"PATH": there, "HOME": str(self.folder), "CONDOR_CONFIG": str(config)}

    def hidden_from(self, member: Member) -> list[Path]:
        """What looks empty there: nothing to the schedd, whose jobs' files it reads and writes."""
        if member is self.schedd or member is self.manager:
            return []
        others = [each.folder for each in self.members if each is not member]
        return [*self.hidden, *others]

    # -- its life

    def __enter__(self) -> Pool:
        try:
            for each in self.members:
                each.start()
                wait_until(self._answers, last=each.log_text)  # else they try again after 5 s
            self._write_token()
            self.wait_for_hosts(len(self.hosts))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all at once, and remove the folder."""
        for each in self.members:
            each.freeze()
        for each in self.members:
            each.kill()
        assert self._sweeper.stdin is not None
        self._sweeper.stdin.close()
        self._sweeper.wait()

    def _answers(self) -> bool:
        """The collector does."""
        with socket.socket() as probe:
            return probe.connect_ex((self.manager.address, PORT)) == 0

    def _write_token(self) -> None:
        asked = ("condor_token_create", "-identity", _SUBMITTER, "-lifetime", "86400")
        token = self.by_token.parent / "tokens.d" / "tester"
        token.write_text(self.run(*asked, config=self.manager.config))
        token.chmod(0o600)

    def wait_for_hosts(self, count: int) -> None:
        """So many execute hosts are in the pool, and the schedd is."""

        def known() -> tuple[int, int]:
            asked = ("condor_status", "-any", "-af", "MyType")
            types = self.run(*asked, check=False).split()
            return types.count("Machine"), types.count("Scheduler")

        wait_until(lambda: known() == (count, 1), last=self.log_text)

    def run(
        self, *argv: str, config: Path | None = None, check: bool = True, given: str = ""
    ) -> str:
        """Run one of HTCondor's programs as the pool's user; what it printed."""
        done = subprocess.run(
            [*stepping_down(), *argv],
            env={**self.env(config or self.by_user)},
            cwd="/",
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, text: str) -> str:
        """Submit as the pool's user; the cluster's number."""
        return self.run("condor_submit", "-terse", "-name", self.schedd_name, "-", given=text).split(".")[0]

    def log_text(self) -> str:
        return "\n".join(each.log_text() for each in self.members)


@contextlib.contextmanager
def personal(*, cpus: int = 4, more: str = "") -> Iterator[Pool]:
    """A running pool of one machine, which is manager, schedd and execute host."""
    with Pool(hosts=0, cpus=cpus, more=more) as made:
        yield made


def _pythons() -> list[str]:
    """The system's Pythons."""
    found = [p.resolve() for each in ("/usr/bin", "/usr/local/bin") for p in Path(each).glob("python3*")]
    return sorted({str(each) for each in found if each.is_file()})


def _free_net() -> str:
    """The first three parts of addresses on loopback that nobody uses."""
    while True:
        net = f"127.{random.randrange(1, 255)}.{random.randrange(255)}"
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((f"{net}.1", PORT))
            return net


def _tail(path: Path, size: int = 2000) -> str:
    return path.read_text(errors="replace")[-size:] if path.exists() else ""
