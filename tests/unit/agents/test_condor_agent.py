"""What an agent of kind condor needs before there is a pool, and what it tells HTCondor's package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spoolmw.agents.condorsite import environment, spool_id
from spoolmw.agents.engineagent import EngineLedger
from spoolmw.agents.registry import make_agents
from spoolmw.config import AgentConfig, Pool
from spoolmw.errors import BadConfig
from spoolmw.model.agent import Launch
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.spec import Resources, Spec

POOL = AgentConfig(name="pool", kind="condor")


def refusal(root: Path) -> BadConfig:
    with pytest.raises(BadConfig) as caught:
        make_agents(POOL, root, lambda _name: lambda _events: None)
    return caught.value


def a_launch(number: int, **changes: object) -> Launch:
    spec = Spec(name="t", resources=Resources(cpus=2))
    attempt = AttemptId(TaskId(f"{number:032x}"), 0, 1)
    return Launch(attempt=attempt, token="f" * 32, path="active/t", spec=spec, **changes)  # type: ignore[arg-type]


def test_without_htcondors_package_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "htcondor2", None)
    assert "pip install 'spoolmw[condor]'" in refusal(tmp_path).fix


def test_who_has_no_pool_does_not_load_htcondors_package() -> None:
    program = "import sys, spoolmw.daemon.main, spoolmw.agents.condor; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"htcondor2", "classad2"} & set(done.stdout.split())


def test_a_spool_that_no_description_can_name_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("htcondor2")
    odd = tmp_path / "a$(b)"
    odd.mkdir()
    assert "move the spool" in refusal(odd).fix


def test_a_spool_keeps_its_name_among_the_jobs(tmp_path: Path) -> None:
    first = spool_id(tmp_path, "pool")
    assert spool_id(tmp_path, "pool") == first
    assert spool_id(tmp_path, "other") != first


def test_htcondors_package_is_told_where_the_pool_is() -> None:
    pool = Pool(collector="cm.lab:9618", tokens="/etc/tokens", condor_config="/etc/c")
    assert environment(AgentConfig(name="pool", pool=pool), {}) == {
        "CONDOR_CONFIG": "/etc/c",
        "_CONDOR_COLLECTOR_HOST": "cm.lab:9618",
        "_CONDOR_SEC_TOKEN_DIRECTORY": "/etc/tokens",
    }
    assert environment(POOL, {"CONDOR_CONFIG": "/own"}) == {}


def test_jobs_are_told_where_they_may_run() -> None:
    ledger = EngineLedger("")
    groups, _ = ledger.take(
        [
            a_launch(1),
            a_launch(2, avoid=("h1.test",)),
            a_launch(3, platform="linux-aarch64"),
        ]
    )
    kinds = [kind for kind, _ in groups]
    assert [(kind.get("avoid"), kind.get("platform")) for kind in kinds] == [
        (None, None),
        (["h1.test"], ""),
        ([], "linux-aarch64"),
    ]


def test_what_waits_for_a_machine_again_does_not_count_as_running() -> None:
    ledger = EngineLedger("")
    ledger.take([a_launch(1), a_launch(2)])
    names = list(ledger.live())
    where = {"slot": "slot1", "pid": 0, "host": "h1.test", "machine": "condor h1.test"}
    events = ledger.started({"attempt": name, "started": 1.0, **where} for name in names)
    assert [(event.host, event.machine) for event in events] == [  # type: ignore[union-attr]
        ("h1.test", "condor h1.test")
    ] * 2
    assert ledger.running_cpus() == 4
    ledger.waits_again([{"attempt": names[0]}])
    assert ledger.running_cpus() == 2
