"""What is read in an ssh configuration, and what counts more than it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolmw.agents.carrier.trouble import HostTrouble
from spoolmw.agents.sshlink.target import Target, resolve
from spoolmw.format.hosts import parse

CONFIG = """\
Include more/*.conf
Host pc*.lab
  User ann
  Port 2200
  IdentityFile ~/keys/%h
  UserKnownHostsFile {folder}/known {folder}/known2
  ConnectTimeout 3
Host pc01.lab
  HostName 10.0.0.1
  IdentitiesOnly yes
Host inner
  ProxyJump bob@gate:2201,middle
Host middle
  HostName 10.0.0.7
Host gate
  ProxyJump outer
Host round
  ProxyJump round
Host piped
  ProxyCommand nc -X connect %h %p
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("Host included\n  Port 99\nHost *\n")
    path = tmp_path / "config"
    path.write_text(CONFIG.format(folder=tmp_path))
    return path


def found(config: Path, host: str, user: str = "") -> Target:
    return resolve(parse(host), user=user, config=str(config))


def test_a_hosts_section_and_the_patterns_around_it_count(config: Path, tmp_path: Path) -> None:
    target = found(config, "pc01.lab")
    assert (target.address, target.port, target.user) == ("10.0.0.1", 2200, "ann")
    assert target.only_these_keys
    assert target.keys == (str(Path("~/keys/10.0.0.1").expanduser()),)
    assert target.known_hosts == (f"{tmp_path}/known", f"{tmp_path}/known2")
    assert target.connect_s == 3
    assert target.key_name == "[10.0.0.1]:2200"


def test_what_stands_with_the_host_counts_more_than_the_agents_and_that_more_than_the_file(
    config: Path,
) -> None:
    assert found(config, "pc02.lab", user="carl").user == "carl"
    assert found(config, "dora@pc02.lab:22", user="carl").user == "dora"
    assert found(config, "dora@pc02.lab:22").port == 22


def test_a_host_that_no_section_knows_has_the_defaults(config: Path) -> None:
    target = found(config, "pc9")
    assert (target.address, target.port, target.key_name) == ("pc9", 22, "pc9")
    assert target.through == ()


def test_included_files_count(config: Path) -> None:
    assert found(config, "included").port == 99


def test_hosts_on_the_way_come_in_order_with_those_on_the_way_to_them(config: Path) -> None:
    way = found(config, "inner").through
    assert [(hop.name, hop.user, hop.port) for hop in way][1] == ("gate", "bob", 2201)
    assert [hop.address for hop in way] == ["outer", "gate", "10.0.0.7"]


def test_a_circle_of_jumps_is_refused(config: Path) -> None:
    with pytest.raises(HostTrouble, match="behind more than") as caught:
        found(config, "round")
    assert "circle" in caught.value.fix


def test_a_proxy_command_is_taken_over(config: Path) -> None:
    assert found(config, "piped").command.startswith("nc -X connect")


def test_a_configuration_that_cannot_be_read_says_which(tmp_path: Path) -> None:
    with pytest.raises(HostTrouble, match="nowhere"):
        found(tmp_path / "nowhere", "pc1")
