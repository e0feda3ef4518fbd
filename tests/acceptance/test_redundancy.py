"""Redundancy end to end: three runners of this machine stand for three hosts, and not all are honest."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, family, running, trailer
from tests.support.waiting import wait_until

HONEST, DYING, LYING = "pc01", "pc02", "pc03"
HOSTS = (HONEST, DYING, LYING)
CONFIG = "".join(f'[agents.at-{name}]\nslots = 1\nmachine = "{name}"\n' for name in HOSTS)


def measure(folder: str, patient: str = "") -> int:
    """What every honest host returns; `patient` waits until it is let go."""
    here = os.environ["SPOOLMW_MACHINE"]
    Path(folder, f"began-{here}-{time.monotonic_ns()}").touch()
    until = time.monotonic() + 60
    while here == patient and not Path(folder, "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return 43 if here == LYING else 42


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path, config=CONFIG) as made:
        yield made


def began(folder: Path, host: str) -> int:
    """How many attempts began at a host."""
    return len(list(folder.glob(f"began-{host}-*")))


def runner_of(daemon: Daemon, host: str) -> int:
    """The process of the runner that stands for `host`."""
    [pid] = [
        pid
        for pid in family(daemon.pid)
        if f"SPOOLMW_MACHINE={host}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        and b"\0runner\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return pid


def verdicts(result: Path) -> dict[str, str]:
    """What became of each host's replica, as the trailer tells it."""
    replicas = trailer(result)["replicas"]
    assert isinstance(replicas, list)
    return {each["host"]: each["verdict"] for each in replicas}


def a_script(folder: Path, *wishes: str, patient: str = "") -> str:
    """`measure` as a script."""
    lines = [
        "#!/bin/sh",
        *(f"#SPOOLMW redundancy.{wish}" for wish in wishes),
        f"touch {folder}/began-$SPOOLMW_MACHINE-$SPOOLMW_ATTEMPT",
        f"while [ $SPOOLMW_MACHINE = '{patient}' ] && [ ! -e {folder}/go ]; do sleep 0.02; done",
        f"[ $SPOOLMW_MACHINE = {LYING} ] && echo 43 || echo 42",
    ]
    return "\n".join(lines) + "\n"


def test_a_liar_and_a_runner_that_dies_cost_nothing_but_time(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.drop("sum", a_script(tmp_path, "quorum = 2", "target = 3", patient=DYING))
    wait_until(lambda: began(tmp_path, DYING), last=daemon.log_text)
    os.kill(runner_of(daemon, DYING), signal.SIGKILL)
    wait_until(lambda: began(tmp_path, DYING) == 2, last=daemon.log_text)
    (tmp_path / "go").touch()
    result = daemon.result("sum")
    assert (result.with_suffix(".files") / "stdout").read_text() == "42\n"
    assert verdicts(result) == {HONEST: "valid", DYING: "valid", LYING: "invalid"}
