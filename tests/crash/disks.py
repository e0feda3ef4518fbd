"""Small disks for tests, each in a mount namespace of its own, so that none can outlive its test."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import ROOT

#: Where the disk of the test that runs inside the namespace is mounted.
HERE = "SPOOLMW_TEST_DISK"

TMPFS = "mount -t tmpfs -o size=32m,nr_inodes=4000 none {disk}"
EXT4 = "truncate -s 48M {disk}.img && mkfs.ext4 -q -m 0 {disk}.img && mount -o loop {disk}.img {disk}"

Test = Callable[..., None]


def on_disk(mount: str) -> Callable[[Test], Test]:
    """Run a test `(home, **fixtures)` on a small disk: by another pytest, inside a namespace."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def outer(request: pytest.FixtureRequest, ground: Path) -> None:
            if HERE in os.environ:
                test(Path(os.environ[HERE]))
                return
            _needs_mounts()
            patience_s = request.config.getoption("timeout") or request.config.getini("timeout")
            disk = ground / "disk"
            disk.mkdir()
            ran = subprocess.run(
                [
                    "unshare",
                    "-m",
                    "--propagation",
                    "private",
                    "sh",
                    "-ec",
                    _script(mount, disk, request.node.nodeid, patience_s),
                ],
                cwd=ROOT,
                env={**os.environ, HERE: str(disk)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"

        del outer.__wrapped__  # pytest would take its arguments for fixtures
        return outer

    return decorate


def _script(mount: str, disk: Path, node: str, patience_s: object) -> str:
    pytest_again = f"{sys.executable} -m pytest -q -p no:cacheprovider '{node}'"
    pytest_again += f" --timeout={patience_s} --basetemp='{disk}.again'"
    return f"{mount.format(disk=disk)}; cd {ROOT}; PYTHONPATH={ROOT} {pytest_again}"


def _needs_mounts() -> None:
    able = (
        os.geteuid() == 0 and shutil.which("unshare") and shutil.which("mkfs.ext4", path=_PATH)
    )
    if not able and "CI" not in os.environ:
        pytest.skip("only root can mount a small disk (and mkfs.ext4 makes one)")


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def break_down(disk: Path) -> None:
    """Have an ext4 find an error in itself: from now on it is read-only."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    [source] = (Path(words[0]).name for words in lines if words[1] == str(disk))
    Path(f"/sys/fs/ext4/{source}/trigger_fs_error").write_text("1")


def mount_again(disk: Path) -> None:
    """Repair an `EXT4` as an administrator does."""
    image = f"{disk}.img"
    for command in (
        ["umount", disk],
        ["e2fsck", "-fy", image],
        ["mount", "-o", "loop", image, disk],
    ):
        subprocess.run(
            command, check=command[0] != "e2fsck", env={"PATH": _PATH}, capture_output=True
        )


class Filler:
    """Takes the room of a disk, and gives it back."""

    def __init__(self, disk: Path) -> None:
        self._folder = disk / "filler"
        self._folder.mkdir()

    def leave(self, free_bytes: int) -> None:
        """Take everything but so many bytes."""
        room = os.statvfs(self._folder)
        size = room.f_bavail * room.f_frsize - free_bytes
        with open(self._folder / "bytes", "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError:
                _write_until_full(file.fileno())

    def leave_nothing(self) -> None:
        """Take what is left, to the last byte."""
        with open(self._folder / "last", "wb") as file:
            _write_until_full(file.fileno())

    def leave_inodes(self, free: int) -> None:
        """Take everything but so many inodes."""
        while os.statvfs(self._folder).f_favail > free:
            Path(self._folder / f"inode-{len(os.listdir(self._folder))}").touch()

    def give_back(self) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()


def _write_until_full(fd: int) -> None:
    piece = b"x" * (1 << 16)
    while piece:
        try:
            os.write(fd, piece)
        except OSError:
            piece = piece[: len(piece) // 2]
