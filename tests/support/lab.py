"""Hosts with a real sshd each, on this one machine: namespaces of their own for network, processes,
mounts and name. All of it ends with the process that made it, also when that is killed.

A host sees this machine's programs, but has its own /var/tmp, machine-id and host key. The keys
that open it lie in the lab's folder, with a `known_hosts` and an `ssh_config`.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.needed import needs
from tests.support.opening import Opened
from tests.support.waiting import wait_until

PORT = 22
PROGRAMS = ("sshd", "ssh-keygen", "unshare", "nsenter", "setpriv", "ip")
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def lacks() -> str:
    """Why there can be no hosts here; empty: there can."""
    missing = [each for each in PROGRAMS if shutil.which(each, path=_PATH) is None]
    if os.geteuid() != 0:
        return "needs root for namespaces"
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install openssh-server iproute2)"
    return ""


#: Marks tests that need hosts: skipped where they cannot be had, failed in CI.
needs_hosts = needs(lacks(), "there are hosts")

#: What a login shell runs first.
_LOGIN_FILES = [Path.home() / each for each in (".bashrc", ".profile", ".zshenv", ".cshrc")]

#: The first process of a host: prepares the mounts, then only buries its children.
_INIT = """\
import json, os, socket, subprocess, sys
told = json.loads(sys.stdin.readline())
for source, target in told["binds"]:
    subprocess.run(["mount", "--bind", source, target], check=True)
