"""What an agent of kind boinc needs, what its link is told, and what its hosts may be given."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.boinc import BoincAgent, BoincLedger, brief_of
from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.contract import Attended
from spoolmw.agents.registry import make_agents
from spoolmw.config import AgentConfig, Boinc
from spoolmw.daemon import view
from spoolmw.errors import BadConfig
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported, Started
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.spec import Resources, Spec

PLACE = Boinc(listen="127.0.0.1:8090", url="http://127.0.0.1:8090/grid/")
LAB = AgentConfig(name="lab", kind="boinc", boinc=PLACE)
ATTEMPT = AttemptId(TaskId(f"{1:032x}"), 0, 1)
WHERE = {"host": "pc03-3", "machine": "boinc lab/3", "owner": "ann", "platform": "linux-x86_64"}


@contextmanager
def made(settings: AgentConfig, root: Path) -> Iterator[BoincAgent]:
    agents = make_agents(settings, root, lambda _name: lambda _events: None)
    agent = agents[AgentName("lab")]
    assert isinstance(agent, BoincAgent)
    try:
        yield agent
    finally:
        agent.close(0.0)


def refusal(settings: AgentConfig, root: Path) -> BadConfig:
    with pytest.raises(BadConfig) as caught, made(settings, root):
        pass
    return caught.value


def a_launch(**changes: Any) -> Launch:
    spec = Spec(name="t", resources=Resources(cpus=2))
    launch = Launch(attempt=ATTEMPT, token="f" * 32, path="active/t", spec=spec)
    return replace(launch, **changes)


def a_ledger() -> BoincLedger:
    """One that has an attempt."""
    ledger = BoincLedger("")
    ledger.take([a_launch()])
    return ledger


@pytest.mark.parametrize("package", ["aiohttp", "cryptography"])
def test_without_a_package_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    error = refusal(LAB, tmp_path)
    assert package in error.what
    assert "pip install 'spoolmw[boinc]'" in error.fix


def test_who_has_no_such_agent_loads_no_server() -> None:
    program = "import sys, spoolmw.daemon.main, spoolmw.agents.boinc; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "aiohttp" not in done.stdout.split()


@pytest.mark.parametrize("key", ["listen", "url"])
def test_where_clients_call_must_be_said(tmp_path: Path, key: str) -> None:
    error = refusal(replace(LAB, boinc=replace(PLACE, **{key: ""})), tmp_path)
    assert f"write {key} = " in error.fix


def test_its_hosts_are_not_trusted_unless_somebody_says_so(tmp_path: Path) -> None:
    trusting = replace(LAB, boinc=replace(PLACE, is_trusted=True))
    with made(LAB, tmp_path) as agent, made(trusting, tmp_path) as other:
        assert not agent.capacity().trusted
        assert other.capacity().trusted
    assert brief_of(LAB, tmp_path).setup["values"] == "safe"
    assert brief_of(trusting, tmp_path).setup["values"] == ""


def test_a_home_of_the_daemons_user_is_nothing_on_a_desktop(tmp_path: Path) -> None:
    assert "HOME" not in brief_of(LAB, tmp_path).setup["env"]


def test_the_brief_arrives_as_it_was_sent(tmp_path: Path) -> None:
    preferences = (("max_ncpus_pct", "50"),)
    settings = replace(LAB, boinc=replace(PLACE, preferences=preferences))
    brief = brief_of(settings, tmp_path)
    assert Brief.of(json.loads(json.dumps(brief.told()))) == brief
    assert brief.home == tmp_path / "agents" / "lab" / "boinc"


def test_as_much_waits_for_clients_as_may_and_what_runs_makes_room(tmp_path: Path) -> None:
    settings = replace(LAB, boinc=replace(PLACE, max_jobs=5, max_waiting=3))
    with made(settings, tmp_path) as agent:
        agent._why_down = ""
        assert agent.capacity().slots == 3
        assert agent.capacity().says == "0 run, 0 wait for a machine, max_waiting = 3"
        agent._ledger.take([a_launch()])
        agent._ledger.started([{"attempt": str(ATTEMPT), "started": 1.0, "slot": "", "pid": 0}])
        assert agent.capacity().slots == 5
        assert agent.capacity().says == "1 run, 0 wait for a machine, max_jobs = 5"


def test_jobs_are_told_with_whom_they_may_not_share() -> None:
    launch = a_launch(
        avoid=("pc02-2",), platform="linux-x86_64", distinct="owner", taken=("owner bea",)
    )
    [[kind, _]], _ = BoincLedger("").take([launch])
    assert kind["avoid"] == ["pc02-2"]
    assert kind["platform"] == "linux-x86_64"
    assert (kind["distinct"], kind["taken"]) == ("owner", ["owner bea"])
    [[plain, _]], _ = BoincLedger("").take([a_launch()])
    assert not {"avoid", "platform", "distinct", "taken"} & plain.keys()


def test_with_the_news_that_it_was_sent_comes_where_it_is() -> None:
    told = {"attempt": str(ATTEMPT), "started": 5.0, "slot": "", "pid": 0, **WHERE}
    [event] = a_ledger().started([told])
    assert isinstance(event, Started)
    assert (event.machine, event.owner, event.platform) == (
        "boinc lab/3",
        "ann",
        "linux-x86_64",
    )


def an_end(**changes: Any) -> dict[str, Any]:
    told = {
        "attempt": str(ATTEMPT),
        "token": "f" * 32,
        "started": 5.0,
        "ended": 7.0,
        "cpu_s": 1.0,
        "memory_bytes": 10,
        "outcome": "success",
        "cause": "finished",
        "body_bytes": 100,
        "digest": "d" * 64,
    }
    return {**told, **WHERE, **changes}


SILENT = an_end(
    outcome="lost",
    cause="connection",
    blame="deadline",
    message="not reported until its deadline",
    counts=False,
    dead=False,
)


def test_a_missed_deadline_is_a_loss_that_may_report_after_all() -> None:
    ledger = a_ledger()
    [lost] = ledger.ended([SILENT])
    assert isinstance(lost, Lost)
    assert (lost.cause, lost.blame) == (Cause.CONNECTION, Blame.DEADLINE)
    assert (lost.counts, lost.dead) == (False, False)
    assert not ledger.is_settled(str(ATTEMPT))
    [[_, [packet]]] = ledger.still_held()
    assert packet.startswith(str(ATTEMPT))
    [late] = ledger.ended([an_end()])
    assert isinstance(late, Reported)
    assert (late.outcome, late.machine, late.owner) == (Outcome.SUCCESS, "boinc lab/3", "ann")


def test_what_may_report_after_all_is_not_released(tmp_path: Path) -> None:
    released: list[dict[str, Any]] = []
    with made(LAB, tmp_path) as agent:
        agent._tell = released.append  # type: ignore[method-assign]
        agent._ledger.take([a_launch()])
        agent._ended([SILENT])
    assert released == []


def test_who_called_is_known_to_the_daemon(tmp_path: Path) -> None:
    told = {
        "host": "pc03-3",
        "machine": "boinc lab/3",
        "account": "room3",
        "owner": "ann",
        "platform": "linux-x86_64",
        "cores": 4,
        "memory": 8_000_000_000,
        "seen": 1_700_000_000,
        "has": 2,
        "done": 7,
        "failed": 0,
        "rests_until": 0,
    }
    with made(LAB, tmp_path) as agent:
        assert isinstance(agent, Attended)
        assert view.callers({agent.name: agent}) == []
        agent._hear([{"event": "hosts", "hosts": [told]}])
        [row] = view.callers({agent.name: agent})
    assert (row["agent"], row["host"], row["owner"]) == ("lab", "pc03-3", "ann")
    assert (row["seen_at"], row["has"], row["trusted"]) == (1_700_000_000, 2, False)


def test_what_fits_no_host_is_said_of_the_attempt(tmp_path: Path) -> None:
    with made(LAB, tmp_path) as agent:
        agent._hear([{"event": "misfits", "attempts": {str(ATTEMPT): "no host has 9 cores"}}])
        assert agent.capacity().stuck == ((str(ATTEMPT), "no host has 9 cores"),)


def test_cores_that_run_are_known_however_often_something_is_told() -> None:
    ledger = a_ledger()
    told = {"attempt": str(ATTEMPT), "started": 5.0, "slot": "", "pid": 0, **WHERE}
    ledger.started([told])
    ledger.started([told])  # as after each start of the link
    assert (ledger.running(), ledger.running_cpus()) == (1, 2)
    ledger.waits_again([told])
    ledger.waits_again([told])
    assert (ledger.running(), ledger.running_cpus()) == (0, 0)
    ledger.started([told])
    ledger.stop([ATTEMPT])
    ledger.stopped([str(ATTEMPT)])
    assert (ledger.running(), ledger.running_cpus()) == (0, 0)
    ledger.take([a_launch()])
    ledger.started([told])
    ledger.ended([an_end()])
    assert (ledger.running(), ledger.running_cpus()) == (0, 0)
