"""Logging in to a real sshd and landing there: what works, and what is said when it does not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.agents.carrier.trouble import HostTrouble
from spoolmw.agents.sshlink import examine as examining
from spoolmw.agents.sshlink.bootstrap import Landed, land
from spoolmw.agents.sshlink.connection import Connection
from spoolmw.agents.sshlink.examine import Found, examine
from spoolmw.agents.sshlink.target import Target, resolve
from spoolmw.config import AgentConfig
from spoolmw.format.hosts import parse
from tests.support.lab import Host, Lab, needs_hosts, run

pytestmark = needs_hosts


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab") / "lab", 1) as made:
        yield made


@pytest.fixture
def lab(ground: Lab) -> Iterator[Lab]:
    """A lab that is put back as it was."""
    config = ground.ssh_config.read_text()
    yield ground
    ground.ssh_config.write_text(config)
    ground.hosts[0].configure()
    ground.hosts[0].restart_sshd()
    ground.learn()


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.hosts[0]


def target(lab: Lab, name: str = "pc01") -> Target:
    return resolve(parse(name), config=str(lab.ssh_config))


def refusal(lab: Lab, name: str = "pc01", **changes: object) -> HostTrouble:
    """Why a connection is not made."""
    with pytest.raises(HostTrouble) as caught:
        Connection(replace(target(lab, name), **changes)).close()  # type: ignore[arg-type]
    return caught.value


def lands(lab: Lab, name: str = "pc01") -> dict[str, object]:
    """What the probe on a host says."""
    with Connection(target(lab, name)) as connection:
        landed = land(connection, ["probe", "{base}/x"], pythons=[sys.executable])
        return dict(json.loads(read_all(landed)))


def read_all(landed: Landed) -> bytes:
    data = b""
    landed.way.settimeout(30)
    while more := landed.way.recv(1 << 16):
        data += more
    return data


def test_a_key_and_a_known_host_are_all_it_takes(lab: Lab, host: Host) -> None:
    assert lands(lab)["host"] == host.name


def test_the_runner_is_sent_once(lab: Lab, host: Host) -> None:
    run("rm", "-rf", *map(str, host.var_tmp.glob("*")))
    sent = []
    with Connection(target(lab)) as connection:
        for _ in range(2):
            landed = land(connection, ["probe", "{base}/x"], pythons=[sys.executable])
            read_all(landed)
            sent.append(landed.was_sent)
    assert sent == [True, False]


def test_an_unknown_host_key_is_refused_and_the_command_that_is_named_accepts_it(
    lab: Lab, host: Host
) -> None:
    lab.known_hosts.write_text("")
    error = refusal(lab)
    assert error.stage == "key"
    assert host.fingerprint in error.what
    accept(error)
    assert lands(lab)["host"] == host.name


def test_a_changed_host_key_is_refused_and_the_command_that_is_named_accepts_it(
    lab: Lab, host: Host
) -> None:
    old = host.fingerprint
    host.new_key()
    host.restart_sshd()
    error = refusal(lab)
    assert error.stage == "key"
    assert host.fingerprint in error.what
    assert old in error.what
    accept(error)
    assert lands(lab)["host"] == host.name


def accept(error: HostTrouble) -> None:
    """Do what an error says is to be done, after the comparison."""
    command = error.fix[
        min(at for w in ("ssh-keygen -R", "echo '") if (at := error.fix.find(w)) > 0) :
    ]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)


def test_an_account_without_our_key_is_told_with_what_was_tried(lab: Lab) -> None:
    error = refusal(lab, user="nobody")
    assert error.stage == "login"
    assert str(lab.user_key) in error.why
    assert "authorized_keys" in error.fix


def test_a_key_with_a_passphrase_is_never_asked_for(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key))
    error = refusal(lab, keys=(str(key),))
    assert error.stage == "login"
    assert "ssh-agent" in error.fix or "authorized_keys" in error.fix


def test_a_key_in_an_ssh_agent_is_used(
    lab: Lab, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sock = tmp_path / "agent"
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL
    ) as agent:
        try:
            while not sock.exists():
                time.sleep(0.01)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
            run("ssh-add", "-q", str(lab.user_key))
            with Connection(replace(target(lab), keys=(), only_these_keys=False)) as connection:
                assert connection.transport.is_authenticated()
        finally:
            agent.kill()


def test_nobody_at_the_port_and_no_such_name_are_told_apart(lab: Lab) -> None:
    assert "refused" in refusal(lab, port=2).why
    error = refusal(lab, address="no-such-host.invalid")
    assert error.stage == "address"
    assert "known" in error.why or "resolution" in error.why


def test_a_host_that_does_not_answer_is_given_up_in_time(lab: Lab, host: Host) -> None:
    host.cut()
    try:
        began = time.monotonic()
        error = refusal(lab, connect_s=1.0)
        assert time.monotonic() - began < 5
        assert error.stage == "address"
    finally:
        host.mend()


def test_a_host_behind_another_is_reached_over_it(lab: Lab, host: Host) -> None:
    with lab.ssh_config.open("a") as file:
        file.write(
            "Host inner\n  HostName 127.0.0.1\n  ProxyJump pc01\n"
            f"  IdentityFile {lab.user_key}\n  UserKnownHostsFile {lab.known_hosts}\n"
        )
    with lab.known_hosts.open("a") as file:
        file.write(f"127.0.0.1 {host.public_key}\n")
    assert lands(lab, "inner")["host"] == host.name


def test_a_proxy_command_is_run(lab: Lab, host: Host) -> None:
    pipe = (
        "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
        "f=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b'')];"
        "threading.Thread(target=f,daemon=True).start();"
        "[os.write(1,d) for d in iter(lambda:s.recv(65536),b'')]"
    )
    text = lab.ssh_config.read_text()
    command = f'{sys.executable} -c "{pipe}" %h %p'
    lab.ssh_config.write_text(f"{text}  ProxyCommand {command}\n")
    assert target(lab).command
    assert lands(lab)["host"] == host.name


def test_a_login_shell_that_prints_something_first_is_no_trouble(lab: Lab, host: Host) -> None:
    host.configure(
        'ForceCommand echo "16 updates are available."; eval "$SSH_ORIGINAL_COMMAND"'
    )
    host.restart_sshd()
    assert lands(lab)["host"] == host.name


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("yes", "prints too much"),
        ("echo This account is not available.", "without a word"),
        ("echo nologin >&2; exit 1", "nologin"),
        ("echo SPOOLMW-NO-PYTHON", "none of python3"),
        ("echo 'SPOOLMW-LANDED 5'", ""),
    ],
)
def test_a_host_that_runs_something_else_says_so(
    lab: Lab, host: Host, command: str, says: str
) -> None:
    host.configure(f"ForceCommand {command}")
    host.restart_sshd()
    with Connection(target(lab)) as connection, pytest.raises(HostTrouble) as caught:
        land(connection, ["probe", "{base}/x"])
    assert says in caught.value.why
    assert caught.value.stage in ("python", "runner")


def examined(lab: Lab, name: str, folder: Path) -> tuple[Found, float]:
    """The row that `agents test` has for a host, and how long it took."""
    settings = AgentConfig(
        name="lab",
        kind="ssh",
        hosts=(name,),
        ssh_config=str(lab.ssh_config),
        python=(sys.executable,),
    )
    began = time.monotonic()
    return examine(parse(name), settings, folder), time.monotonic() - began


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ROUND_TRIP_S", "_PROBE_S", "_CANARY_S"):
        monkeypatch.setattr(f"spoolmw.agents.sshlink.examine.{name}", 2.0)


def test_a_port_that_says_nothing_has_its_row(lab: Lab, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        lab.ssh_config.write_text(
            f"Host mute\n  HostName 127.0.0.1\n  Port {port}\n  ConnectTimeout 1\n"
            f"  IdentityFile {lab.user_key}\n  UserKnownHostsFile {lab.known_hosts}\n"
        )
        row, took_s = examined(lab, "mute", tmp_path)
    assert (row["ok"], row["stage"]) == (False, "address")
    assert took_s < 10


@pytest.mark.usefixtures("hasty")
def test_a_host_that_lets_us_in_and_stops_there_has_its_row(
    lab: Lab, host: Host, tmp_path: Path
) -> None:
    host.configure("ForceCommand sleep 1000")
    host.restart_sshd()
    row, took_s = examined(lab, "pc01", tmp_path)
    assert (row["ok"], row["why"]) == (False, "the probe took more than 2 s")
    assert took_s < 10


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("step", ["_round_trip_s", "_probe", "_canary"])
def test_a_host_that_freezes_meanwhile_has_its_row(
    lab: Lab, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(examining, step)

    def freezing(*args: object) -> object:
        host.freeze()
        return real(*args)

    monkeypatch.setattr(examining, step, freezing)
    try:
        row, took_s = examined(lab, "pc01", tmp_path)
    finally:
        host.thaw()
    assert not row["ok"]
    assert "took more than 2 s" in str(row["why"])
    assert took_s < 10
