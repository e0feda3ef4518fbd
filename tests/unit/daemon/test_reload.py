"""A reload says what of it holds at once, and what only after a restart."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.config import AgentConfig, Intake, Log, Pool
from spoolmw.daemon.logs import log
from spoolmw.daemon.service import Service
from spoolmw.errors import BadConfig
from tests.support.bench import CONFIG, Bench

LAB = CONFIG.agents[0]


@pytest.mark.parametrize(
    ("agents", "says"),
    [
        ([replace(LAB, path="/opt/bin")], "[agents.lab] a restart is needed for path"),
        (
            [replace(LAB, memory_bytes=1, pool=Pool(max_idle=7, lease_s=9.0))],
            "[agents.lab] a restart is needed for memory, max_idle, lease",
        ),
        ([LAB, AgentConfig(name="more")], "agents that were added or removed need a restart"),
    ],
)
def test_what_an_agent_keeps_until_the_next_start_is_named_until_then(
    bench: Bench, agents: list[AgentConfig], says: str
) -> None:
    fresh = replace(CONFIG, agents=tuple(agents))
    assert bench.parts.reconfigure(fresh) == ["[agents]", says]
    assert bench.parts.reconfigure(fresh) == [says], "it still waits for the restart"
    assert bench.parts.reconfigure(CONFIG) == ["[agents]"]


def test_slots_and_most_else_hold_at_once(bench: Bench) -> None:
    fresh = replace(
        CONFIG, agents=(replace(LAB, slots=5),), intake=Intake(settle_s=0.0, scan_s=7.0)
    )
    assert bench.parts.reconfigure(fresh) == ["[intake]", "[agents]"]
    assert bench.agent.capacity().slots == 5
    assert bench.parts.reactor.wakeup.scan_s == 7.0


def test_a_group_needs_a_restart(bench: Bench) -> None:
    fresh = replace(CONFIG, intake=replace(CONFIG.intake, group="daemon"))
    assert bench.parts.reconfigure(fresh) == [
        "[intake]",
        "[intake] a restart is needed for all that the group may do",
    ]


def test_a_level_of_the_command_line_outlives_a_reload(bench: Bench) -> None:
    before = log.level
    try:
        bench.parts.reconfigure(replace(CONFIG, log=Log(level="warning")))
        assert log.level == logging.WARNING
        bench.parts.log_level = "warning"
        bench.parts.reconfigure(replace(CONFIG, log=Log(level="error")))
        assert log.level == logging.WARNING
    finally:
        log.setLevel(before)


def test_a_file_that_came_after_the_start_changes_what_it_says_and_no_section_source(
    bench: Bench,
) -> None:
    fresh = replace(CONFIG, intake=Intake(settle_s=9.0), source=Path("spoolmw.toml"))
    assert bench.parts.reconfigure(fresh) == ["[intake]"]


def test_a_reload_without_the_file_of_the_start_says_to_put_it_back(bench: Bench) -> None:
    gone = bench.layout.root.parent / "spoolmw.toml"
    bench.parts.config = replace(CONFIG, source=gone)
    with pytest.raises(BadConfig, match="is gone") as told:
        Service(bench.parts)._reread()
    assert "put it back" in told.value.fix
