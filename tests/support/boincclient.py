"""Desktops with BOINC's stock client, on this one machine, as Debian's service runs it.

Each has a data directory, a name, a machine-id and a port for `boinccmd` of its own. For root its
client is nobody, may write its data directory alone and sees no home directories; however the
process ends that made the desktops, their processes, mounts and files go.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.condor import give, stepping_down, user
from tests.support.needed import needs
from tests.support.pool import SWEEPER
from tests.support.unpacked import IS_ROOT, folder_of, lacks
from tests.support.waiting import wait_until
from tests.support.warden import Told, Warden

HOMES = ("/home", "/root", "/run/user")  #: what ProtectHome=true makes inaccessible

_CC_CONFIG = """\
<cc_config>
<log_flags>
<task>1</task>
<file_xfer>1</file_xfer>
<sched_ops>1</sched_ops>
<sched_op_debug>1</sched_op_debug>
<cpu_sched>1</cpu_sched>
<checkpoint_debug>1</checkpoint_debug>
</log_flags>
<options>
<ncpus>{cores}</ncpus>
<dont_contact_ref_site>1</dont_contact_ref_site>
<no_info_fetch>1</no_info_fetch>
<no_gpus>1</no_gpus>
<skip_cpu_benchmarks>1</skip_cpu_benchmarks>
<report_results_immediately>1</report_results_immediately>
</options>
</cc_config>
"""

#: A busy test machine suspends nothing, and a small disk is no reason.
PREFERENCES = """\
<global_preferences>
<run_on_batteries>1</run_on_batteries>
<run_if_user_active>1</run_if_user_active>
<suspend_cpu_usage>0</suspend_cpu_usage>
<max_ncpus_pct>100</max_ncpus_pct>
<cpu_usage_limit>100</cpu_usage_limit>
<work_buf_min_days>0.0001</work_buf_min_days>
<work_buf_additional_days>0</work_buf_additional_days>
<cpu_scheduling_period_minutes>60</cpu_scheduling_period_minutes>
<disk_interval>1</disk_interval>
<disk_max_used_pct>100</disk_max_used_pct>
<disk_max_used_gb>0</disk_max_used_gb>
<disk_min_free_gb>0.01</disk_min_free_gb>
</global_preferences>
"""

#: For a quick and quiet life: no benchmarks, nothing is asked of the world, short back-offs.
_FLAGS = (
    *("--allow_multiple_clients", "--skip_cpu_benchmarks", "--no_gpus", "--no_info_fetch"),
    *("--sched_retry_delay_min", "1", "--sched_retry_delay_max", "5"),
    *("--pers_retry_delay_min", "1", "--pers_retry_delay_max", "5"),
    *("--retry_cap", "5", "--master_fetch_interval", "5", "--insecure"),
)


@functools.cache
def programs() -> Path:
    """The folder that has `boinc` and `boinccmd`."""
    return folder_of("boinc") / "usr/bin"


#: Marks tests that need real clients.
needs_boinc = needs(
    lacks("boinc", "Debian's packages of boinc-client are"), "there is boinc-client"
)


class Desktop:
    """One machine with a client. It can be attached, killed, suspended, and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        cores: int = 1,
        hidden: Sequence[Path] = (),
        flags: Sequence[str] = (),
    ) -> None:
        """`hidden` folders of this machine look empty there; `flags` are further ones of boinc's."""
        self.name = folder.name
        self.folder = give(folder)
        self.data = give(folder / "data")
        self.flags = list(flags)
        self.preferences = PREFERENCES
        self.cores = cores
        self._hidden = [str(each) for each in hidden]
        self._password = secrets.token_hex(8)
        self._warden: Warden | None = None
        self._log = folder / "client.log"
        (folder / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        self.port = _free_port()

    def write(self, name: str, text: str | bytes) -> Path:
        """Put a file of the client's into its data directory."""
        path = self.data / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return give(path, 0o600)

    def attach(self, url: str, key: str) -> None:
        """Have an account file there, as an administrator puts it: before the client starts."""
        name = re.sub(r"[^A-Za-z0-9.]+", "_", url.partition("://")[2]).strip("_")
        self.write(
            f"account_{name}.xml",
            f"<account>\n<master_url>{url}</master_url>\n"
            f"<authenticator>{key}</authenticator>\n</account>\n",
        )

    def trust(self, ca: Path) -> None:
        """Have the client believe what this authority signed, and nothing else."""
        self.write("ca-bundle.crt", ca.read_bytes())

    # -- its life

    def start(self) -> Desktop:
        assert self._warden is None, f"{self.name} is on"
        self.write("cc_config.xml", _CC_CONFIG.format(cores=self.cores))
        self.write("global_prefs_override.xml", self.preferences)
        self.write("gui_rpc_auth.cfg", self._password)
        self._warden = Warden(self._told())
        return self

    def _told(self) -> Told:
        who = (f"--reuid={user().uid}", f"--regid={user().gid}", "--clear-groups")
        down = ("setpriv", *who, "--inh-caps=-all", "--bounding-set=-all") if IS_ROOT else ()
        own = ("--dir", str(self.data), "--gui_rpc_port", str(self.port))
        homes = [each for each in HOMES if Path(each).is_dir()]
        return Told(
            name=self.name,
            binds=[(str(self.folder / "machine-id"), "/etc/machine-id")],
            hidden=[*homes, *self._hidden],
            writable=[str(self.folder)],
            argv=[*down, _client(), *own, *_FLAGS, *self.flags],
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            log=str(self._log),
            cwd=str(self.data),
        )

    @property
    def is_on(self) -> bool:
        return self._warden is not None

    def pids(self) -> list[int]:
        """The client's and its programs' processes."""
        return [] if self._warden is None else self._warden.processes()

    def client_pid(self) -> int:
        assert self._warden is not None
        [pid] = self._warden.pids_of(_client())
        return pid

    def programs(self) -> list[int]:
        """The processes of what the client runs."""
        assert self._warden is not None
        return [each for each in self.pids() if each not in self._warden.pids_of(_client())]

    def kill_client(self) -> None:
        """kill -9 of the client alone: what it runs is orphaned."""
        assert self._warden is not None
        self._warden.signal(_client(), signal.SIGKILL)
        wait_until(lambda: not self._warden or not self._warden.pids_of(_client()))

    def start_client_again(self) -> None:
        """After `kill_client`: what it ran may be there still."""
        assert self._warden is not None
        self._warden.start_again()

    def quit(self) -> None:
        """Shut the client down in order: programs save and end."""
        self.signal(signal.SIGTERM)
        wait_until(lambda: not self.pids(), last=self.log_text)
        self.kill()

    def signal(self, number: int) -> None:
        """Send the client a signal."""
        os.kill(self.client_pid(), number)

    def kill(self) -> None:
        """Cut its power; its disk stays."""
        if self._warden is not None:
            self._warden.end()
            self._warden = None

    def freeze(self) -> None:
        """The machine sleeps."""
        assert self._warden is not None
        self._warden.freeze()

    def thaw(self) -> None:
        assert self._warden is not None
        self._warden.thaw()

    # -- boinccmd

    def cmd(self, *words: str, check: bool = True) -> str:
        """What boinccmd says of a request."""
        done = subprocess.run(
            [
                *stepping_down(),
                str(programs() / "boinccmd"),
                *("--host", f"127.0.0.1:{self.port}", "--passwd", self._password, *words),
            ],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        text = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"boinccmd {words}: {text}\n{self.log_text()}"
        return text

    def tasks(self) -> Sequence[Mapping[str, str]]:
        """The client's results, as it shows them: `name`, `active_task_state`, `fraction done` ..."""
        return _rows(self.cmd("--get_tasks"))

    def messages(self) -> str:
        return self.cmd("--get_messages", check=False)

    def update(self, url: str) -> None:
        """Have the client ask the project now."""
        self.cmd("--project", url, "update")

    def log_text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Desktops:
    """Some desktops that are on between `with` and its end."""

    def __init__(self, count: int, *, cores: int = 1, hidden: Sequence[Path] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spoolmw-boinc-", dir="/tmp"))
        self._sweeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", SWEEPER, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        give(self.folder)
        self._hidden = hidden
        self.all: list[Desktop] = []
        for _ in range(count):
            self.more(cores=cores)

    def more(self, *, cores: int = 1, flags: Sequence[str] = ()) -> Desktop:
        """One more, which is not on yet."""
        name = f"desk{len(self.all) + 1:02}"
        made = Desktop(self.folder / name, cores=cores, hidden=self._hidden, flags=flags)
        self.all.append(made)
        return made

    def __enter__(self) -> Desktops:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.all:
            each.kill()
        assert self._sweeper.stdin is not None
        self._sweeper.stdin.close()
        self._sweeper.wait()

    def log_text(self) -> str:
        return "\n".join(f"== {each.name}\n{each.log_text()[-4000:]}" for each in self.all)


def _client() -> str:
    """The client's program, which no other has in its command line."""
    return str(programs() / "boinc")


def _rows(text: str) -> Sequence[Mapping[str, str]]:
    """The numbered blocks of `key: value` lines that boinccmd prints."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        if re.match(r"\d+\) -+$", line):
            found.append({})
        elif found and ": " in line:
            key, _, value = line.strip().partition(": ")
            found[-1][key] = value
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
