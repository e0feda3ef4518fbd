"""What this machine offers: cores that may be used, memory, and who it is."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

CGROUPS = Path("/sys/fs/cgroup")
MACHINE = "SPOOLMW_MACHINE"  #: variable that makes a runner's machine another one, for tests
_HUGE = 1 << 60  #: cgroup v1 says "no limit" with a number near 2**63


def usable_cores() -> int:
    """Cores by affinity and by the cgroup's quota; at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return max(1, min(cores, math.floor(quota + 1e-9))) if quota else max(1, cores)


def cpu_quota(memberships: str = "", root: Path = CGROUPS) -> float:
    """The tightest quota of this process's cgroups in cores; 0.0 where there is none."""
    found = [quota for folder in _folders("cpu", memberships, root) for quota in _quota(folder)]
    return min(found, default=0.0)


def usable_memory(memberships: str = "", root: Path = CGROUPS) -> int:
    """Bytes of memory: the machine's, or less where a cgroup says so."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _folders("memory", memberships, root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and 0 < int(text) < _HUGE:
                total = min(total, int(text))
    return total


def machine(given: str = "") -> str:
    """A stable name of this machine that does not give its machine-id away.

    `given`, or the variable SPOOLMW_MACHINE, lets one machine stand for several, for tests.
    """
    seed = given or os.environ.get(MACHINE) or _read(Path("/etc/machine-id")) or platform.node()
    return hashlib.sha256(b"spoolmw machine " + seed.encode()).hexdigest()[:16]


def platform_name() -> str:
    """What results must have in common to be comparable bit by bit, as far as we know."""
    return f"linux-{platform.machine()}"


def facts() -> Dict[str, object]:
    """What a runner's hello says of its host."""
    return {
        "machine": machine(),
        "host": platform.node(),
        "python": platform.python_version(),
        "platform": platform_name(),
        "cores": usable_cores(),
        "memory": usable_memory(),
    }


def _quota(folder: Path) -> Iterator[float]:
    parts = _read(folder / "cpu.max").split()  # v2: "QUOTA PERIOD" or "max PERIOD"
    if len(parts) == 2 and parts[0].isdigit() and int(parts[1]) > 0:
        yield int(parts[0]) / int(parts[1])
    quota = _read(folder / "cpu.cfs_quota_us")
    period = _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and int(quota) > 0 and period.isdigit() and int(period) > 0:
        yield int(quota) / int(period)


def _folders(controller: str, memberships: str, root: Path) -> List[Path]:
    """This process's own cgroup folder for `controller`, and all above it (limits nest)."""
    found: List[Path] = []
    for base, inside in _homes(
        controller, memberships or _read(Path("/proc/self/cgroup")), root
    ):
        folder = base / inside.strip("/")
        while True:
            found.append(folder)
            if folder == base or base not in folder.parents:
                break
            folder = folder.parent
    return found


def _homes(controller: str, memberships: str, root: Path) -> Iterator[Tuple[Path, str]]:
    for line in memberships.splitlines():
        number, controllers, inside = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            yield root, inside
            yield root / "unified", inside
        elif controller in controllers.split(","):
            yield root / controllers, inside
            yield root / controller, inside


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
