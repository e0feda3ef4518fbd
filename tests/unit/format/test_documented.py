"""What the pages on the formats show can be used, and names every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spoolmw import config, configagents, configboinc, configpool
from spoolmw.format.arrayheader import ARRAY
from spoolmw.format.schema import PLAIN, SECTIONS
from spoolmw.format.taskfile import read_header

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str, language: str) -> list[bytes]:
    text = (DOCS / page).read_text()
    return [
        block.encode() for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    ]


def test_the_documented_scripts_and_headers_are_accepted() -> None:
    (script,) = blocks("taskfile.md", "sh")
    spec = read_header(script, size=len(script), dropped="fold.sh").spec
    assert (spec.name, spec.limits.time_s, spec.retry.max) == ("fold-17", 600.0, 0)
    (toml,) = blocks("taskfile.md", "toml")
    assert (
        read_header(toml, size=len(toml), dropped="fold.toml").spec.run.command[0] == "./fold"
    )


def test_the_documented_ways_to_ask_for_redundancy_are_accepted() -> None:
    keys, _ = blocks("redundancy.md", "toml")
    data = b'[run]\ncommand = ["./fold"]\n' + keys
    wish = read_header(data, size=len(data), dropped="fold.toml").spec.redundancy
    assert (wish.quorum, wish.limit, wish.alike) == (2, 6, "platform")
    (script,) = blocks("redundancy.md", "sh")
    spec = read_header(script, size=len(script), dropped="fold.sh").spec
    assert spec.redundancy.validator.kind == "files"


def test_the_documented_hosts_of_one_machine_are_accepted() -> None:
    _, hosts = blocks("redundancy.md", "toml")
    found = config.parse(hosts, Path("spoolmw.toml")).agents
    assert [each.machine for each in found] == ["pc01", "pc02", "pc03"]


def test_the_documented_configuration_is_accepted() -> None:
    (text,) = blocks("configuration.md", "toml")
    found = config.parse(text, Path("spoolmw.toml"))
    assert found.agents[0].gpus == ("0", "1")
    assert found.retention == config.Retention()
    assert found.disk == config.Disk()
    assert found.daemon == config.Daemon()
    assert found.validation == config.Validation()


@pytest.mark.parametrize(
    "key",
    [
        *PLAIN,
        *ARRAY,
        *(f"[{name}] {key}" for name, (_, _, keys) in SECTIONS.items() for key in keys),
    ],
)
def test_every_header_key_is_on_its_page(key: str) -> None:
    assert f"| `{key}` |" in (DOCS / "taskfile.md").read_text()


def test_every_key_of_the_configuration_is_on_its_page() -> None:
    (text,) = blocks("configuration.md", "toml")
    for section, (_, readers) in config._SECTIONS.items():
        _, _, rest = text.decode().partition(f"[{section}]")
        for key in readers:
            assert re.search(rf"^{key} =", rest.partition("\n[")[0], re.MULTILINE), (
                section,
                key,
            )
    for key in configagents._AGENT:
        assert f"[agents.NAME] {key}`" in (DOCS / "configuration.md").read_text()


def test_every_key_of_a_pool_is_on_the_page_of_the_configuration() -> None:
    text = (DOCS / "configuration.md").read_text().partition('of `kind = "condor"`')[2]
    for key in configpool.POOL:
        assert f"`{key}`" in text or f"agents.NAME.{key}]" in text, key


def test_every_key_of_an_agent_of_kind_boinc_is_on_the_page_of_the_configuration() -> None:
    text = (DOCS / "configuration.md").read_text().partition('of `kind = "boinc"`')[2]
    for key in configboinc.BOINC:
        assert f"`{key}`" in text or f"agents.NAME.{key}]" in text, key


@pytest.mark.parametrize("page", ["configuration.md", "condor.md"])
def test_the_documented_pools_are_accepted(page: str) -> None:
    shown = re.findall(r"```(?:toml|conf)\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    pools = [each for each in shown if 'kind = "condor"' in each]
    assert pools
    for each in pools:
        data = re.sub(r"^ +", "", each, flags=re.MULTILINE).encode()
        assert config.parse(data, Path("spoolmw.toml")).agents[0].kind == "condor"