for folder in told["hidden"]:
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
socket.sethostname(told["name"])
os.makedirs("/run/sshd", exist_ok=True)
print("up", flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        if sys.stdin.read(1) == "":
            break
"""

_SSHD = """\
ListenAddress 0.0.0.0
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {lab}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
MaxStartups 200
MaxSessions 200
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


def run(*argv: str) -> str:
    """Run a program that must succeed; returns what it printed."""
    env = {**os.environ, "PATH": _PATH}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


class Host:
    """One machine of a lab. It can be cut off, frozen, rebooted, and its sshd restarted."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.name = f"pc{number:02}"
        self.folder = lab.folder / self.name
        self.var_tmp = self.folder / "var_tmp"  #: its /var/tmp; survives a reboot
        self.address = f"10.213.{lab.net}.{4 * number + 2}"
        self._here = f"10.213.{lab.net}.{4 * number + 1}"
        self._link = f"sw{lab.net}h{number}"
        self._lab = lab
        self._init: subprocess.Popen[str] | None = None
        self._sshd: subprocess.Popen[bytes] | None = None
        self.folder.mkdir()
        self.var_tmp.mkdir()
        self.var_tmp.chmod(0o1777)
        (self.folder / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        self.new_key()
        self.configure()

    def configure(self, *lines: str) -> None:
        """Have these lines in sshd's configuration, from its next start on."""
        text = _SSHD.format(port=PORT, folder=self.folder, lab=self._lab.folder)
        (self.folder / "sshd_config").write_text("\n".join([text, *lines, ""]))

    def new_key(self) -> None:
        """Have another host key from the next start of sshd on."""
        for each in self.folder.glob("host_key*"):
            each.unlink()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder}/host_key")

    @property
    def public_key(self) -> str:
        """Type and base64 of the host's key."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """The host key's, as ssh-keygen shows it: `SHA256:...`."""
        return run("ssh-keygen", "-l", "-f", f"{self.folder}/host_key.pub").split()[1]

    @property
    def known_hosts_line(self) -> str:
        return f"{self.address} {self.public_key}\n"

    # -- its life

    def start(self) -> None:
        """Boot: namespaces, network, sshd."""
        told = {
            "name": self.name,
            "binds": [
                [str(self.var_tmp), "/var/tmp"],
                [str(self.folder / "machine-id"), "/etc/machine-id"],
                # What people have in there may take its time, or leave a lock when it is killed.
                *(["/dev/null", str(each)] for each in _LOGIN_FILES if each.exists()),
            ],
            "hidden": [str(each) for each in self._lab.hidden],
        }
        self._init = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--net", "--mount", "--propagation", "private", "--pid", "--uts"),
                *("--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-I", "-S", "-c", _INIT),
            ],
            env={**os.environ, "PATH": _PATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare complains about the signals that it resets
            text=True,
        )
        assert self._init.stdin is not None
        assert self._init.stdout is not None
        self._init.stdin.write(f"{json.dumps(told)}\n")
        self._init.stdin.flush()
        assert self._init.stdout.readline() == "up\n"
        there = f"{self._link}p"
        run(
            *("ip", "link", "add", self._link, "type", "veth"),
            *("peer", "name", there, "netns", str(self.pid)),
        )
        run("ip", "addr", "add", f"{self._here}/30", "dev", self._link)
        run("ip", "link", "set", self._link, "up")
        self.run("ip", "addr", "add", f"{self.address}/30", "dev", there)
        self.run("ip", "link", "set", there, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.start_sshd()

    @property
    def pid(self) -> int:
        """Of the host's first process, seen from outside."""
        assert self._init is not None
        text = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text()
        return int(text.split()[0])

    def inside(self, *argv: str) -> Sequence[str]:
        """The words that run a program on the host."""
        return ("nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", *argv)

    def run(self, *argv: str) -> str:
        """Run a program on the host; it must succeed."""
        return run(*self.inside(*argv))

    def start_sshd(self) -> None:
        with open(self.folder / "sshd.log", "ab") as log:
            self._sshd = subprocess.Popen(
                self.inside("/usr/sbin/sshd", "-D", "-e", "-f", f"{self.folder}/sshd_config"),
                env={"PATH": _PATH, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, last=self.log_text)

    def _listens(self) -> bool:
        return f" 0.0.0.0:{PORT} " in self.run("ss", "-ltn")

    def stop_sshd(self) -> None:
        """Stop sshd and cut off who is connected; what was started stays."""
        for pid in self.processes():
            with contextlib.suppress(OSError):  # it has just ended
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)
        if self._sshd is not None:
            self._sshd.kill()
            self._sshd.wait()
        # One that is dying holds the port a moment longer: the next could not have it.
        wait_until(lambda: not self._listens(), last=self.log_text)

    def restart_sshd(self) -> None:
        self.stop_sshd()
        self.start_sshd()

    def processes(self) -> list[int]:
        """All that run on the host but its first, by their ids outside."""
        space = os.stat(f"/proc/{self.pid}/ns/pid").st_ino
        found = []
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == space:
                    found.append(int(name))
        return [each for each in found if each != self.pid]

    def pids_of(self, *words: str) -> list[int]:
        """The host's processes whose command line has all these words."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if all(word in line for word in words):
                    found.append(pid)
        return found

    def stop(self) -> None:
        """Power off: every process of it is gone, its /var/tmp stays."""
        if self._init is None:
            return
        with contextlib.suppress(ProcessLookupError, IndexError, FileNotFoundError):
            os.kill(self.pid, signal.SIGKILL)
        self._init.wait()
        for stream in (self._init.stdin, self._init.stdout):
            if stream is not None:
                stream.close()
        self._init = None
        if self._sshd is not None:
            self._sshd.kill()
            self._sshd.wait()
            self._sshd = None
        # The network namespace goes a moment after its last process, and the link with it.
        for what in (("link", "del", self._link), ("route", "del", "blackhole", self.address)):
            subprocess.run(
                ["ip", *what],
                env={**os.environ, "PATH": _PATH},
                capture_output=True,
                check=False,
            )

    def reboot(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Every process of it stops where it is."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)
        if self._sshd is not None:  # who started it in the namespaces has stopped with it
            self._sshd.send_signal(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)

    def cut(self) -> None:
        """From now on packets vanish, both ways, and nobody is told."""
        self.run("ip", "route", "add", "blackhole", f"{self._here}/32")
        run("ip", "route", "add", "blackhole", f"{self.address}/32")

    def mend(self) -> None:
        """Packets go through again."""
        self.run("ip", "route", "del", "blackhole", f"{self._here}/32")
        run("ip", "route", "del", "blackhole", f"{self.address}/32")

    def log_text(self) -> str:
        log = self.folder / "sshd.log"
        return log.read_text(errors="replace") if log.exists() else ""


class Lab(Opened):
    """Some hosts, and a user's keys for them."""

    def __init__(self, folder: Path, count: int, hidden: Sequence[Path] = ()) -> None:
        """`hidden` folders of this machine look empty on the hosts."""
        self.folder = folder
        self.hidden = list(hidden)
        self.net, self._claim = _claim_net()
        folder.mkdir(parents=True, exist_ok=True)
        self.user = getpass.getuser()
        self.user_key = folder / "user_key"
        if not self.user_key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.user_key))
        self.hosts = [Host(self, number) for number in range(1, count + 1)]
        self.known_hosts = folder / "known_hosts"
        self.learn()
        self.ssh_config = folder / "ssh_config"
        self.ssh_config.write_text(self._config())

    def learn(self) -> None:
        """Take the hosts' present keys into `known_hosts`."""
        self.known_hosts.write_text("".join(each.known_hosts_line for each in self.hosts))

    def _config(self) -> str:
        common = (
            f"  IdentityFile {self.user_key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
        )
        return "".join(
            f"Host {each.name}\n  HostName {each.address}\n{common}" for each in self.hosts
        )

    def open(self) -> None:
        for each in self.hosts:
            each.start()

    def close(self) -> None:
        for each in self.hosts:
            each.stop()
        self._claim.close()


@contextlib.contextmanager
def lab(folder: Path, count: int = 1, hidden: Sequence[Path] = ()) -> Iterator[Lab]:
    """So many running hosts."""
    for each in hidden:
        each.mkdir(parents=True, exist_ok=True)
    with Lab(folder, count, hidden) as made:
        yield made


def _claim_net() -> tuple[int, socket.socket]:
    """The third part of addresses that are this lab's, also among tests that run beside; they
    are while the socket is open."""
    taken = run("ip", "-4", "addr") + run("ip", "-4", "route")
    free = [
        n for n in range(256) if f" 10.213.{n}." not in taken
    ]  # a route: of a lab that was killed
    random.SystemRandom().shuffle(free)
    for number in free:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0spoolmw-lab-{number}")
        except OSError:
            claim.close()
        else:
            return number, claim
    raise AssertionError("no addresses are free for a lab")
