"""What is wrong with an agent of kind boinc is said where people look, and mended without a restart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boincsite import CONFIG, free_port
from tests.support.daemon import Daemon, end
from tests.support.waiting import wait_until

URL = "http://127.0.0.1:{}/grid/"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def daemon(tmp_path: Path, port: int) -> Iterator[Daemon]:
    told = {"port": port, "url": URL.format(port), "poll": "1s", "more": "", "others": ""}
    made = Daemon(tmp_path, config=CONFIG.format(**told))
    try:
        yield made
    finally:
        end(made)


def says(daemon: Daemon) -> str:
    [lab] = [each for each in daemon.ctl_json("agents") if each["name"] == "lab"]
    return f"{lab['slots']} slots: {lab['reason']}"


def test_a_port_that_is_taken_is_named_and_taken_up_when_it_is_free(
    daemon: Daemon, port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        daemon.start()
        wait_until(lambda: "cannot be served" in says(daemon), last=lambda: says(daemon))
        assert f"127.0.0.1:{port}" in says(daemon)
        assert says(daemon).startswith("0 slots")
    wait_until(lambda: not says(daemon).startswith("0 slots"), timeout_s=60)


@pytest.mark.parametrize(
    ("line", "fixed"),
    [('listen = "127.0.0.1:{}"', "write listen = "), ('url = "{}"', "write url = ")],
)
def test_a_section_that_lacks_something_is_refused_at_the_start(
    tmp_path: Path, daemon: Daemon, port: int, line: str, fixed: str
) -> None:
    config = tmp_path / "spoolmw.toml"
    gone = line.format(port if "listen" in line else URL.format(port))
    assert gone in config.read_text()
    config.write_text(config.read_text().replace(gone, ""))
    daemon.start(wait=False)
    assert daemon.wait_exit() != 0
    assert fixed in daemon.log_text()
