"""Names of hosts as a configuration writes them."""

from __future__ import annotations

import pytest

from spoolmw.format.hosts import BadHost, HostName, expand, from_file, parse


def names(*patterns: str) -> list[str]:
    return [str(each) for each in expand(patterns)]


def test_a_range_keeps_its_zeros() -> None:
    assert names("pc[08-11].lab") == ["pc08.lab", "pc09.lab", "pc10.lab", "pc11.lab"]


def test_a_list_and_several_brackets_are_all_combined() -> None:
    assert names("r[1,3]n[a,7-8]") == ["r1na", "r1n7", "r1n8", "r3na", "r3n7", "r3n8"]


def test_user_and_port_stand_around_the_name() -> None:
    assert parse("ann@pc03:2222") == HostName("pc03", 2222, "ann")
    assert names("ann@pc[1-2]:2222") == ["ann@pc1:2222", "ann@pc2:2222"]


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert parse("ann@[fe80::1%eth0]:22") == HostName("fe80::1%eth0", 22, "ann")
    assert names("[2001:db8::1]") == ["[2001:db8::1]"]
    assert parse("[::1]:2200").label == "--1-2200"


def test_a_label_names_the_agent_and_tells_ports_apart() -> None:
    assert [each.label for each in expand(["pc1", "pc1:2222", "bob@pc2"])] == [
        "pc1",
        "pc1-2222",
        "pc2",
    ]


def test_a_file_of_hosts_has_words_and_remarks() -> None:
    text = "# the lab\npc01 pc02  # near the window\n\nann@pc[03-04]:2222\n"
    assert names(*from_file(text)) == ["pc01", "pc02", "ann@pc03:2222", "ann@pc04:2222"]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "no name"),
        ("pc 1", "no name"),
        ("-oProxyCommand=x", "no name"),
        ("pc1;rm", "no name"),
        ("pc1:", "port"),
        ("pc1:0", "port"),
        ("pc1:65536", "port"),
        ("pc1:²", "port"),
        ("@pc1", "before the @"),
        ("a b@pc1", "before the @"),
        ("pc[3-1]", "backwards"),
        ("pc[1-]", "range"),
        ("pc[]", "range"),
        ("pc[1-99999]", "too far"),
        ("pc[1-99][1-99]", "more than"),
        ("[not:an:address:]x", "IPv6"),
        ("pc[01", "no name"),
    ],
)
def test_what_is_no_host_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(BadHost, match=why):
        expand([pattern])


def test_a_host_named_twice_is_refused() -> None:
    with pytest.raises(BadHost, match="pc02 is there twice"):
        expand(["pc[01-03]", "pc02"])
