"""What `doctor` looks at on the machine: Pythons, limits, the clock, the service."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from spoolmw.config import Config
from spoolmw.ctl.findings import Finding, bad, ok, warn
from spoolmw.ctl.session import Session
from spoolmw.ctl.words import count, duration

#: The oldest Python that can run a task's call.
OLDEST_WORKER = (3, 9)
#: Seconds that an interpreter may take to tell its version.
ASK_S = 20.0
#: Lower limits than these are worth a look.
FEW_WATCHES, FEW_INSTANCES, FEW_FILES = 8192, 32, 1024
PACKAGES = ("click", "cloudpickle", "rich", "sqlite-utils", "watchdog")
UNIT = "spoolmwd.service"


def check_python() -> Iterator[Finding]:
    """The Python that runs this, and the packages it needs."""
    version = ".".join(map(str, sys.version_info[:3]))
    if missing := [name for name in PACKAGES if not _installed(name)]:
        fix = f"{sys.executable} -m pip install {' '.join(missing)}"
        yield bad("python", f"{version} at {sys.executable} has no {', '.join(missing)}.", fix)
    else:
        yield ok("python", f"{version} at {sys.executable}.")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_interpreters(config: Config | None) -> Iterator[Finding]:
    """The interpreters that the agents are configured with can run calls."""
    for agent in config.agents if config is not None else ():
        for path in agent.interpreters:
            yield _interpreter(agent.name, path)


def _interpreter(agent: str, path: str) -> Finding:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [path, "-c", code], capture_output=True, text=True, timeout=ASK_S, check=True
        )
        version = tuple(int(part) for part in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        fix = f"Mend [agents.{agent}] interpreters in the configuration."
        return bad("interpreters", f"{path} does not run: {error}", fix)
    text = ".".join(map(str, version))
    if version < OLDEST_WORKER:
        fix = f"Calls need Python {'.'.join(map(str, OLDEST_WORKER))} or later."
        return bad("interpreters", f"{path} is Python {text}.", fix)
    return ok("interpreters", f"{path} is Python {text} (agent {agent}).")


def check_inotify() -> Iterator[Finding]:
    """Without watches everything works, but a second later."""
    limits = Path("/proc/sys/fs/inotify")
    watches = _number(limits / "max_user_watches")
    instances = _number(limits / "max_user_instances")
    if watches is None or instances is None:
        fix = "Nothing; new files and results are noticed once a second."
        yield warn("inotify", "This kernel tells nothing about inotify.", fix)
    elif watches < FEW_WATCHES or instances < FEW_INSTANCES:
        fix = f"sysctl fs.inotify.max_user_watches={8 * FEW_WATCHES} "
        fix += "fs.inotify.max_user_instances=128"
        says = f"Few: {watches:,} watches, {instances:,} instances for each user."
        yield warn("inotify", says, fix)
    else:
        yield ok("inotify", f"{watches:,} watches, {instances:,} instances for each user.")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def check_limits() -> Iterator[Finding]:
    """Open files: the daemon holds a few, each worker some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cores = len(os.sched_getaffinity(0))
    if 0 <= soft < FEW_FILES:
        yield warn("limits", f"Only {soft} open files at once.", f"ulimit -n {max(hard, 4096)}")
    else:
        yield ok("limits", f"{soft:,} open files; {count(cores, 'usable core')}.")


def check_clock(session: Session) -> Iterator[Finding]:
    """A wrong wall clock shows wrong times and makes retention misjudge ages; nothing else."""
    journal = session.layout.journal
    ahead = journal.stat().st_mtime - time.time() if journal.exists() else 0.0
    synchronised = _systemd("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    if ahead > 60:
        says = f"The journal was written {duration(ahead)} from now: the clock went back."
        yield warn("clock", says, "Set the clock; durations are not touched by it.")
    elif synchronised == "no":
        yield warn("clock", "It is not synchronised.", "timedatectl set-ntp true")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %z") + ".")


def _systemd(*command: str) -> str:
    """What a program of systemd says; empty where there is none or it does not run."""
    if not Path("/run/systemd/system").is_dir() or shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def check_service() -> Iterator[Finding]:
    """The systemd unit, for the system and for this user."""
    if not Path("/run/systemd/system").is_dir():
        yield ok("service", "systemd does not run this machine; start spoolmwd yourself.")
        return
    units = {}
    for scope in ("--system", "--user"):
        wanted = "LoadState,ActiveState,UnitFileState"
        told = _systemd("systemctl", scope, "show", UNIT, "-p", wanted)
        units[scope] = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    loaded = {scope: u for scope, u in units.items() if u.get("LoadState") == "loaded"}
    if not loaded:
        fix = "docs/operations.md tells how to install it, for root and without."
        yield warn("service", f"{UNIT} is not installed: a reboot ends the daemon.", fix)
    for scope, unit in loaded.items():
        yield _unit(scope, unit)


def _unit(scope: str, unit: dict[str, str]) -> Finding:
    active, enabled = unit.get("ActiveState", ""), unit.get("UnitFileState", "")
    says = f"{UNIT} ({scope[2:]}) is {active or 'unknown'}, {enabled or 'not enabled'}."
    if active == "failed":
        return bad("service", says, f"journalctl {scope} -u {UNIT} -e")
    if active != "active":
        return warn("service", says, f"systemctl {scope} start {UNIT}")
    if enabled not in ("enabled", "static", "linked"):
        return warn("service", says, f"systemctl {scope} enable {UNIT}")
    return ok("service", says)
