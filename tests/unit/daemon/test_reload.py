"""A reload says what of it holds at once, and what only after a restart."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from spoolmw.config import AgentConfig, Intake, Log, Pool
from spoolmw.daemon.logs import log
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
