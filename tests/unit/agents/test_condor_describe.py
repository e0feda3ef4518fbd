"""How attempts become jobs of HTCondor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spoolmw.agents.condorlink.describe import Manner, Packed, groups, ours, quoted, unfit
from spoolmw.configpool import OWNED

TASK = "0" * 32
MANNER = Manner(
    spool_id="abc", launcher="/spool/launch.sh", log="/spool/agents/pool/events.log"
)


def packed(number: int = 1, kind: Mapping[str, Any] | None = None, size: int = 0) -> Packed:
    attempt = f"{TASK}.0.{number}"
    return Packed(
        attempt=attempt,
        token="f" * 32,
        kind=kind or {},
        folder=f"/spool/agents/pool/jobs/{attempt}",
        size_bytes=size,
    )


def lines(kind: Mapping[str, Any], manner: Manner = MANNER) -> Mapping[str, str]:
    [group] = groups([packed(kind=kind)], manner)
    return group.lines


def test_attempts_that_are_alike_share_a_cluster() -> None:
    work = [packed(1), packed(2), packed(3, {"cpus": 4}), packed(4)]
    found = groups(work, MANNER)
    assert [group.attempts for group in found] == [
        [f"{TASK}.0.1", f"{TASK}.0.2", f"{TASK}.0.4"],
        [f"{TASK}.0.3"],
    ]
    assert [item["attempt"] for item in found[0].items] == found[0].attempts


def test_a_cluster_is_no_larger_than_was_asked() -> None:
    found = groups([packed(number) for number in range(5)], MANNER, most=2)
    assert [len(group.items) for group in found] == [2, 2, 1]


def test_what_differs_between_alike_attempts_stands_in_the_items() -> None:
    [group] = groups([packed(1, size=1 << 20)], replace(MANNER, disk_bytes=1 << 20))
    assert group.items == [
        {
            "attempt": f"{TASK}.0.1",
            "token": "f" * 32,
            "folder": f"/spool/agents/pool/jobs/{TASK}.0.1",
            "disk": "2049",
            "files": "",
        }
    ]
    assert group.lines["initialdir"] == "$(folder)"
    assert group.lines["+SpoolmwAttempt"] == '"$(attempt)"'
    assert group.lines["+SpoolmwToken"] == '"$(token)"'
    assert group.lines["+SpoolmwSpool"] == '"abc"'


def test_resources_become_requests() -> None:
    told = lines({"cpus": 4, "memory": 3 << 30, "gpus": 2, "time": 59.5})
    assert told["request_cpus"] == "4"
    assert told["request_memory"] == "3072"
    assert told["request_gpus"] == "2"
    assert told["allowed_execute_duration"] == "660"


def test_who_asks_for_nothing_gets_what_the_agent_says() -> None:
    told = lines({}, replace(MANNER, memory_bytes=2 << 30))
    assert told["request_cpus"] == "1"
    assert told["request_memory"] == "2048"
    assert "request_gpus" not in told
    assert "allowed_execute_duration" not in told


def test_a_job_always_has_a_lease() -> None:
    assert lines({}, replace(MANNER, lease_s=20.4))["job_lease_duration"] == "21"


def test_places_become_requirements() -> None:
    told = lines({"platform": "linux-aarch64", "avoid": ["b.lab", "a.lab"]})
    assert told["requirements"] == (
        '(TARGET.OpSys == "LINUX") && (TARGET.Arch == "aarch64")'
        ' && (TARGET.Machine =!= "a.lab") && (TARGET.Machine =!= "b.lab")'
    )


def test_configured_requirements_are_demanded_besides_ours() -> None:
    submit = (("Requirements", "Memory > 4 || HasFoo"), ("accounting_group", "physics"))
    told = lines({}, replace(MANNER, submit=submit))
    assert told["requirements"].endswith(" && (Memory > 4 || HasFoo)")
    assert told["accounting_group"] == "physics"


def test_files_are_carried_unless_they_are_shared() -> None:
    assert lines({})["transfer_input_files"] == "$(files)"
    assert lines({})["transfer_output_files"] == "out, checkpoints"
    told = lines({}, replace(MANNER, shared_files=True))
    assert told["should_transfer_files"] == "NO"
    assert not {"transfer_input_files", "when_to_transfer_output"} & told.keys()


def test_what_a_remote_schedd_has_stays_until_it_was_fetched() -> None:
    kept = lines({}, replace(MANNER, is_remote=True))["leave_in_queue"]
    assert kept.startswith("(JobStatus == 3 || JobStatus == 4) && ")


def test_what_was_removed_stays_until_what_it_saved_was_fetched() -> None:
    assert lines({})["leave_in_queue"].startswith("(JobStatus == 3) && ")
    assert lines({})["when_to_transfer_output"] == "ON_EXIT_OR_EVICT"
    assert "leave_in_queue" not in lines({}, replace(MANNER, shared_files=True))


def test_no_text_leads_out_of_its_quotes() -> None:
    assert quoted('a"b\\c\n$(d)') == '"a\\"b\\\\c(d)"'
    assert ours('x" || true') == 'SpoolmwSpool == "x\\" || true"'


def test_a_spool_whose_path_a_description_cannot_hold_is_told() -> None:
    assert unfit("/srv/our grid, the new one/spool") == ""
    assert "$" in unfit("/srv/$(x)/spool")


def test_what_every_job_has_of_ours_nobody_can_write_in_vain() -> None:
    """What one writes in [agents.NAME.submit] counts, or is refused by name."""
    mine = (("universe", "docker"), ("batch_name", "tides"), ("notification", "error"))
    told = lines({}, replace(MANNER, submit=mine, is_remote=True))
    assert [told[key] for key, _ in mine] == [line for _, line in mine]
    ours = {key for key in told if not key.startswith("+")} - dict(mine).keys()
    assert ours - OWNED.keys() == {"requirements"}
