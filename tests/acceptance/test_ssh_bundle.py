"""A real daemon and a host without any Python: the daemon's own travels there and runs the work."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.agents.pythonbundle import NAME
from tests.support.daemon import Daemon, end
from tests.support.lab import Host, Lab, needs_hosts
from tests.support.scene import Scene
from tests.support.waiting import wait_until

pytestmark = needs_hosts

CONFIG = """\
[intake]
settle_s = 0.1
[agents.lab]
kind = "ssh"
hosts = ["pc01"]
slots = 2
runner_python = "{runner_python}"
ssh_config = "{ssh_config}"
"""
#: All that the host has: a shell, and what every system has beside it.
TOOLS = (
    *("sh", "bash", "mkdir", "rm", "mv", "ls", "id", "uname", "head", "tr", "tar", "gzip"),
    *("sha256sum", "sync", "echo"),
)
ROOT = "/srv"  #: on the host: what is the root folder of who logs in
_LIBRARY = re.compile(r"(?:=> |^\s+)(/\S+)", re.MULTILINE)


def furnish(folder: Path) -> None:
    """Make a root folder with the tools and their libraries in it, and nothing else."""
    for name in ("bin", "dev", "etc", "proc", "tmp", "var/tmp", "usr"):
        (folder / name).mkdir(parents=True)
    (folder / "usr/bin").symlink_to("../bin")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    for name in TOOLS:
        program = shutil.which(name)
        assert program
        shutil.copy(program, folder / "bin" / name)
        asked = ["ldd", program]
        named = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        for library in _LIBRARY.findall(named):
            there = folder / library[1:]
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, there)
    folder.chmod(0o755)


def shut_in(host: Host, folder: Path) -> None:
    """From now on who logs in to the host finds this folder as its root."""
    for words in (
        ("--bind", str(folder), ROOT),
        ("--bind", str(host.var_tmp), f"{ROOT}/var/tmp"),
        ("-t", "proc", "proc", f"{ROOT}/proc"),
        ("--bind", "/dev", f"{ROOT}/dev"),
    ):
        host.run("mount", *words)
    host.configure(f"ChrootDirectory {ROOT}")
    host.restart_sshd()


class Bare(Scene):
    """A daemon, and one host that has no Python."""

    def __init__(self, home: Path, runner_python: str) -> None:
        home.mkdir()
        root = home / "root"
        furnish(root)
        self.lab = Lab(home / "lab", 1)
        self.root = root
        config = CONFIG.format(ssh_config=self.lab.ssh_config, runner_python=runner_python)
        self.daemon = Daemon(home, config=config)

    @property
    def host(self) -> Host:
        return self.lab.hosts[0]

    def open(self) -> None:
        self.lab.__enter__()
        shut_in(self.host, self.root)
        super().open()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.lab.close)
            end(self.daemon)

    def agent(self) -> dict[str, object]:
        [row] = self.agents().values()
        return row

    def pythons(self) -> list[Path]:
        return sorted(self.host.var_tmp.glob("*/runner/python3.*"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    with Bare(tmp_path_factory.mktemp("bare") / "grid", "bundle") as made:
        ready_s = 90  # the bundle is packed, sent and unpacked
        wait_until(lambda: made.agent()["slots"], timeout_s=ready_s, last=made.daemon.log_text)
        yield made


def about(number: int) -> tuple[int, str, str, list[str]]:
    return (
        number,
        sys.executable,
        str(__import__("cloudpickle").__file__),
        sorted(os.listdir("/")),
    )


def hold_a_moment(number: int) -> int:
    time.sleep(0.5)
    return number


def test_calls_run_there_in_the_python_that_travelled(bare: Bare) -> None:
    values = [task.result(timeout=60) for task in map(bare.spool.submit, [about] * 4, range(4))]
    assert [value[0] for value in values] == list(range(4))
    [python] = bare.pythons()
    inside = f"/var/tmp/{python.parent.parent.name}/runner/{python.name}"
    for _, executable, pickler, top in values:
        assert executable == f"{inside}/bin/{NAME}"
        assert pickler.startswith(inside)
        assert "work" not in top, "it is not this machine's root folder"
        assert "home" not in top


def test_commands_run_there_with_what_the_host_has(bare: Bare) -> None:
    task = bare.spool.command(["sh", "-c", "ls /usr/bin; export"])
    said = task.result(timeout=60).stdout.split()
    assert set(TOOLS) < set(said)
    assert not [each for each in said if "python" in each or each.startswith("LD_LIB")]


def test_the_section_is_tried_out_as_all_are(bare: Bare) -> None:
    done = bare.daemon.ctl("agents", "test", "lab", check=False)
    assert done.returncode == 0, done.stdout
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"{version} bundle" in done.stdout
    assert len(bare.pythons()) == 1


def test_it_is_neither_made_nor_sent_again_for_the_next_daemon(bare: Bare) -> None:
    [python] = bare.pythons()
    [packed] = bare.daemon.spool.glob("runner/python3.*")
    before = (python.stat().st_ino, packed.stat().st_ino)
    bare.daemon.stop()
    bare.daemon.start()
    assert bare.spool.submit(hold_a_moment, 7).result(timeout=60) == 7
    assert (python.stat().st_ino, packed.stat().st_ino) == before


def test_one_that_was_removed_on_the_host_is_sent_again(bare: Bare) -> None:
    bare.daemon.stop()
    bare.host.reboot()
    shut_in(bare.host, bare.root)
    [python] = bare.pythons()
    (python / "so" / "libc.so.6").unlink()
    bare.daemon.start()
    assert bare.spool.submit(hold_a_moment, 8).result(timeout=60) == 8
    assert (python / "so" / "libc.so.6").exists()


def test_without_it_the_host_is_of_no_use_and_says_so(tmp_path: Path) -> None:
    with Bare(tmp_path / "grid", "auto") as plain:
        said = plain.daemon.ctl("agents", "test", check=False).stdout
        assert "failed: python" in said
        assert "pc01 has no Python from 3.9 on" in said
        assert 'runner_python = "bundle"' in " ".join(said.split())
