"""The file system that is measured on: a journalled ext4 of our own where that can be had.

As root, the program starts itself again in a private mount namespace and mounts an image file
there; the mount ends with the program, however it ends. Else it measures where the temporary
files lie, and says so: on an ext4 without a journal, for one, creating files after many
removals costs several times more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

IMAGE_BYTES = 6_000_000_000  #: sparse; W4 and W5 want about two
INSIDE = "SPOOLMW_BENCHMARK_NAMESPACE"  #: set in the program that runs in the namespace


@dataclass(frozen=True)
class Ground:
    """Where to measure, and what it is, for the report."""

    path: Path
    kind: str


@contextmanager
def ground(where: Path | None) -> Iterator[Ground]:
    """A folder to measure in, gone afterwards. `where` asks for an existing file system."""
    with tempfile.TemporaryDirectory(prefix="spoolmw-bench-", dir=where) as name:
        folder = Path(name)
        if where is None and can_mount():
            with _loop_mounted(folder) as mounted:
                yield mounted
        else:
            yield Ground(folder, f"{_file_system(folder)}, not a file system of our own")


def can_mount() -> bool:
    """Whether an image file can be mounted: root, with the programs that it takes."""
    programs = ("unshare", "mount", "umount", "mkfs.ext4")
    return os.geteuid() == 0 and all(_which(program) for program in programs)


def enter_namespace() -> None:
    """Go on in a private mount namespace where that can be had: replaces this process once."""
    if INSIDE in os.environ or not can_mount():
        return
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        return
    again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    os.execvpe("unshare", [*unshare, *again], {**os.environ, INSIDE: "1"})


@contextmanager
def _loop_mounted(folder: Path) -> Iterator[Ground]:
    image, mounted = folder / "image", folder / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    made = INSIDE in os.environ and _ok(_which("mkfs.ext4"), "-q", "-F", str(image))
    if not made or not _ok("mount", "-o", "loop,noatime", str(image), str(mounted)):
        yield Ground(folder, f"{_file_system(folder)}, because no loop device could be mounted")
        return
    try:
        yield Ground(mounted, "journalled ext4 of our own (loop-mounted)")
    finally:
        _ok("umount", "--lazy", str(mounted))
        shutil.rmtree(mounted, ignore_errors=True)


def _which(program: str) -> str:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or ""


def _ok(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _file_system(path: Path) -> str:
    """Type and options of the file system that holds `path`, from /proc/self/mountinfo."""
    best, found = "", "unknown file system"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if path.is_relative_to(point) and len(point) >= len(best):
            kind, _, options = right.split(maxsplit=2)
            best, found = point, f"{kind} ({options})"
    return found
